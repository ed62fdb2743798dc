//! A Parquet file by row groups, in batches of a bounded size, each with its place.

use std::{fmt, io, ops::Range};

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Fields};
use parquet::{
    arrow::{ProjectionMask, arrow_reader::ArrowReaderMetadata},
    file::{metadata::RowGroupMetaData, reader::ChunkReader},
};

use crate::parquet_file::{Batches, Flaw, Guarded, PageLimit, Why};

/// Text that a batch holds, about, in bytes.
const BATCH_BYTES: u64 = 4 << 20;

/// Text that a batch may hold where its rows are much longer than others of their row group, in bytes.
const LONG_BYTES: u64 = 64 << 20;

/// What a value takes beside its bytes: the place where they are, and the levels that say which row it is of.
const PLACE_BYTES: u64 = 20;

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
    /// What is wrong.
    pub flaw: Flaw,
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
    limit: PageLimit,
    /// Whether texts are copied out of dictionaries, value by value.
    copies: bool,
    left: Range<u32>,
    group: u32,
    /// Number of the row group's first row, of the next batch's, and by the footer of the first after the row group.
    first: u64,
    row: u64,
    end: u64,
    /// Rows of a batch.
    size: usize,
    reader: Option<Batches>,
}

/// Rows of a first batch whose texts are copied out of a dictionary: a few bytes of that may stand for gigabytes.
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
        limit: PageLimit,
    ) -> Self {
        let open = Box::new(open);
        let (group, copies) = (groups.start, copies(metadata.schema().fields()));
        let (left, row, end) = (groups, first, first);
        Self { open, metadata, mask, limit, copies, left, group, first, row, end, size: 1, reader: None }
    }

    /// Open the next row group; false after the last.
    fn next_group(&mut self) -> Result<bool, Flaw> {
        let Some(group) = self.left.next() else { return Ok(false) };
        self.group = group;
        let meta = self.metadata.metadata().row_groups().get(group as usize);
        let meta = meta.ok_or_else(|| Flaw { why: Why::Damage, message: "there is no such row group".into() })?;
        let rows = u64::try_from(meta.num_rows()).unwrap_or(0);
        let size = usize::try_from(self.rows_of_a_batch(meta, &self.guarded()?)).unwrap_or(1);
        (self.first, self.end, self.size) = (self.row, self.row + rows, size);
        self.reader = Some(self.reader()?);
        Ok(true)
    }

    /// As many rows of a row group as hold [`BATCH_BYTES`] on average, and [`LONG_BYTES`] where they are longest.
    fn rows_of_a_batch(&self, group: &RowGroupMetaData, file: &Guarded<R>) -> u64 {
        let rows = u64::try_from(group.num_rows()).unwrap_or(0).max(1);
        let (mut bytes, mut longest, mut dictionaries) = (0_u64, 0_u64, 0_u64);
        for (_, column) in group.columns().iter().enumerate().filter(|(leaf, _)| self.mask.leaf_included(*leaf)) {
            let [unpacked, values] = [column.uncompressed_size(), column.num_values()].map(i64::unsigned_abs);
            let (each, dictionary) = file.largest(column);
            let in_a_row = values.div_ceil(rows);
            bytes = bytes.saturating_add(unpacked).saturating_add(values.saturating_mul(PLACE_BYTES));
            longest = longest.saturating_add(each.saturating_mul(in_a_row));
            dictionaries = dictionaries.saturating_add(dictionary.saturating_mul(in_a_row));
        }
        let mut most = (BATCH_BYTES / (bytes / rows).max(1)).min(LONG_BYTES / longest.max(1));
        if self.copies && dictionaries > 0 {
            most = most.min(FEW).min(LONG_BYTES * 4 / dictionaries);
        }
        most.clamp(1, MANY)
    }

    fn guarded(&self) -> Result<Guarded<R>, Flaw> {
        let file = (self.open)().map_err(|e| Flaw { why: Why::System, message: e.to_string() })?;
        let group = self.group as usize;
        Ok(Guarded::new(file, self.metadata.metadata(), group..group + 1, self.limit))
    }

    /// A reader of what is left of the row group.
    fn reader(&self) -> Result<Batches, Flaw> {
        let skipped = usize::try_from(self.row - self.first).unwrap_or(usize::MAX);
        Batches::new(self.guarded()?, self.metadata.clone(), |builder| {
            let builder = builder.with_row_groups(vec![self.group as usize]).with_projection(self.mask.clone());
            builder.with_batch_size(self.size).with_offset(skipped)
        })
    }

    /// Go on in smaller batches, if this one turned out to be much too large.
    fn shrink(&mut self, batch: &RecordBatch) -> Result<(), Flaw> {
        let bytes = batch.get_array_memory_size() as u64;
        if self.copies && bytes > BATCH_BYTES * 4 && self.size > 1 && self.row < self.end {
            let each = bytes / batch.num_rows().max(1) as u64;
            self.size = usize::try_from((BATCH_BYTES / each.max(1)).max(1)).unwrap_or(1);
            self.reader = Some(self.reader()?);
        }
        Ok(())
    }

    fn fault(&mut self, flaw: Flaw) -> Fault {
        let at = Position { row_group: Some(self.group), row: self.row };
        (self.reader, self.left, self.end) = (None, 0..0, self.row);
        Fault { at, flaw }
    }
}

/// Whether any of these holds its texts one after another, and not the places where they are.
fn copies(fields: &Fields) -> bool {
    fields.iter().any(|field| match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary => true,
        DataType::Struct(fields) => copies(fields),
        DataType::List(item) | DataType::LargeList(item) | DataType::Map(item, _) => {
            copies(&Fields::from(vec![item.clone()]))
        }
        _ => false,
    })
}

impl<R: ChunkReader + 'static> Iterator for RowGroups<R> {
    type Item = Result<Batch, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.reader.as_mut().and_then(Iterator::next) {
                Some(Ok(rows)) => {
                    let batch = Batch { row_group: self.group, first: self.row, rows };
                    self.row += batch.rows.num_rows() as u64;
                    return Some(match self.shrink(&batch.rows) {
                        Ok(()) => Ok(batch),
                        Err(flaw) => Err(self.fault(flaw)),
                    });
                }
                Some(Err(flaw)) => return Some(Err(self.fault(flaw))),
                None if self.row != self.end => {
                    let short = self.end.abs_diff(self.row);
                    let message = format!("the row group ends {short} rows short");
                    return Some(Err(self.fault(Flaw { why: Why::Damage, message })));
                }
                None => match self.next_group() {
                    Ok(true) => {}
                    Ok(false) => return None,
                    Err(flaw) => return Some(Err(self.fault(flaw))),
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
    use crate::parquet_file::PAGES;

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
        let batches = RowGroups::new(open, metadata, ProjectionMask::all(), 0..1, 0, PAGES);
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
