//! Text in records that know their line: CSV, and lines. What both have in common is how a file is cut into slices, and
//! how records become rows.

use setaccio_base::row::Row;
use setaccio_dataset::shard::Position;

use super::{
    encoding::Packing,
    reader::{Item, Limits, Slice, cut_short},
    record,
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

    /// The bytes of the latest one, as far as they are kept.
    fn raw(&self) -> &[u8];
}

/// The rows of records: `make` makes one of the latest record, or says what is wrong with it.
pub struct Rows<R, F> {
    records: R,
    name: String,
    /// Number of the next row in the file.
    row: u64,
    make: F,
    failed: bool,
}

impl<R, F> Rows<R, F> {
    /// From `row` on.
    pub fn new(records: R, name: &str, row: u64, make: F) -> Self {
        Self { records, name: name.to_owned(), row, make, failed: false }
    }
}

impl<R: Records, F: Fn(&R, Place) -> std::result::Result<Row, String>> Iterator for Rows<R, F> {
    type Item = std::result::Result<Item, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let place = match self.records.next() {
            Ok(place) => place?,
            Err(error) => {
                self.failed = true;
                return Some(Err(at(&self.name, self.row, error)));
            }
        };
        let at = Position { row_group: None, row: self.row };
        self.row += 1;
        Some(Ok(match (self.make)(&self.records, place) {
            Ok(row) => Item::Row { at, row },
            Err(reason) => Item::Bad { at, reason, raw: record::raw(self.records.raw()) },
        }))
    }
}

/// The slices of a file, and its rows as far as they are to be counted: what is packed is read from its start only.
pub fn slices(
    records: &mut impl Records,
    packing: &Packing,
    name: &str,
    limits: &Limits,
    cancelled: &dyn Fn() -> bool,
) -> std::result::Result<(Vec<Slice>, Option<u64>), SourceError> {
    if packing.none() {
        let (slices, rows) = cut(records, name, limits, cancelled)?;
        return Ok((slices, Some(rows)));
    }
    let rows = if limits.count_compressed {
        Some(cut(records, name, limits, cancelled)?.1)
    } else {
        matches!(records.next(), Ok(None)).then_some(0)
    };
    Ok((vec![Slice::Whole], rows))
}

/// Cut a file into slices of whole records, and count them.
fn cut(
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
                                  `encoding = \"windows-1252\"` (`--encoding` of `setaccio init`)";
