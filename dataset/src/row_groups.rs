//! A Parquet file by row groups, in batches of a bounded size, each with its place.

use std::{fmt, io, ops::Range};

use arrow_array::RecordBatch;
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder},
    },
    file::reader::ChunkReader,
};

/// Text that a batch holds, about, in bytes.
const BATCH_BYTES: u64 = 4 << 20;

/// Where a row lies in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Position {
    /// Row group, in Parquet.
    pub row_group: Option<u32>,
    /// Number of the row in its file, from 0.
    pub row: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(group) = self.row_group {
            write!(f, "row group {group}, ")?;
        }
        write!(f, "row {} (from 0)", self.row)
    }
}

/// Why reading stops, and where.
#[derive(Debug)]
pub struct Fault {
    /// The row that could not be read.
    pub at: Position,
    /// What the reader says.
    pub message: String,
}

/// Rows that lie side by side.
#[derive(Debug)]
pub struct Batch {
    /// Row group of all of them.
    pub row_group: u32,
    /// Number of the first in its file.
    pub first: u64,
    /// The rows.
    pub rows: RecordBatch,
}

impl Batch {
    /// The place of row `i` of the batch.
    pub fn place(&self, i: usize) -> Position {
        Position { row_group: Some(self.row_group), row: self.first + i as u64 }
    }
}

/// The batches of some row groups; a fault is the last.
pub struct RowGroups<R> {
    open: Box<dyn Fn() -> io::Result<R> + Send>,
    metadata: ArrowReaderMetadata,
    mask: ProjectionMask,
    left: Range<u32>,
    group: u32,
    /// Number of the next batch's first row, and by the footer of the first after the row group that is read.
    row: u64,
    end: u64,
    reader: Option<ParquetRecordBatchReader>,
}

impl<R: ChunkReader + 'static> RowGroups<R> {
    /// Columns of `mask` of the row groups `groups`, whose first row is row `first` of the file that `open` opens.
    pub fn new(
        open: impl Fn() -> io::Result<R> + Send + 'static,
        metadata: ArrowReaderMetadata,
        mask: ProjectionMask,
        groups: Range<u32>,
        first: u64,
    ) -> Self {
        let open = Box::new(open);
        Self { open, metadata, mask, group: groups.start, left: groups, row: first, end: first, reader: None }
    }

    /// Open the next row group; false after the last.
    fn next_group(&mut self) -> Result<bool, String> {
        let Some(group) = self.left.next() else { return Ok(false) };
        self.group = group;
        let meta = self.metadata.metadata().row_groups().get(group as usize).ok_or("there is no such row group")?;
        let [rows, bytes] = [meta.num_rows(), meta.total_byte_size()].map(|n| u64::try_from(n).unwrap_or(0));
        self.end = self.row + rows;
        let each = (bytes / rows.max(1)).max(1);
        let batch = usize::try_from((BATCH_BYTES / each).clamp(1, 8192)).unwrap_or(1);
        let file = (self.open)().map_err(|e| e.to_string())?;
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
            .with_row_groups(vec![group as usize])
            .with_projection(self.mask.clone())
            .with_batch_size(batch)
            .build();
        self.reader = Some(reader.map_err(|e| e.to_string())?);
        Ok(true)
    }

    fn fault(&mut self, message: String) -> Fault {
        let at = Position { row_group: Some(self.group), row: self.row };
        (self.reader, self.left, self.end) = (None, 0..0, self.row);
        Fault { at, message }
    }
}

impl<R: ChunkReader + 'static> Iterator for RowGroups<R> {
    type Item = Result<Batch, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.reader.as_mut().and_then(Iterator::next) {
                Some(Ok(rows)) => {
                    let batch = Batch { row_group: self.group, first: self.row, rows };
                    self.row += batch.rows.num_rows() as u64;
                    return Some(Ok(batch));
                }
                Some(Err(e)) => return Some(Err(self.fault(e.to_string()))),
                None if self.row != self.end => {
                    let short = self.end.abs_diff(self.row);
                    return Some(Err(self.fault(format!("the row group ends {short} rows short"))));
                }
                None => match self.next_group() {
                    Ok(true) => {}
                    Ok(false) => return None,
                    Err(message) => return Some(Err(self.fault(message))),
                },
            }
        }
    }
}
