//! Finds rows that mean nearly the same among those of all tasks: the vectors of the rows that deduplication leaves, then the decision.

use std::{
    cmp::Reverse,
    fs,
    ops::Range,
    path::Path,
    sync::{Mutex, PoisonError},
};

use arrow_array::{
    Array, RecordBatch,
    cast::AsArray,
    types::{UInt32Type, UInt64Type},
};
use rayon::ThreadPool;
use setaccio_base::{atomic, progress::Progress};
use setaccio_dataset::recipe::{Semantic, SemanticUnit};

use super::{
    resolver::{KeepRow, Resolver},
    scratch::Places,
    semantic::{
        Twin, Twins,
        greedy::{Row, SIZES, Search, bytes_of_text},
        vectors,
    },
    spill::{self, DECIDING, ID, LABEL, ORDER, WORDS},
    spill_file::SpillIndex,
    stage::each,
};
use crate::{
    embedding::Embedder,
    error::{Error, Result},
};

/// What is decided on.
pub struct Rows<'a> {
    /// The rows of all tasks.
    pub index: &'a SpillIndex,
    /// Their partitions.
    pub partitions: &'a [Range<u32>],
    /// Tells which rows stay so far.
    pub resolver: &'a Resolver<'a>,
    /// The vectors of all tasks, in the same buckets.
    pub vectors: SpillIndex,
    /// Whose they are.
    pub embedder: &'a Embedder,
}

impl Rows<'_> {
    /// Decide which rows go, in the folder `scratch`, which is emptied first.
    ///
    /// # Errors
    /// A damaged work file, a full disk, Ctrl-C.
    pub fn decide(
        self,
        (settings, seed): (&Semantic, u64),
        scratch: &Path,
        pool: &ThreadPool,
        progress: &dyn Progress,
    ) -> Result<Twins> {
        atomic::remove(scratch)?;
        fs::create_dir_all(scratch).map_err(Error::io("create", scratch))?;
        let file = Mutex::new(Places::create(&scratch.join("vectors"), 0)?);
        let mut rows: Vec<Row> = Vec::new();
        let gather = |i: usize| self.gather(&self.partitions[i], &file);
        each("vectors", self.partitions.len(), pool, progress, gather, |found| {
            rows.extend(found);
            Ok(())
        })?;
        rows.sort_unstable_by_key(|row| (row.rank, Reverse(row.words), row.id));
        let file = file.into_inner().unwrap_or_else(PoisonError::into_inner);
        let search = Search {
            rows: &rows,
            file: &file,
            embedder: self.embedder,
            threshold: settings.threshold,
            sizes: SIZES,
            pool,
            progress,
        };
        let texts = rows.iter().map(|row| u64::from(row.texts)).sum();
        let (gone, bands) = if settings.by_bands(texts) {
            let (gone, bands) = search.decide_by_bands(seed, settings.recall, scratch)?;
            (gone, Some(bands))
        } else {
            (search.decide(Places::create(&scratch.join("kept"), 0)?)?, None)
        };
        let mut twins: Vec<Twin> = gone
            .iter()
            .map(|gone| {
                let by = &rows[gone.by];
                let texts = (settings.of != SemanticUnit::Row).then_some(gone.texts);
                Twin { order: rows[gone.row].order, by: by.id, source: by.source, cosine: gone.cosine, texts }
            })
            .collect();
        twins.sort_unstable_by_key(|twin| twin.order);
        Ok(Twins { rows: twins, compared: rows.len() as u64, texts, bands })
    }

    /// The rows of a partition that stay so far and have vectors, which are put into the file.
    fn gather(&self, partition: &Range<u32>, file: &Mutex<Places>) -> Result<Vec<Row>> {
        let columns: Vec<&str> = DECIDING.into_iter().chain([WORDS]).collect();
        let mut rows = Vec::new();
        // Rows that are the same lie in one bucket, and short texts have vectors that are much larger than they are.
        for bucket in partition.clone() {
            let bucket = bucket..bucket + 1;
            let batch = self.index.gather_columns(&bucket, &columns)?;
            let kept = self.resolver.deduplicate(&batch)?.keep;
            if !kept.is_empty() {
                rows.extend(self.gather_bucket(&bucket, &batch, kept, file)?);
            }
        }
        Ok(rows)
    }

    fn gather_bucket(
        &self,
        bucket: &Range<u32>,
        batch: &RecordBatch,
        mut kept: Vec<KeepRow>,
        file: &Mutex<Places>,
    ) -> Result<Vec<Row>> {
        kept.sort_unstable_by_key(|row| row.row);
        let found = self.vectors.gather(bucket)?;
        let by_row = vectors::by_row(&found)?;
        let vectors = vectors::vectors(&found)?;
        let orders = spill::column(batch, ORDER)?.as_primitive::<UInt64Type>();
        let words = spill::column(batch, WORDS)?.as_primitive::<UInt32Type>();
        let labels = spill::column(batch, LABEL)?.as_primitive::<UInt64Type>();
        let ids = spill::column(batch, ID)?.as_string::<i32>();
        let one = bytes_of_text(self.embedder.dimensions());
        let (mut rows, mut bytes) = (Vec::new(), Vec::new());
        for KeepRow { row, source, .. } in kept {
            let i = row as usize;
            let id = u128::from_str_radix(ids.value(i), 16).map_err(|e| spoilt(format!("id: {e}")))?.to_be_bytes();
            let Some(texts) = by_row.get(&id) else { continue };
            rows.push(Row {
                order: orders.value(i),
                at: bytes.len() as u64,
                texts: u32::try_from(texts.len()).unwrap_or(u32::MAX),
                words: words.value(i),
                rank: self.resolver.rank(source),
                source,
                label: if labels.is_valid(i) { labels.value(i).max(1) } else { 0 },
                id,
            });
            bytes.reserve(texts.len() * one);
            for (number, class, place) in texts {
                bytes.extend(class.to_le_bytes());
                bytes.extend(number.to_le_bytes());
                bytes.extend(vectors.value(*place));
            }
        }
        let start = file.lock().unwrap_or_else(PoisonError::into_inner).append(&bytes)?;
        for row in &mut rows {
            row.at += start;
        }
        Ok(rows)
    }
}

fn spoilt(message: String) -> Error {
    Error::Encode { path: "spill file".into(), message }
}
