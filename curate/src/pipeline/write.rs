//! What comes after the tasks: merge the carried rows into shards, gather the rejects, keep the ledger.

use std::{collections::BTreeSet, fs, io, ops::Range, path::Path};

use arrow::{
    array::{Array, ArrayRef, RecordBatch, StringArray, UInt32Array},
    compute::take_record_batch,
    datatypes::SchemaRef,
};
use setaccio_base::parallel;

use crate::{
    build::Watch,
    error::{Error, Result},
    pipeline::filter::{Manifest, blocks_path},
    pipeline::lengths::Stats,
    pipeline::rejects::{self, Merged},
    pipeline::resolver::{Kept, Merger, Resolved, allot, stretches},
    pipeline::shards::{Format, RowGroup, ShardWriter},
    pipeline::spill::{self, DECIDING, HIDDEN},
    pipeline::spill_file::Index,
    plan::Plan,
    recipe::LeftOut,
    report::ledger::{self, Totals},
};
use setaccio_dataset::ledger::{FileEntry, Flow, Ledger, SplitRows};

/// One stretch of the output, encoded.
#[derive(Default)]
struct Stretch {
    train: Vec<RowGroup>,
    validation: Vec<(RecordBatch, u64)>,
    rejected: Vec<RowGroup>,
    stats: Stats,
    splits: [SplitRows; 2],
    dedup: Vec<Flow>,
    sample: Vec<Flow>,
    /// Kept columns that hold anything.
    filled: BTreeSet<String>,
}

impl Stretch {
    fn flows(&mut self, resolved: &Resolved) {
        (self.dedup, self.sample) = (resolved.dedup.clone(), resolved.sample.clone());
    }
}

/// Merge everything that the tasks left in `work` into `staging`.
///
/// # Errors
/// A damaged work file, a full disk, Ctrl-C.
pub fn merge(
    plan: &Plan,
    work: &Path,
    manifests: &[Manifest],
    staging: &Path,
    pool: &rayon::ThreadPool,
    watch: &dyn Watch,
) -> Result<Ledger> {
    let recipe = &plan.loaded.recipe;
    let files = plan.tasks.iter().zip(manifests).map(|(t, m)| (blocks_path(work, t), m.blocks.as_slice()));
    let carried = spill::schema(recipe, &plan.renderer);
    let merge = Merge {
        plan,
        merger: Merger::new(recipe),
        index: Index::new(files, plan.buckets),
        output: Format::new(spill::output_schema(&carried), recipe.output.zstd_level)?,
        reject: Format::new(rejects::schema(recipe.kind), recipe.output.zstd_level)?,
        carried,
        sources: recipe.source.iter().map(|s| s.name.as_str()).collect(),
        files: plan.files.iter().map(|f| f.input.name.as_str()).collect(),
    };
    let (merger, output, reject) = (&merge.merger, &merge.output, &merge.reject);
    let ranges = stretches(&merge.index.content(), recipe.output.row_group_bytes);
    let mut notes = Vec::new();
    let allowed = if merger.counts_first() {
        let counts = count(&merge, &ranges, pool, watch)?;
        let available = counts.iter().fold(vec![0; merger.classes()], |mut sum, there| {
            sum.iter_mut().zip(there).for_each(|(s, n)| *s += n);
            sum
        });
        let (targets, note) = merger.targets(&available);
        notes.extend(note);
        Some(allot(&counts, &targets))
    } else {
        None
    };

    let (data, rejected) = (staging.join("data"), staging.join("rejects"));
    let mut train = ShardWriter::new(output, &data, "train", recipe.output.shard_bytes);
    let mut validation = ShardWriter::new(output, &data, "validation", recipe.output.shard_bytes);
    let mut merged = ShardWriter::new(reject, &rejected, "merge", recipe.output.shard_bytes);
    let mut pending = Pending::default();
    let mut total = Totals::new(recipe.source.len());
    let mut stats = Stats::default();
    let mut filled = BTreeSet::new();

    each(
        "write",
        ranges.len(),
        pool,
        watch,
        |i| merge.stretch(&ranges[i], allowed.as_ref().map(|a| a[i].as_slice())),
        |made| {
            made.train.into_iter().try_for_each(|group| train.push(group))?;
            made.rejected.into_iter().try_for_each(|group| merged.push(group))?;
            for (batch, bytes) in made.validation {
                pending.push(output, batch, bytes, &mut validation, recipe.output.row_group_bytes)?;
            }
            filled.extend(made.filled);
            total.add(&made.dedup, &made.sample, &made.splits);
            stats.add(&made.stats);
            Ok(())
        },
    )?;
    pending.flush(output, &mut validation)?;

    let sample = recipe.sample.clone().unwrap_or_default();
    notes.extend(plan.subsets.iter().map(|subset| subset.note(&sample, recipe.dedup.is_some())));
    notes.extend(recipe.output.keep.keys().filter(|name| !filled.contains(*name)).map(|name| {
        format!("The kept column `{name}` is empty in every row: no source has it as a plain value beside its content.")
    }));
    let mut entries = train.finish(true)?;
    entries.extend(validation.finish(false)?);
    entries.extend(gather_rejects(plan, work, manifests, &rejected)?);
    entries.extend(merged.finish(false)?);
    let mut ledger = ledger::ledger(plan, manifests, &total);
    ledger.lengths = stats.lengths();
    ledger.mix = stats.mix(&recipe.source);
    ledger.notes = notes;
    ledger.files = entries;
    Ok(ledger)
}

