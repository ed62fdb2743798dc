//! Plain text: a document a file, or a line.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use setaccio_base::{bundle::BundleReader, row::Row, sha256::HashingStream};
use setaccio_dataset::{recipe::Documents, shard::Position};

use super::{
    encoding::{BOM, Packing},
    lined::{self, Place, Records, no_text},
    reader::{
        Convert, InputFile, Inspection, Item, Items, Limits, Projection, Reader, Slice, cut_short, too_long, unreadable,
    },
    record::{self, Record},
    scan::{Result, keep},
};
use crate::error::SourceError;

const BUFFER: usize = 256 << 10;

/// Column of the text.
const TEXT: &str = "text";

/// Column of the file's name.
const FILE: &str = "file";

/// Text.
#[derive(Debug)]
pub struct TextReader {
    /// What a document is.
    pub documents: Documents,
    /// What has to be undone first.
    pub packing: Packing,
}

impl Reader for TextReader {
    fn inspect(
        &self,
        file: &mut BundleReader,
        name: &str,
        limits: &Limits,
        cancelled: &dyn Fn() -> bool,
    ) -> std::result::Result<Inspection, SourceError> {
        let mut hashing = HashingStream::new(&mut *file);
        let (mut slices, mut rows) = (vec![Slice::Whole], None);
        if self.documents == Documents::File {
            rows = Some(1);
        } else {
            let text = self.packing.undo(&mut hashing, limits.window_log).map_err(|e| cut_short(name, 0, &e))?;
            let mut lines = self.documents(text, limits.max_row_bytes).map_err(|e| lined::at(name, 0, e))?;
            if self.packing.none() {
                let (cut, counted) = lined::cut(&mut lines, name, limits, cancelled)?;
                (slices, rows) = (cut, Some(counted));
            } else if limits.count_compressed {
                rows = Some(lined::cut(&mut lines, name, limits, cancelled)?.1);
            } else if matches!(lines.next(), Ok(None)) {
                rows = Some(0);
            }
        }
        hashing.drain(cancelled).map_err(|e| cut_short(name, 0, &e))?;
        let (_, sha256, bytes) = hashing.finish();
        Ok(Inspection { sha256, rows, slices, text_bytes: self.packing.text_bytes(bytes) })
    }

    fn plain_text(&self) -> bool {
        true
    }

    fn open(
        &self,
        file: &InputFile,
        slice: &Slice,
        projection: &Projection<'_>,
        limits: &Limits,
    ) -> std::result::Result<Items, SourceError> {
        let required = projection.schema.columns().iter().filter(|column| column.required);
        if let Some(here) = required.map(|c| projection.name_here(c.name)).find(|here| ![TEXT, FILE].contains(here)) {
            let message = format!(
                "is read as plain text, whose column is `{TEXT}`, and has no `{here}`: if it is a table, write \
                 `format = \"csv\"` into its [[source]]"
            );
            return Err(SourceError::new(&file.name, message));
        }
        let unreadable = unreadable(&file.name);
        let mut raw = file.place.open().map_err(&unreadable)?;
        let max = limits.max_row_bytes;
        let (documents, row) = if let Slice::Records { start, end, first_row, line, .. } = slice {
            raw.seek(SeekFrom::Start(*start)).map_err(&unreadable)?;
            let text: Box<dyn Read + Send> = Box::new(raw.take(end - start));
            let (offset, line) = (*start, *line);
            let input = BufReader::with_capacity(BUFFER, text);
            (TextRecords { input, documents: self.documents, offset, line, max, text: Vec::new() }, *first_row)
        } else {
            let text = self.packing.undo(raw, limits.window_log).map_err(&unreadable)?;
            (self.documents(text, max).map_err(|e| lined::at(&file.name, 0, e))?, 0)
        };
        let asked = projection.needed().contains(FILE);
        Ok(Box::new(Rows {
            documents,
            name: file.name.clone(),
            file: asked.then(|| file.name.clone()),
            row,
            failed: false,
            convert: projection.convert(),
        }))
    }
}

