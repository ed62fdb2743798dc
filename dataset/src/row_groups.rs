//! A Parquet file by row groups, in batches of a bounded size, each with its place.

use std::{fmt, io, ops::Range};

use arrow_array::RecordBatch;
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder},
    },
    basic::Type as PhysicalType,
    file::{metadata::ColumnChunkMetaData, reader::ChunkReader},
};
use setaccio_base::unwound::unwound;

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
    /// Number of the row group's first row, of the next batch's, and by the footer of the first after the row group.
    first: u64,
    row: u64,
    end: u64,
    /// Rows of a batch.
    size: usize,
    reader: Option<ParquetRecordBatchReader>,
}

/// Rows of a first batch whose texts are in a dictionary: a few bytes of that may stand for gigabytes.
const FEW: u64 = 256;

/// Rows of a batch at most.
const MANY: u64 = 8192;

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
        let group = groups.start;
        Self { open, metadata, mask, left: groups, group, first, row: first, end: first, size: 1, reader: None }
    }

    /// Open the next row group; false after the last.
    fn next_group(&mut self) -> Result<bool, String> {
        let Some(group) = self.left.next() else { return Ok(false) };
        self.group = group;
        let meta = self.metadata.metadata().row_groups().get(group as usize).ok_or("there is no such row group")?;
        let [rows, bytes] = [meta.num_rows(), meta.total_byte_size()].map(|n| u64::try_from(n).unwrap_or(0));
        (self.first, self.end) = (self.row, self.row + rows);
        let each = (bytes / rows.max(1)).max(1);
        let dictionary = |c: &ColumnChunkMetaData| {
            c.column_type() == PhysicalType::BYTE_ARRAY && c.dictionary_page_offset().is_some()
        };
        let most = if meta.columns().iter().any(dictionary) { FEW } else { MANY };
        self.size = usize::try_from((BATCH_BYTES / each).clamp(1, most)).unwrap_or(1);
        self.reader = Some(self.reader()?);
        Ok(true)
    }

    /// A reader of what is left of the row group.
    fn reader(&self) -> Result<ParquetRecordBatchReader, String> {
        let file = (self.open)().map_err(|e| e.to_string())?;
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
            .with_row_groups(vec![self.group as usize])
            .with_projection(self.mask.clone())
            .with_batch_size(self.size)
            .with_offset(usize::try_from(self.row - self.first).unwrap_or(usize::MAX));
        unwound(|| reader.build().map_err(|e| e.to_string()), |said| said)
    }

    /// The next rows of the row group; `None` at its end.
    fn rows(&mut self) -> Option<Result<RecordBatch, String>> {
        let reader = self.reader.as_mut()?;
        unwound(|| reader.next().transpose().map_err(|e| e.to_string()), |said| said).transpose()
    }

    /// Go on in smaller batches, if this one turned out to be much too large.
    fn shrink(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let bytes = batch.get_array_memory_size() as u64;
        if bytes > BATCH_BYTES * 4 && self.size > 1 && self.row < self.end {
            let each = bytes / batch.num_rows().max(1) as u64;
            self.size = usize::try_from((BATCH_BYTES / each.max(1)).max(1)).unwrap_or(1);
            self.reader = Some(self.reader()?);
        }
        Ok(())
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
            match self.rows() {
                Some(Ok(rows)) => {
                    let batch = Batch { row_group: self.group, first: self.row, rows };
                    self.row += batch.rows.num_rows() as u64;
                    return Some(match self.shrink(&batch.rows) {
                        Ok(()) => Ok(batch),
                        Err(message) => Err(self.fault(message)),
                    });
                }
                Some(Err(message)) => return Some(Err(self.fault(message))),
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

#[cfg(test)]
mod tests {
    use std::{fs::File, sync::Arc};

    use arrow_array::{Array, ArrayRef, StringArray, cast::AsArray};
    use parquet::{
        arrow::{ArrowWriter, arrow_reader::ArrowReaderOptions},
        file::properties::WriterProperties,
    };

    use super::*;

    #[test]
    fn batches_stay_small_whatever_a_dictionary_stands_for() {
        let text = "Il mare \u{e8} blu. ".repeat(8192);
        let file = tempfile::tempfile().unwrap_or_else(|e| panic!("{e}"));
        let properties = WriterProperties::builder().set_dictionary_page_size_limit(1 << 20).build();
        let rows = |n: usize| {
            let column: ArrayRef = Arc::new(StringArray::from(vec![text.as_str(); n]));
            RecordBatch::try_from_iter([("text", column)]).unwrap_or_else(|e| panic!("{e}"))
        };
        let again = file.try_clone().unwrap_or_else(|e| panic!("{e}"));
        let mut writer =
            ArrowWriter::try_new(again, rows(1).schema(), Some(properties)).unwrap_or_else(|e| panic!("{e}"));
        (0..50).for_each(|_| writer.write(&rows(16)).unwrap_or_else(|e| panic!("{e}")));
        writer.close().unwrap_or_else(|e| panic!("{e}"));
        let open = move || file.try_clone();
        let file: File = open().unwrap_or_else(|e| panic!("{e}"));
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).unwrap_or_else(|e| panic!("{e}"));
        assert!(metadata.metadata().row_group(0).total_byte_size() < 200_000, "it is a dictionary");
        let batches = RowGroups::new(open, metadata, ProjectionMask::all(), 0..1, 0);
        let (mut next, mut sizes) = (0, Vec::new());
        for batch in batches {
            let batch = batch.unwrap_or_else(|fault| panic!("{fault:?}"));
            assert_eq!((batch.first, batch.row_group), (next, 0));
            let texts = batch.rows.column(0).as_string::<i32>();
            assert!(texts.iter().all(|t| t == Some(&text)));
            next += texts.len() as u64;
            sizes.push(texts.len());
        }
        // A text has 131,072 bytes: the first batch is a guess, the others hold at most 4 MiB.
        assert_eq!((next, sizes[0]), (800, 256));
        assert!(sizes[1..].iter().all(|n| *n <= 32), "{sizes:?}");
    }
}
