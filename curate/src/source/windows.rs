//! Which bytes of a stored Parquet file are asked for together. Its reader takes a page header, then a page, column beside column;
//! each of these alone would be a request. So what is wanted of a row group is asked for in windows, one a column, and neighbours
//! that are small in one. What lies between, of columns that nobody reads, is left where it is.

use std::{
    io,
    ops::Range,
    sync::{Mutex, PoisonError},
};

use bytes::{Bytes, BytesMut};
use parquet::{arrow::ProjectionMask, file::metadata::ParquetMetaData};
use setaccio_base::objects::ObjectReader;

/// Bytes of all windows of a reader, about.
const ALL: u64 = 64 << 20;

/// Bytes of a window, at most and at least, unless a page is larger.
const WINDOW: Range<u64> = 256 << 10..4 << 20;

/// Bytes at the end of a file in which its footer mostly lies.
const TAIL: u64 = 64 << 10;

/// The windows of a file that is read by one task.
#[derive(Debug)]
pub struct Windows {
    /// What is wanted, in order.
    spans: Vec<Range<u64>>,
    /// Bytes to ask for at a time.
    ahead: u64,
    /// What was read, the last used last: where it begins, and its bytes.
    held: Mutex<Vec<(u64, Bytes)>>,
}

impl Windows {
    /// For reading the footer of a file of this length.
    pub fn of_footer(length: u64) -> Self {
        let tail = length.saturating_sub(TAIL)..length;
        Self { spans: Vec::from([tail]), ahead: TAIL, held: Mutex::default() }
    }

    /// For reading the columns of `mask` in row groups.
    pub fn of_columns(metadata: &ParquetMetaData, groups: Range<u32>, mask: &ProjectionMask) -> Self {
        let groups = groups.start as usize..groups.end as usize;
        let (mut wanted, mut columns): (Vec<Range<u64>>, u64) = (Vec::new(), 1);
        for group in metadata.row_groups().get(groups).unwrap_or_default() {
            let chunks = group.columns().iter().enumerate().filter(|(leaf, _)| mask.leaf_included(*leaf));
            let ranges = chunks.map(|(_, column)| column.byte_range());
            let before = wanted.len();
            wanted.extend(ranges.map(|(start, length)| start..start.saturating_add(length)));
            columns = columns.max((wanted.len() - before) as u64);
        }
        wanted.sort_unstable_by_key(|range| (range.start, range.end));
        let ahead = (ALL / columns).clamp(WINDOW.start, WINDOW.end);
        let mut spans: Vec<Range<u64>> = Vec::new();
        for range in wanted {
            match spans.last_mut() {
                Some(last) if last.end == range.start && range.end - last.start <= ahead => last.end = range.end,
                _ => spans.push(range),
            }
        }
        Self { spans, ahead, held: Mutex::default() }
    }

    /// Bytes `start..start + length`.
    ///
    /// # Errors
    /// The store refuses, or has another version of the object.
    pub fn get(&self, object: &ObjectReader, start: u64, length: usize) -> io::Result<Bytes> {
        let end = start.saturating_add(length as u64);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let inside = |(from, bytes): &(u64, Bytes)| *from <= start && start < *from + bytes.len() as u64;
        let known = held.iter().position(inside).map(|i| held.remove(i));
        let tail = known.as_ref().map_or_else(Bytes::new, |(from, bytes)| bytes.slice(place(start - from)..));
        if tail.len() >= length {
            held.extend(known);
            return Ok(tail.slice(..length));
        }
        let span = self.spans.partition_point(|span| span.start <= start).checked_sub(1).map(|i| &self.spans[i]);
        let Some(span) = span.filter(|span| end <= span.end) else {
            held.extend(known);
            return object.range(start, length).map(Bytes::from);
        };
        let from = start + tail.len() as u64;
        let until = span.end.min(end.max(start + self.ahead));
        let fresh = object.range(from, place(until - from))?;
        let window = if tail.is_empty() {
            Bytes::from(fresh)
        } else {
            let mut both = BytesMut::from(&tail[..]);
            both.extend_from_slice(&fresh);
            both.freeze()
        };
        held.push((start, window.clone()));
        let mut all: u64 = held.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        while all > ALL && held.len() > 1 {
            all -= held.remove(0).1.len() as u64;
        }
        Ok(window.slice(..length))
    }
}

/// A number of bytes that are in memory.
fn place(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