impl TextReader {
    /// All documents of a file.
    fn documents<R: Read>(&self, text: R, max: u64) -> Result<TextRecords<BufReader<R>>> {
        let mut input = BufReader::with_capacity(BUFFER, text);
        let bom = if input.fill_buf()?.starts_with(BOM) { BOM.len() } else { 0 };
        input.consume(bom);
        let (documents, offset) = (self.documents, bom as u64);
        Ok(TextRecords { input, documents, offset, line: 1, max, text: Vec::new() })
    }
}

/// The documents of a text, one held at a time.
struct TextRecords<R> {
    input: R,
    documents: Documents,
    /// Bytes consumed of the text.
    offset: u64,
    /// Number of the line that comes next.
    line: u64,
    /// Of a longer document only the start is kept.
    max: u64,
    text: Vec<u8>,
}

impl<R: BufRead> TextRecords<R> {
    /// Read a line, or all that is left; how many bytes that were.
    fn read(&mut self) -> Result<u64> {
        self.text.clear();
        let start = self.offset;
        loop {
            let chunk = self.input.fill_buf()?;
            let newline = match self.documents {
                Documents::Line => memchr::memchr(b'\n', chunk),
                Documents::File => None,
            };
            let part = newline.map_or(chunk.len(), |n| n + 1);
            keep(&mut self.text, &chunk[..part], self.max);
            let last = newline.is_some() || chunk.is_empty();
            self.input.consume(part);
            self.offset += part as u64;
            if last {
                return Ok(self.offset - start);
            }
        }
    }
}

impl<R: BufRead> Records for TextRecords<R> {
    /// Lines of white space alone are no documents.
    fn next(&mut self) -> Result<Option<Place>> {
        loop {
            let (start, line) = (self.offset, self.line);
            let length = self.read()?;
            if length == 0 {
                return Ok(None);
            }
            self.line += 1;
            if self.documents == Documents::Line && length <= self.max {
                let end =
                    self.text.strip_suffix(b"\n").map_or(self.text.len(), |t| t.strip_suffix(b"\r").unwrap_or(t).len());
                self.text.truncate(end);
                if self.text.trim_ascii().is_empty() {
                    continue;
                }
            }
            return Ok(Some(Place { start, line, length }));
        }
    }
}

struct Rows<R> {
    documents: TextRecords<R>,
    name: String,
    /// The column `file`, where anybody asks for it.
    file: Option<String>,
    row: u64,
    failed: bool,
    convert: Convert,
}

impl<R: BufRead> Iterator for Rows<R> {
    type Item = std::result::Result<Item, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let place = match self.documents.next() {
            Ok(place) => place?,
            Err(error) => {
                self.failed = true;
                return Some(Err(lined::at(&self.name, self.row, error)));
            }
        };
        let at = Position { row_group: None, row: self.row };
        self.row += 1;
        Some(Ok(match self.row(place) {
            Ok(row) => Item::Row { at, row },
            Err(reason) => {
                let reason = match self.documents.documents {
                    Documents::Line => format!("line {}: {reason}", place.line),
                    Documents::File => reason,
                };
                Item::Bad { at, reason, raw: record::raw(&self.documents.text) }
            }
        }))
    }
}

impl<R: BufRead> Rows<R> {
    fn row(&self, place: Place) -> std::result::Result<Row, String> {
        if place.length > self.documents.max {
            return Err(too_long(place.length, self.documents.max));
        }
        let text = std::str::from_utf8(&self.documents.text).map_err(no_text)?;
        let file = self.file.as_deref().map(|file| (FILE, file));
        let columns = [(TEXT, text)].into_iter().chain(file);
        (self.convert)(columns.map(|(name, value)| (name.to_owned(), value.into())).collect::<Record>())
    }
}
