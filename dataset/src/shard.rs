//! Reading a published shard: its hash and row groups first, then its rows, in order, in batches of a bounded size.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use arrow_array::{Array, cast::AsArray};
use parquet::arrow::{
    ProjectionMask,
    arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions},
};
use setaccio_base::{
    Error, Result,
    row::{Content, Kind},
    sha256,
};

pub use crate::row_groups::Position;
use crate::{
    columns::{ContentColumns, TOOLS, content_names},
    parquet_file::{self, PAGES, Why},
    recipe::LABEL,
    row_groups::{Batch, Fault, RowGroups},
};

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
        let metadata = parquet_file::load(&file, ArrowReaderOptions::new());
        let metadata = metadata.map_err(|flaw| parquet_file::own_flaw(path, &flaw))?;
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
        let groups = 0..u32::try_from(self.metadata.metadata().num_row_groups()).unwrap_or(u32::MAX);
        let batches = RowGroups::new(move || file.try_clone(), self.metadata, mask, groups, 0, PAGES);
        Ok(Rows { path: self.path, kind, batches, ready: Vec::new().into_iter(), failed: false })
    }
}

/// The rows of one shard; a fault of the file is the last.
pub struct Rows {
    path: PathBuf,
    kind: Kind,
    batches: RowGroups<File>,
    ready: std::vec::IntoIter<Result<ShardRow>>,
    failed: bool,
}

impl Iterator for Rows {
    type Item = Result<ShardRow>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.ready.next() {
                return Some(row);
            }
            if self.failed {
                return None;
            }
            let read = self.batches.next()?.map_err(|Fault { at, flaw }| match flaw.why {
                Why::System => Error::damaged(&self.path, format!("{at}: cannot be read: {}", flaw.message)),
                Why::Damage | Why::Limit => self.damaged(at, &flaw.message),
            });
            match read.and_then(|batch| self.rows_of(&batch)) {
                Ok(rows) => self.ready = rows.into_iter(),
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl Rows {
    fn rows_of(&self, batch: &Batch) -> Result<Vec<Result<ShardRow>>> {
        let contents = ContentColumns::new(&batch.rows, self.kind).map_err(|m| self.damaged(batch.place(0), &m))?;
        let labels = batch.rows.column_by_name(LABEL).and_then(|c| c.as_boolean_opt());
        let row = |i| {
            let at = batch.place(i);
            let content = contents.get(i).map_err(|message| self.damaged(at, &message))?;
            let label = labels.filter(|l| l.is_valid(i)).map(|l| l.value(i));
            Ok(ShardRow { at, content, label })
        };
        Ok((0..batch.rows.num_rows()).map(row).collect())
    }

    fn damaged(&self, at: Position, message: &str) -> Error {
        let message = format!("{at}: {message}; build the data set again");
        Error::Damaged { path: self.path.clone(), message }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, RecordBatch, StringArray};
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