/// One stage of the merge: `make` each of `n` stretches on the pool, `consume` them in order, and show it.
fn each<T: Send>(
    stage: &'static str,
    n: usize,
    pool: &rayon::ThreadPool,
    watch: &dyn Watch,
    make: impl Fn(usize) -> Result<T> + Sync,
    consume: impl FnMut(T) -> Result<()> + Send,
) -> Result<()> {
    watch.stage(stage, n);
    let make = |i| if watch.cancelled() { Err(Error::Interrupted) } else { make(i).inspect(|_| watch.done(1)) };
    parallel::ordered_map(pool, n, make, consume)
}

/// Rows that would stay in each stretch, per class, were there no limit.
fn count(
    merge: &Merge<'_>,
    ranges: &[Range<u32>],
    pool: &rayon::ThreadPool,
    watch: &dyn Watch,
) -> Result<Vec<Vec<u64>>> {
    let Merge { merger, index, carried, .. } = merge;
    let mut counts = Vec::with_capacity(ranges.len());
    each(
        "count",
        ranges.len(),
        pool,
        watch,
        |i| {
            let batch = index.gather(&ranges[i], carried, Some(&DECIDING))?;
            let resolved = merger.resolve(&batch, [0, 1, 2, 3, 4], None);
            let mut there = vec![0; merger.classes()];
            resolved.kept.iter().for_each(|k| there[merger.class(k.source)] += 1);
            Ok(there)
        },
        |there| {
            counts.push(there);
            Ok(())
        },
    )?;
    Ok(counts)
}

/// What the workers of a merge share.
struct Merge<'a> {
    plan: &'a Plan,
    merger: Merger<'a>,
    index: Index,
    carried: SchemaRef,
    output: Format,
    reject: Format,
    sources: Vec<&'a str>,
    files: Vec<&'a str>,
}

/// Content that is merged in one piece, in row groups. More of it falls in one stretch where a bucket was
/// guessed too small, or where a great many rows are the same.
const PIECE: u64 = 4;

impl Merge<'_> {
    fn stretch(&self, range: &Range<u32>, allowed: Option<&[u64]>) -> Result<Stretch> {
        let group = self.plan.loaded.recipe.output.row_group_bytes;
        let mut made = Stretch::default();
        if self.index.content_of(range) <= group * PIECE {
            let batch = self.index.gather(range, &self.carried, None)?;
            let resolved = self.merger.resolve(&batch, DECIDING, allowed);
            made.flows(&resolved);
            self.write(&mut made, &batch, &resolved.kept, &self.told(resolved.lost))?;
            return Ok(made);
        }
        // Decide on what deciding takes, then fetch the rows a piece at a time.
        let batch = self.index.gather(range, &self.carried, Some(&DECIDING))?;
        let resolved = self.merger.resolve(&batch, [0, 1, 2, 3, 4], allowed);
        drop(batch);
        made.flows(&resolved);
        for mut kept in pieces(resolved.kept, group, |k| k.bytes) {
            let mut rows: Vec<u32> = kept.iter().map(|k| k.row).collect();
            rows.sort_unstable();
            let batch = self.index.pick(range, &self.carried, &rows)?;
            for k in &mut kept {
                k.row = place(&rows, k.row);
            }
            self.write(&mut made, &batch, &kept, &[])?;
        }
        let mut lost = self.told(resolved.lost);
        lost.sort_unstable_by_key(|l| l.row);
        for mut lost in pieces(lost, group, |l| l.bytes) {
            let rows: Vec<u32> = lost.iter().map(|l| l.row).collect();
            let batch = self.index.pick(range, &self.carried, &rows)?;
            for l in &mut lost {
                l.row = place(&rows, l.row);
            }
            self.write(&mut made, &batch, &[], &lost)?;
        }
        Ok(made)
    }

    /// The lost rows that go to the rejects.
    fn told(&self, mut lost: Vec<Merged>) -> Vec<Merged> {
        if self.plan.loaded.recipe.sample.as_ref().is_some_and(|s| s.left_out == LeftOut::Count) {
            lost.retain(|l| l.stage != "sample");
        }
        lost
    }

    /// Encode rows of a batch.
    fn write(&self, made: &mut Stretch, batch: &RecordBatch, kept: &[Kept], lost: &[Merged]) -> Result<()> {
        let (validates, trains): (Vec<Kept>, Vec<Kept>) = kept.iter().partition(|k| k.validation);
        for (i, rows) in [trains, validates].iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
            made.stats.count(i, batch, rows);
            let part = select(batch, rows, &self.sources)?;
            let bytes = rows.iter().map(|k| k.bytes).sum();
            let keep = self.plan.loaded.recipe.output.keep.keys();
            let filled = keep.filter(|name| part.column_by_name(name).is_some_and(|c| c.null_count() < c.len()));
            made.filled.extend(filled.cloned());
            made.splits[i].rows += rows.len() as u64;
            made.splits[i].bytes += bytes;
            made.splits[i].arrow_bytes += part.columns().iter().map(arrow_bytes).sum::<u64>();
            if i == 0 {
                made.train.push(self.output.encode(&part, bytes)?);
            } else {
                made.validation.push((part, bytes));
            }
        }
        if !lost.is_empty() {
            let kind = self.plan.loaded.recipe.kind;
            let batch = rejects::merged(kind, batch, lost, &self.sources, &self.files)?;
            made.rejected.push(self.reject.encode(&batch, 0)?);
        }
        Ok(())
    }
}

