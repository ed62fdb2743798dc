//! Reading a published shard: its hash and row groups first, then its rows, in order, in batches of a bounded size.

use std::{
    fmt,
    fs::File,
    path::{Path, PathBuf},
};

use arrow_array::{Array, RecordBatch, cast::AsArray};
use parquet::arrow::{
    ProjectionMask,
    arrow_reader::{
        ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
    },
};
use setaccio_base::{
    Error, Result,
    row::{Content, Kind},
    sha256,
};

use crate::columns::{ContentColumns, TOOLS, content_names};

/// Text that a batch holds, about, in bytes.
const BATCH_BYTES: u64 = 4 << 20;

/// Whether the answer of a chat was wanted: a kept column that unpaired preference training reads.
const LABEL: &str = "label";

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

/// A row and where it lies.
#[derive(Debug)]
pub struct ShardRow {
    /// Where in its file.
    pub at: Position,
    /// What it says.
    pub content: Content,
    /// Whether its answer was wanted, where a column `label` says so.
    pub label: Option<bool>,
}

/// A shard that was read through once.
pub struct Shard {
    path: PathBuf,
    /// SHA-256 of its bytes, hex.
    pub sha256: String,
    metadata: ArrowReaderMetadata,
}

impl Shard {
    /// Hash a file and read its footer.
    ///
    /// # Errors
    /// It cannot be read, is no Parquet file, or reading was cancelled.
    pub fn open(path: &Path, cancelled: &dyn Fn() -> bool) -> Result<Self> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let (_, sha256) = sha256::digest_reader(&file, cancelled).map_err(Error::io("read", path))?;
        if cancelled() {
            return Err(Error::Interrupted);
        }
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(|e| Error::Damaged {
            path: path.to_owned(),
            message: format!("is no whole Parquet file: {e}; build the data set again"),
        })?;
        Ok(Self { path: path.to_owned(), sha256, metadata })
    }

    /// Rows of each row group.
    pub fn row_groups(&self) -> Vec<u64> {
        let groups = self.metadata.metadata().row_groups();
        groups.iter().map(|g| u64::try_from(g.num_rows()).unwrap_or(0)).collect()
    }

    /// Its rows, which are of `kind`, in order.
    pub fn rows(self, kind: Kind) -> Result<Rows> {
        let file = File::open(&self.path).map_err(Error::io("open", &self.path))?;
        let names = content_names(kind).iter().copied().chain([TOOLS, LABEL]);
        let mask = ProjectionMask::columns(self.metadata.parquet_schema(), names);
        Ok(Rows {
            shard: self,
            file,
            mask,
            kind,
            next_group: 0,
            first_row: 0,
            group_end: 0,
            reader: None,
            ready: Vec::new().into_iter(),
        })
    }
}

/// The rows of one shard; an error is the last.
pub struct Rows {
    shard: Shard,
    file: File,
    mask: ProjectionMask,
    kind: Kind,
    next_group: u32,
    /// Number of the next batch's first row.
    first_row: u64,
    /// Number of the first row after the row group that is read, by the footer.
    group_end: u64,
    reader: Option<ParquetRecordBatchReader>,
    ready: std::vec::IntoIter<Result<ShardRow>>,
}

impl Iterator for Rows {
    type Item = Result<ShardRow>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.ready.next() {
                return Some(row);
            }
            let batch = match self.reader.as_mut().and_then(Iterator::next) {
                Some(batch) => batch.map_err(|e| e.to_string()),
                None if self.first_row != self.group_end => {
                    Err(format!("the row group ends {} rows short", self.group_end.abs_diff(self.first_row)))
                }
                None => match self.open_group()? {
                    Ok(reader) => {
                        self.reader = Some(reader);
                        continue;
                    }
                    Err(error) => Err(error),
                },
            };
            match batch.and_then(|batch| self.read(&batch)) {
                Ok(rows) => self.ready = rows.into_iter(),
                Err(message) => {
                    let error = self.damaged(self.first_row, &message);
                    (self.reader, self.next_group, self.group_end) = (None, u32::MAX, self.first_row);
                    return Some(Err(error));
                }
            }
        }
    }
}

impl Rows {
    /// A reader of the next row group; `None` after the last.
    fn open_group(&mut self) -> Option<std::result::Result<ParquetRecordBatchReader, String>> {
        let group = self.next_group as usize;
        let meta = self.shard.metadata.metadata().row_groups().get(group)?;
        self.next_group += 1;
        let [rows, bytes] = [meta.num_rows(), meta.total_byte_size()].map(|n| u64::try_from(n).unwrap_or(0));
        self.group_end += rows;
        let each = (bytes / rows.max(1)).max(1);
        let batch = usize::try_from((BATCH_BYTES / each).clamp(1, 8192)).unwrap_or(1);
        let file = match self.file.try_clone() {
            Ok(file) => file,
            Err(error) => return Some(Err(error.to_string())),
        };
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.shard.metadata.clone())
            .with_row_groups(vec![group])
            .with_projection(self.mask.clone())
            .with_batch_size(batch)
            .build();
        Some(reader.map_err(|e| e.to_string()))
    }

    /// The rows of a batch.
    fn read(&mut self, batch: &RecordBatch) -> std::result::Result<Vec<Result<ShardRow>>, String> {
        let contents = ContentColumns::new(batch, self.kind)?;
        let labels = batch.column_by_name(LABEL).and_then(|c| c.as_boolean_opt());
        let first = self.first_row;
        self.first_row += batch.num_rows() as u64;
        let row = |i| {
            let row = first + i as u64;
            let content = contents.get(i).map_err(|message| self.damaged(row, &message))?;
            let label = labels.filter(|l| l.is_valid(i)).map(|l| l.value(i));
            Ok(ShardRow { at: self.place(row), content, label })
        };
        Ok((0..batch.num_rows()).map(row).collect())
    }

    fn place(&self, row: u64) -> Position {
        Position { row_group: self.next_group.checked_sub(1), row }
    }

    fn damaged(&self, row: u64, message: &str) -> Error {
        let message = format!("{}: {message}; build the data set again", self.place(row));
        Error::Damaged { path: self.shard.path.clone(), message }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, StringArray};
    use parquet::arrow::ArrowWriter;

    use super::*;

    #[test]
    fn a_fault_names_its_row_group_and_ends_the_rows() -> Result<()> {
        let dir = tempfile::tempdir().map_err(Error::io("create", "temp"))?;
        let path = dir.path().join("train-00000-of-00001.parquet");
        let ids: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
        let batch = RecordBatch::try_from_iter([("id", ids)]).unwrap_or_else(|e| panic!("{e}"));
        let file = File::create(&path).map_err(Error::io("create", &path))?;
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap_or_else(|e| panic!("{e}"));
        writer.write(&batch).and_then(|()| writer.close()).unwrap_or_else(|e| panic!("{e}"));
        let mut rows = Shard::open(&path, &|| false)?.rows(Kind::Text)?;
        let error = rows.next().and_then(std::result::Result::err).map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains("row group 0, row 0") && error.contains("text"), "{error}");
        assert!(rows.next().is_none());
        Ok(())
    }
}
