//! Text in records that know their line: CSV, and lines. What both have in common is how a file is cut into slices.

use setaccio_dataset::shard::Position;

use super::{
    reader::{Limits, Slice, cut_short},
    scan::{Result, ScanError},
};
use crate::error::SourceError;

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Offset of its first byte in the text.
    pub start: u64,
    /// Number of its first line in the file, from 1.
    pub line: u64,
    /// Its length in bytes, with the line's end.
    pub length: u64,
}

/// Finds one record after another.
pub trait Records {
    /// The next one, `None` after the last.
    ///
    /// # Errors
    /// The text cannot be read, or ends inside of quotes.
    fn next(&mut self) -> Result<Option<Place>>;
}

/// Cut a file into slices of whole records, and count them.
pub fn cut(
    records: &mut impl Records,
    name: &str,
    limits: &Limits,
    cancelled: &dyn Fn() -> bool,
) -> std::result::Result<(Vec<Slice>, u64), SourceError> {
    let (mut slices, mut rows) = (Vec::new(), 0);
    let mut open: Option<(Place, u64)> = None;
    let mut close = |(first, row): (Place, u64), last: Place, rows: u64| {
        let (start, end) = (first.start, last.start + last.length);
        slices.push(Slice::Records { start, end, first_row: row, rows: rows - row, line: first.line });
    };
    let mut last = None;
    while !cancelled()
        && let Some(record) = records.next().map_err(|e| at(name, rows, e))?
    {
        let first = *open.get_or_insert((record, rows));
        rows += 1;
        last = Some(record);
        if record.start + record.length - first.0.start >= limits.slice_bytes {
            close(first, record, rows);
            open = None;
        }
    }
    if let (Some(first), Some(last)) = (open, last) {
        close(first, last, rows);
    }
    Ok((slices, rows))
}

/// An error of reading, at a row.
pub fn at(name: &str, row: u64, error: ScanError) -> SourceError {
    match error {
        ScanError::Io(error) => cut_short(name, row, &error),
        ScanError::Broken(what) => SourceError::at(name, Position { row_group: None, row }, what),
    }
}

/// What is said of bytes that are no UTF-8.
pub fn no_text(error: std::str::Utf8Error) -> String {
    format!("is not valid UTF-8 from its byte {} on{OTHER_ENCODING}", error.valid_up_to())
}

/// What is added where bytes are no UTF-8.
pub const OTHER_ENCODING: &str = ": if the file is in another encoding, name it in the [[source]], for instance \
                                  `encoding = \"windows-1252\"`";