/// Cut a list into pieces of about `target` bytes.
fn pieces<T>(list: Vec<T>, target: u64, bytes: impl Fn(&T) -> u64) -> Vec<Vec<T>> {
    let mut pieces: Vec<Vec<T>> = Vec::new();
    let mut held = 0;
    for item in list {
        let more = bytes(&item);
        match pieces.last_mut() {
            Some(piece) if held + more <= target => {
                piece.push(item);
                held += more;
            }
            _ => {
                pieces.push(vec![item]);
                held = more;
            }
        }
    }
    pieces
}

/// Where `row` is among the picked `rows`.
fn place(rows: &[u32], row: u32) -> u32 {
    rows.binary_search(&row).ok().and_then(|i| u32::try_from(i).ok()).unwrap_or(u32::MAX)
}

/// The output columns of `rows`, in their order.
fn select(batch: &RecordBatch, rows: &[Kept], sources: &[&str]) -> Result<RecordBatch> {
    let visible: Vec<usize> = (HIDDEN..batch.num_columns()).collect();
    let indices = UInt32Array::from_iter_values(rows.iter().map(|k| k.row));
    let taken = batch.project(&visible).and_then(|b| take_record_batch(&b, &indices));
    let taken = taken.map_err(Error::encode("shard"))?;
    let mut columns: Vec<ArrayRef> = taken.columns().to_vec();
    let names = rows.iter().map(|k| sources[usize::from(k.source)]);
    columns.insert(1, std::sync::Arc::new(StringArray::from_iter_values(names)));
    RecordBatch::try_new(spill::output_schema(&batch.schema()), columns).map_err(Error::encode("shard"))
}

/// Bytes of an array's rows in Arrow's layout, which is what `datasets` calls `num_bytes`.
fn arrow_bytes(array: &ArrayRef) -> u64 {
    array.to_data().get_slice_memory_size().map_or(0, |n| n as u64)
}

/// Validation rows are few: they wait here until they fill a row group.
#[derive(Default)]
struct Pending {
    batches: Vec<RecordBatch>,
    bytes: u64,
}

impl Pending {
    fn push(
        &mut self,
        format: &Format,
        batch: RecordBatch,
        bytes: u64,
        writer: &mut ShardWriter<'_>,
        full: u64,
    ) -> Result<()> {
        self.batches.push(batch);
        self.bytes += bytes;
        if self.bytes >= full { self.flush(format, writer) } else { Ok(()) }
    }

    fn flush(&mut self, format: &Format, writer: &mut ShardWriter<'_>) -> Result<()> {
        let Some(first) = self.batches.first() else { return Ok(()) };
        let whole = arrow::compute::concat_batches(&first.schema(), &self.batches).map_err(Error::encode("shard"))?;
        self.batches.clear();
        writer.push(format.encode(&whole, std::mem::take(&mut self.bytes))?)
    }
}

/// Give the rejects of every task their place among the staged files. The task's own copy stays until
/// the build is published, so that a build cut short here still has its finished tasks.
fn gather_rejects(plan: &Plan, work: &Path, manifests: &[Manifest], folder: &Path) -> Result<Vec<FileEntry>> {
    let mut entries = Vec::new();
    for (task, manifest) in plan.tasks.iter().zip(manifests) {
        let Some(entry) = &manifest.rejects else { continue };
        let name = format!("screen-{:05}.parquet", task.index);
        let (from, to) = (work.with_file_name(&entry.path), folder.join(&name));
        let linked = fs::hard_link(&from, &to).or_else(|e| match e.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::StorageFull => Err(e),
            _ => fs::copy(&from, &to).map(drop),
        });
        linked.map_err(Error::io("put in place", &to))?;
        entries.push(FileEntry { path: format!("rejects/{name}"), ..entry.clone() });
    }
    Ok(entries)
}
