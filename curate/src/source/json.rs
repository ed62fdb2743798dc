//! JSON objects in an array, in lines or one after another, streamed one by one.

use std::{
    collections::HashSet,
    io::{BufRead, BufReader, Read, Seek, SeekFrom},
};

use setaccio_base::{bundle::BundleReader, row::Row, sha256::HashingStream};
use setaccio_dataset::shard::Position;

use super::{
    encoding::Packing,
    frame::{Frame, Framer, Layout},
    hint::Hint,
    json_object,
    lined::OTHER_ENCODING,
    reader::{
        Convert, InputFile, Inspection, Item, Items, Limits, Projection, Reader, Slice, cut_short, too_long, unreadable,
    },
    record,
    scan::ScanError,
};
use crate::error::SourceError;

const BUFFER: usize = 256 << 10;

/// JSON, row after row.
#[derive(Debug)]
pub struct JsonReader {
    /// Where each row begins and ends.
    pub layout: Layout,
    /// What has to be undone first.
    pub packing: Packing,
    /// Where the rows may be if the first object is none.
    pub hint: Option<Hint>,
}

impl Reader for JsonReader {
    /// Hash the file and, if it is plain, cut it into slices in the same pass.
    fn inspect(
        &self,
        file: &mut BundleReader,
        name: &str,
        limits: &Limits,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Inspection, SourceError> {
        let mut hashing = HashingStream::new(&mut *file);
        let text = self.packing.undo(&mut hashing, limits.window_log).map_err(|e| cut_short(name, 0, &e))?;
        let (slices, rows) = if self.packing.none() {
            let (slices, rows) = cut(text, name, self.layout.clone(), limits, cancelled)?;
            (slices, Some(rows))
        } else if limits.count_compressed {
            let whole = Limits { slice_bytes: u64::MAX, ..*limits };
            (vec![Slice::Whole], Some(cut(text, name, self.layout.clone(), &whole, cancelled)?.1))
        } else {
            let mut framer = Framer::file(BufReader::with_capacity(BUFFER, text), self.layout.clone(), 0);
            // A fault is met again where its row is read.
            let none = matches!(framer.next(&mut Vec::new()), Ok(None));
            (vec![Slice::Whole], none.then_some(0))
        };
        // Whatever follows the last element belongs to the hash too.
        hashing.drain(cancelled).map_err(|e| cut_short(name, 0, &e))?;
        let (_, sha256, bytes) = hashing.finish();
        Ok(Inspection { sha256, rows, slices, text_bytes: self.packing.text_bytes(bytes) })
    }

    fn hint(&self) -> Option<&Hint> {
        self.hint.as_ref()
    }

    fn open(
        &self,
        file: &InputFile,
        slice: &Slice,
        projection: &Projection<'_>,
        limits: &Limits,
    ) -> Result<Items, SourceError> {
        let unreadable = unreadable(&file.name);
        let mut raw = file.place.open().map_err(&unreadable)?;
        let (layout, max) = (self.layout.clone(), limits.max_row_bytes);
        Ok(if let Slice::Bytes { start, end, first_row, .. } = slice {
            raw.seek(SeekFrom::Start(*start)).map_err(&unreadable)?;
            let input = BufReader::with_capacity(BUFFER, raw.take(end - start));
            Box::new(self.records(Framer::cut(input, layout, max), &file.name, *first_row, projection))
        } else {
            let text = self.packing.undo(raw, limits.window_log).map_err(&unreadable)?;
            let input = BufReader::with_capacity(BUFFER, text);
            Box::new(self.records(Framer::file(input, layout, max), &file.name, 0, projection))
        })
    }
}

impl JsonReader {
    fn records<R: BufRead>(&self, framer: Framer<R>, name: &str, row: u64, projection: &Projection<'_>) -> Records<R> {
        Records {
            framer,
            name: name.to_owned(),
            row,
            buffer: Vec::new(),
            failed: false,
            advice: self.hint.as_ref().and_then(|hint| hint.advice(&projection.needed())),
            needed: projection.needed(),
            convert: projection.convert(),
        }
    }
}

fn cut(
    input: impl Read,
    name: &str,
    layout: Layout,
    limits: &Limits,
    cancelled: &dyn Fn() -> bool,
) -> Result<(Vec<Slice>, u64), SourceError> {
    let mut framer = Framer::file(BufReader::with_capacity(BUFFER, input), layout, 0);
    let (mut slices, mut buffer, mut rows) = (Vec::new(), Vec::new(), 0);
    let mut open: Option<(u64, u64)> = None;
    let close = |slices: &mut Vec<Slice>, (start, first_row): (u64, u64), end, rows: u64| {
        slices.push(Slice::Bytes { start, end, first_row, rows: rows - first_row });
    };
    while !cancelled() && framer.next(&mut buffer).map_err(|e| at(name, rows, e))?.is_some() {
        match open {
            Some(slice) if framer.start - slice.0 >= limits.slice_bytes => {
                close(&mut slices, slice, framer.start, rows);
                open = Some((framer.start, rows));
            }
            None => open = Some((framer.start, rows)),
            Some(_) => {}
        }
        rows += 1;
        if let Some(slice) = open
            && framer.offset() - slice.0 >= limits.slice_bytes
        {
            close(&mut slices, slice, framer.offset(), rows);
            open = None;
        }
    }
    if let Some(slice) = open {
        // The array's `]` is left out: a slice holds elements alone.
        close(&mut slices, slice, framer.offset(), rows);
    }
    Ok((slices, rows))
}

struct Records<R> {
    framer: Framer<R>,
    name: String,
    row: u64,
    buffer: Vec<u8>,
    failed: bool,
    needed: HashSet<String>,
    convert: Convert,
    /// What is said of the first object if it is no row.
    advice: Option<String>,
}

impl<R: BufRead> Iterator for Records<R> {
    type Item = Result<Item, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let frame = match self.framer.next(&mut self.buffer) {
            Ok(frame) => frame?,
            Err(error) => {
                self.failed = true;
                return Some(Err(at(&self.name, self.row, error)));
            }
        };
        let at = Position { row_group: None, row: self.row };
        self.row += 1;
        let read = match frame {
            Frame::TooLong(bytes) => Err(too_long(bytes, self.framer.max())),
            Frame::Whole => row(&self.buffer, &self.needed, &self.convert),
        };
        let advice = self.advice.take().unwrap_or_default();
        let read = read.map_err(|reason| reason + &advice);
        Some(Ok(match read {
            Ok(row) => Item::Row { at, row },
            Err(reason) => Item::Bad { at, reason, raw: record::raw(&self.buffer) },
        }))
    }
}

/// The row that these bytes are, of whose columns some are `needed`.
pub fn row(bytes: &[u8], needed: &HashSet<String>, convert: &Convert) -> Result<Row, String> {
    let record = json_object::record(bytes, needed);
    record.map_err(|e| if std::str::from_utf8(bytes).is_err() { e + OTHER_ENCODING } else { e }).and_then(convert)
}

/// An error of framing or reading, at a row.
pub fn at(name: &str, row: u64, error: ScanError) -> SourceError {
    match error {
        ScanError::Io(error) => cut_short(name, row, &error),
        ScanError::Broken(what) => {
            SourceError::at(name, Position { row_group: None, row }, format!("{what}; fetch the file again"))
        }
    }
}
