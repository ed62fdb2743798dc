//! The rows that deduplication leaves of a partition, with what they say, for decisions that look at texts.

use std::ops::Range;

use arrow_array::{RecordBatch, cast::AsArray, types::UInt64Type};
use setaccio_base::{progress::Progress, row::Content};
use setaccio_dataset::columns::ContentColumns;

use super::{
    resolver::{KeepRow, Resolver, pieces},
    spill::{self, DECIDING, ORDER},
    spill_file::SpillIndex,
};
use crate::error::{Error, Result};

/// Content that is read at once: no more than a partition is meant to hold.
const PIECE_BYTES: u64 = 32 << 20;

/// A row, as deduplication leaves it.
pub struct Kept<'a> {
    /// What was decided on it.
    pub row: KeepRow,
    /// Its name, which its copies share: its place in the output.
    pub order: u64,
    /// What it says.
    pub content: Content,
    /// A batch with all of its columns,
    pub batch: &'a RecordBatch,
    /// and its place there.
    pub at: usize,
}

/// Where they are read.
#[derive(Clone, Copy)]
pub struct KeptRows<'a> {
    /// The rows of all tasks.
    pub index: &'a SpillIndex,
    /// Tells which rows stay.
    pub resolver: &'a Resolver<'a>,
    /// Who follows it.
    pub progress: &'a dyn Progress,
}

impl KeptRows<'_> {
    /// Give the rows of a partition that are `wanted`, by what was decided and by name, to `each`, in the order of the output.
    pub fn each(
        &self,
        partition: &Range<u32>,
        wanted: impl Fn(&KeepRow, u64) -> bool,
        mut each: impl FnMut(Kept<'_>) -> Result<()>,
    ) -> Result<()> {
        let batch = self.index.gather_columns(partition, &DECIDING)?;
        let orders = spill::column(&batch, ORDER)?.as_primitive::<UInt64Type>();
        let mut kept = self.resolver.deduplicate(&batch)?.keep;
        kept.retain(|row| wanted(row, orders.value(row.row as usize)));
        drop(batch);
        for piece in pieces(kept, PIECE_BYTES, |row| row.bytes) {
            if self.progress.cancelled() {
                return Err(Error::Interrupted);
            }
            let mut rows: Vec<u32> = piece.iter().map(|row| row.row).collect();
            rows.sort_unstable();
            let batch = self.index.pick(partition, &rows)?;
            let contents = ContentColumns::new(&batch, self.resolver.kind()).map_err(Error::spoilt)?;
            let orders = spill::column(&batch, ORDER)?.as_primitive::<UInt64Type>();
            for row in piece {
                let Ok(at) = rows.binary_search(&row.row) else { continue };
                let content = contents.get(at).map_err(Error::spoilt)?;
                each(Kept { row, order: orders.value(at), content, batch: &batch, at })?;
            }
        }
        Ok(())
    }
}
