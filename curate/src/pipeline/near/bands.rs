//! Band hashes between the tasks and the decision: a task writes those of its rows in blocks, one or several a band.

use std::{path::Path, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch, UInt64Array, cast::AsArray, types::UInt64Type};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use setaccio_base::row::Content;
use setaccio_dataset::recipe::{DedupOn, Near};

use super::{shingles::Shingler, sketch::Sketcher};
use crate::{
    error::{Error, Result},
    key,
    pipeline::{
        spill,
        spill_file::{Block, BlockWriter},
    },
};

/// The hash of a band, u64.
const HASH: &str = "hash";
/// The name of a row, u64: its place in the output, which rows that are the same share.
const ROW: &str = "row";

/// Columns of the file.
pub fn schema() -> SchemaRef {
    Arc::new(Schema::new([HASH, ROW].map(|name| Field::new(name, DataType::UInt64, false)).to_vec()))
}

/// Writes the band hashes of rows.
pub struct BandWriter {
    near: Near,
    on: DedupOn,
    parts: u32,
    file: BlockWriter,
    shingler: Shingler,
    sketcher: Sketcher,
    /// Hashes and rows of each part of each band.
    held: Vec<(Vec<u64>, Vec<u64>)>,
}

impl BandWriter {
    /// A writer of what will be `path`, where the hashes of each band are cut into `parts` ranges, a power of two.
    pub fn create(path: &Path, near: &Near, on: DedupOn, parts: u32) -> Result<Self> {
        let held = (0..near.bands * parts).map(|_| (Vec::new(), Vec::new())).collect();
        let (sketcher, shingler) = (Sketcher::new(near), Shingler::default());
        Ok(Self { near: near.clone(), on, parts, file: BlockWriter::create(path)?, shingler, sketcher, held })
    }

    /// Add a row of this name.
    pub fn add(&mut self, row: u64, content: &Content) {
        let shingles = self.shingler.shingles(content, self.on, &self.near);
        let mut first = 0;
        self.sketcher.bands(shingles, |hash| {
            let (hashes, rows) = &mut self.held[first + key::bucket(hash, self.parts) as usize];
            hashes.push(hash);
            rows.push(row);
            first += self.parts as usize;
        });
    }

    /// Write what was added since.
    pub fn flush(&mut self) -> Result<()> {
        for (bucket, (hashes, rows)) in (0..).zip(&mut self.held) {
            if hashes.is_empty() {
                continue;
            }
            let bytes = 16 * hashes.len() as u64;
            let [hashes, rows] =
                [hashes, rows].map(|list| Arc::new(UInt64Array::from(std::mem::take(list))) as ArrayRef);
            let batch = RecordBatch::try_new(schema(), vec![hashes, rows]).map_err(Error::encode("band hashes"))?;
            self.file.write(bucket, &batch, bytes)?;
        }
        Ok(())
    }

    /// Flush to disk and give the file its name.
    pub fn finish(mut self) -> Result<Vec<Block>> {
        self.flush()?;
        self.file.finish()
    }
}

/// The groups of two or more rows that share a band hash, from one part of one band, or from one of several shares of it.
pub struct Groups {
    found: Vec<(u64, u64)>,
    share: u64,
    of: u64,
}

impl Groups {
    /// None yet, of share number `share` of `of`, a power of two.
    pub fn new(share: usize, of: usize) -> Self {
        Self { found: Vec::new(), share: share as u64, of: of as u64 }
    }

    /// Take the hashes of a batch.
    ///
    /// # Errors
    /// It has not these columns.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let column =
            |name| Ok::<_, Error>(spill::column(batch, name)?.as_primitive::<UInt64Type>().values().iter().copied());
        // The upper bits are those that the part has in common.
        let mine = column(HASH)?.zip(column(ROW)?).filter(|(hash, _)| hash & (self.of - 1) == self.share);
        self.found.extend(mine);
        Ok(())
    }

    /// Give the rows of each group, with its number, to `each`.
    pub fn finish(mut self, mut each: impl FnMut(usize, u64)) {
        self.found.sort_unstable();
        self.found.dedup();
        let shared = self.found.chunk_by(|a, b| a.0 == b.0).filter(|group| group.len() > 1);
        for (number, group) in shared.enumerate() {
            for (_, row) in group {
                each(number, *row);
            }
        }
    }
}
