//! JSON arrays and JSON lines, streamed element by element.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use serde_json::Value;
use setaccio_base::{
    bundle::{Opened, Place},
    row::Row,
};

use super::{
    Format, InputFile, Item, Items, Limits, Position, Slice, SourceError,
    compress::{Packing, unpack},
    frame::{Frame, FrameError, Framer},
    record::{self, Convert},
};
use setaccio_base::sha256::HashingStream;

const BUFFER: usize = 256 << 10;

/// Text that a compressed byte stands for, about: natural language in gzip.
const PACKED: u64 = 4;

/// Hash the file and, if it is plain, cut it into slices in the same pass.
pub fn inspect(
    file: &mut Opened,
    name: &str,
    format: Format,
    limits: &Limits,
    cancelled: &dyn Fn() -> bool,
) -> Result<InputFile, SourceError> {
    let (packing, array) = parts(format);
    let mut hashing = HashingStream::new(&mut *file);
    let mut slices = vec![Slice::Whole];
    let mut rows = None;
    if packing == Packing::Plain {
        let (cut, counted) = cut(&mut hashing, name, array, limits, cancelled)?;
        (slices, rows) = (cut, Some(counted));
    } else if limits.count_compressed {
        let unpacked = unpack(packing, &mut hashing).map_err(|e| at(name, 0, FrameError::Io(e)))?;
        rows = Some(count(unpacked, name, array, limits, cancelled)?);
    }
    // Whatever follows the last element belongs to the hash too.
    hashing.drain(cancelled).map_err(|e| at(name, 0, FrameError::Io(e)))?;
    let (_, sha256, bytes) = hashing.finish();
    let text_bytes = if packing == Packing::Plain { bytes } else { bytes * PACKED };
    Ok(InputFile { place: Place::disk(""), name: name.to_owned(), bytes, sha256, rows, format, slices, text_bytes })
}

fn parts(format: Format) -> (Packing, bool) {
    match format {
        Format::Array(packing) => (packing, true),
        Format::Lines(packing) => (packing, false),
        Format::Parquet => (Packing::Plain, false),
    }
}

fn cut(
    input: impl Read,
    name: &str,
    array: bool,
    limits: &Limits,
    cancelled: &dyn Fn() -> bool,
) -> Result<(Vec<Slice>, u64), SourceError> {
    let mut framer = Framer::file(BufReader::with_capacity(BUFFER, input), array, 0);
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

fn count(
    input: impl Read,
    name: &str,
    array: bool,
    limits: &Limits,
    cancelled: &dyn Fn() -> bool,
) -> Result<u64, SourceError> {
    let slices = cut(input, name, array, &Limits { slice_bytes: u64::MAX, ..*limits }, cancelled)?;
    Ok(slices.1)
}

/// Read a slice as records.
pub fn open(file: &InputFile, slice: &Slice, limits: &Limits, convert: Convert) -> Result<Items, SourceError> {
    let (packing, array) = parts(file.format);
    let unreadable = |e: std::io::Error| SourceError::new(&file.name, format!("cannot be read: {e}"));
    let mut raw = file.place.open().map_err(unreadable)?;
    let max = limits.max_row_bytes;
    let name = file.name.clone();
    Ok(if let Slice::Bytes { start, end, first_row, .. } = slice {
        raw.seek(SeekFrom::Start(*start)).map_err(unreadable)?;
        let input = BufReader::with_capacity(BUFFER, raw.take(end - start));
        Box::new(Records::new(Framer::cut(input, array, max), name, *first_row, convert))
    } else {
        let input = BufReader::with_capacity(BUFFER, unpack(packing, raw).map_err(unreadable)?);
        Box::new(Records::new(Framer::file(input, array, max), name, 0, convert))
    })
}

struct Records<R> {
    framer: Framer<R>,
    name: String,
    row: u64,
    buffer: Vec<u8>,
    failed: bool,
    convert: Convert,
}

impl<R: BufRead> Records<R> {
    fn new(framer: Framer<R>, name: String, row: u64, convert: Convert) -> Self {
        Self { framer, name, row, buffer: Vec::new(), failed: false, convert }
    }
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
            Frame::Whole => self.row(),
        };
        Some(Ok(match read {
            Ok(row) => Item::Row { at, row },
            Err(reason) => Item::Bad { at, reason, raw: record::raw(&self.buffer) },
        }))
    }
}

impl<R: BufRead> Records<R> {
    /// The row in the buffer.
    fn row(&self) -> Result<Row, String> {
        match serde_json::from_slice(&self.buffer) {
            Ok(Value::Object(record)) => (self.convert)(record),
            Ok(other) => Err(format!("is {}, where an object is required", record::shown(&other))),
            Err(e) => Err(match std::str::from_utf8(&self.buffer) {
                Ok(_) => format!("is not JSON: {e} of the row"),
                Err(e) => format!("is not valid UTF-8 from its byte {} on", e.valid_up_to()),
            }),
        }
    }
}

/// What is said of a row above `read.max_row_bytes`.
pub fn too_long(bytes: u64, max: u64) -> String {
    format!("holds {bytes} bytes, more than read.max_row_bytes allows, which is {max} (--set read.max_row_bytes=N)")
}

/// An error of framing or reading, at a row.
pub fn at(name: &str, row: u64, error: FrameError) -> SourceError {
    let message = match error {
        FrameError::Broken(what) => format!("{what}; fetch the file again"),
        FrameError::Io(e) => format!("reading stops here: {e}; the file is cut short or damaged, fetch it again"),
    };
    SourceError::at(name, Position { row_group: None, row }, message)
}
