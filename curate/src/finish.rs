//! What comes after the tasks: merge the carried rows into shards, gather the rejects, keep the ledger.

use std::{fs, io, path::Path};

use arrow::{
    array::{ArrayRef, RecordBatch, StringArray, UInt32Array},
    compute::take_record_batch,
};

use crate::{
    blocks::Index,
    build::Watch,
    carried::{self, DECIDING, HIDDEN},
    counts::{self, Totals},
    error::{Error, Result},
    ledger::{FileEntry, Flow, Ledger, SplitRows},
    merge::{Kept, Merger, allot, stretches},
    plan::Plan,
    recipe::LeftOut,
    rejects,
    shards::{Format, RowGroup, ShardWriter},
    stats::Stats,
    task::{Manifest, blocks_path},
    workers,
};

/// One stretch of the output, encoded.
struct Stretch {
    train: RowGroup,
    validation: RecordBatch,
    rejected: RowGroup,
    stats: Stats,
    splits: [SplitRows; 2],
    dedup: Vec<Flow>,
    sample: Vec<Flow>,
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
    let merger = Merger::new(recipe);
    let files = plan.tasks.iter().zip(manifests).map(|(t, m)| (blocks_path(work, t), m.blocks.as_slice()));
    let index = Index::new(files, plan.buckets);
    let ranges = stretches(&index.content(), recipe.output.row_group_bytes);
    let carried = carried::schema(recipe, &plan.renderer);
    let mut notes = Vec::new();
    let allowed = if merger.counts_first() {
        let counts = count(plan, &merger, &index, &ranges, pool, watch)?;
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

    let output = Format::new(carried::output_schema(&carried), recipe.output.zstd_level)?;
    let reject = Format::new(rejects::schema(recipe.kind), recipe.output.zstd_level)?;
    let (data, rejected) = (staging.join("data"), staging.join("rejects"));
    let mut train = ShardWriter::new(&output, &data, "train", recipe.output.shard_bytes);
    let mut validation = ShardWriter::new(&output, &data, "validation", recipe.output.shard_bytes);
    let mut merged = ShardWriter::new(&reject, &rejected, "merge", recipe.output.shard_bytes);
    let mut pending = Pending::default();
    let mut total = Totals::new(recipe.source.len());
    let mut stats = Stats::default();

    watch.stage("write", ranges.len());
    workers::ordered(
        pool,
        ranges.len(),
        |i| {
            if watch.cancelled() {
                return Err(Error::Interrupted);
            }
            let batch = index.gather(&ranges[i], &carried, None)?;
            let allowed = allowed.as_ref().map(|a| a[i].as_slice());
            let made = stretch(plan, &merger, &output, &reject, &batch, allowed)?;
            watch.done(1);
            Ok(made)
        },
        |made| {
            train.push(made.train)?;
            merged.push(made.rejected)?;
            pending.push(
                &output,
                made.validation,
                made.splits[1].bytes,
                &mut validation,
                recipe.output.row_group_bytes,
            )?;
            total.add(&made.dedup, &made.sample, &made.splits);
            stats.add(&made.stats);
            Ok(())
        },
    )?;
    pending.flush(&output, &mut validation)?;

    let mut entries = train.finish(true)?;
    entries.extend(validation.finish(false)?);
    entries.extend(gather_rejects(plan, work, manifests, &rejected)?);
    entries.extend(merged.finish(false)?);
    let mut ledger = counts::ledger(plan, manifests, &total);
    stats.summarise(plan, &mut ledger)?;
    ledger.notes = notes;
    ledger.files = entries;
    Ok(ledger)
}

/// Rows that would stay in each stretch, per class, were there no limit.
fn count(
    plan: &Plan,
    merger: &Merger<'_>,
    index: &Index,
    ranges: &[std::ops::Range<u32>],
    pool: &rayon::ThreadPool,
    watch: &dyn Watch,
) -> Result<Vec<Vec<u64>>> {
    let carried = carried::schema(&plan.loaded.recipe, &plan.renderer);
    let mut counts = Vec::with_capacity(ranges.len());
    watch.stage("count", ranges.len());
    workers::ordered(
        pool,
        ranges.len(),
        |i| {
            if watch.cancelled() {
                return Err(Error::Interrupted);
            }
            let batch = index.gather(&ranges[i], &carried, Some(&DECIDING))?;
            let resolved = merger.resolve(&batch, [0, 1, 2, 3, 4], None);
            let mut there = vec![0; merger.classes()];
            resolved.kept.iter().for_each(|k| there[merger.class(k.source)] += 1);
            watch.done(1);
            Ok(there)
        },
        |there| {
            counts.push(there);
            Ok(())
        },
    )?;
    Ok(counts)
}

fn stretch(
    plan: &Plan,
    merger: &Merger<'_>,
    output: &Format,
    reject: &Format,
    batch: &RecordBatch,
    allowed: Option<&[u64]>,
) -> Result<Stretch> {
    let recipe = &plan.loaded.recipe;
    let sources: Vec<&str> = recipe.source.iter().map(|s| s.name.as_str()).collect();
    let files: Vec<&str> = plan.files.iter().map(|f| f.input.name.as_str()).collect();
    let mut resolved = merger.resolve(batch, DECIDING, allowed);
    let (validates, trains): (Vec<Kept>, Vec<Kept>) = resolved.kept.iter().partition(|k| k.validation);
    let mut stats = Stats::default();
    let mut splits = [SplitRows::default(), SplitRows::default()];
    let mut written = Vec::with_capacity(2);
    for (i, rows) in [trains, validates].iter().enumerate() {
        stats.count(i, batch, rows);
        let part = select(batch, rows, &sources)?;
        splits[i].rows = rows.len() as u64;
        splits[i].bytes = rows.iter().map(|k| k.bytes).sum();
        splits[i].arrow_bytes = part.columns().iter().map(arrow_bytes).sum();
        written.push(part);
    }
    if recipe.sample.as_ref().is_some_and(|s| s.left_out == LeftOut::Count) {
        resolved.lost.retain(|l| l.stage != "sample");
    }
    let lost = rejects::merged(recipe.kind, batch, &resolved.lost, &sources, &files)?;
    let (validation, train) = (written.pop(), written.pop());
    let empty = || RecordBatch::new_empty(carried::output_schema(&batch.schema()));
    Ok(Stretch {
        train: output.encode(&train.unwrap_or_else(empty), splits[0].bytes)?,
        validation: validation.unwrap_or_else(empty),
        rejected: reject.encode(&lost, 0)?,
        stats,
        splits,
        dedup: resolved.dedup,
        sample: resolved.sample,
    })
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
    RecordBatch::try_new(carried::output_schema(&batch.schema()), columns).map_err(Error::encode("shard"))
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
