//! Plain text: a document a file, or a line.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use setaccio_base::{bundle::BundleReader, row::Row, sha256::HashingStream};
use setaccio_dataset::recipe::Documents;

use super::{
    encoding::{BOM, Packing},
    lined::{self, Place, Records, Rows, no_text},
    reader::{
        Convert, InputFile, Inspection, Items, Limits, Projection, Reader, Slice, cut_short, too_long, unreadable,
    },
    record::Record,
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
        let (slices, rows) = if self.documents == Documents::File {
            (vec![Slice::Whole], Some(1))
        } else {
            let text = self.packing.undo(&mut hashing, limits.window_log).map_err(|e| cut_short(name, 0, &e))?;
            let mut lines = self.documents(text, limits.max_row_bytes).map_err(|e| lined::at(name, 0, e))?;
            lined::slices(&mut lines, &self.packing, name, limits, cancelled)?
        };
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
        let asked = projection.needed().contains(FILE).then(|| file.name.clone());
        let convert = projection.convert();
        let make = move |documents: &TextRecords<_>, place: Place| {
            documents.row(place, asked.as_deref(), &convert).map_err(|reason| match documents.documents {
                Documents::Line => format!("line {}: {reason}", place.line),
                Documents::File => reason,
            })
        };
        Ok(Box::new(Rows::new(documents, &file.name, row, make)))
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

impl<R> TextRecords<R> {
    fn row(&self, place: Place, file: Option<&str>, convert: &Convert) -> std::result::Result<Row, String> {
        if place.length > self.max {
            return Err(too_long(place.length, self.max));
        }
        let text = std::str::from_utf8(&self.text).map_err(no_text)?;
        let columns = [(TEXT, text)].into_iter().chain(file.map(|file| (FILE, file)));
        convert(columns.map(|(name, value)| (name.to_owned(), value.into())).collect::<Record>())
    }
}

impl<R: BufRead> Records for TextRecords<R> {
    fn raw(&self) -> &[u8] {
        &self.text
    }

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
