//! One task: read a slice of one file, screen its rows, keep what passes for merging and what does not
//! as rejects. A task's result depends on the recipe and the slice alone, and carries a key that says so.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use setaccio_filters::screen::Tally;

use crate::{
    build::Watch,
    error::{Error, Result},
    folder::write_whole,
    pipeline::rejects::{self, Loss, Rejects},
    pipeline::shards::{Format, ShardWriter},
    pipeline::spill::{Carrier, Passed},
    pipeline::spill_file::{Block, BlockWriter},
    plan::{OUTPUT, Plan, Task},
    recipe::OnBadRow,
    source::{Item, Position, Slice, SourceError},
};
use setaccio_dataset::ledger::{FileEntry, Flow};

/// Text held before it is written, in bytes.
const FLUSH_BYTES: u64 = 16 << 20;

/// Name of the rule that drops rows which cannot be read.
pub const BAD_ROW: &str = "bad_row";

/// What a finished task says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// The task's key: equal keys, equal results.
    pub key: String,
    /// Rows read and readable.
    pub read: Flow,
    /// Rows into and out of the screen.
    pub screen: Flow,
    /// What each step of the screen did.
    pub tallies: Vec<Tally>,
    /// The carried rows.
    pub blocks: Vec<Block>,
    /// The rejects, if there are any.
    pub rejects: Option<FileEntry>,
}

/// Path of a task's carried rows.
pub fn blocks_path(work: &Path, task: &Task) -> PathBuf {
    work.join(format!("{}.blocks", task.key))
}

fn manifest_path(work: &Path, task: &Task) -> PathBuf {
    work.join(format!("{}.json", task.key))
}

/// What a task left when it was done, or `None` if it has to run. A torn or foreign leaving counts as none.
pub fn finished(work: &Path, task: &Task) -> Option<Manifest> {
    let manifest: Manifest = serde_json::from_slice(&fs::read(manifest_path(work, task)).ok()?).ok()?;
    let size = |path: &Path| fs::metadata(path).map_or(0, |m| m.len());
    let blocks = manifest.blocks.last().map_or(0, |b| b.offset + b.length);
    let rejects = manifest.rejects.as_ref().is_none_or(|r| size(&work.with_file_name(&r.path)) == r.bytes);
    (manifest.key == task.key && size(&blocks_path(work, task)) == blocks && rejects).then_some(manifest)
}

/// Run one task into the folder `work`; the manifest is written last.
///
/// # Errors
/// A file that is torn, a row that cannot be read (with `on_bad_row = "stop"`), a full disk, Ctrl-C.
pub fn run(plan: &Plan, task: &Task, work: &Path, watch: &dyn Watch) -> Result<Manifest> {
    let recipe = &plan.loaded.recipe;
    let planned = &plan.files[task.file];
    let (file, source) = (&planned.input, &recipe.source[usize::from(planned.source)]);
    let carrier = Carrier::new(recipe, &plan.renderer);
    let format = Format::new(rejects::schema(recipe.kind), recipe.output.zstd_level)?;
    let mut out = Writer {
        plan,
        task,
        blocks: BlockWriter::create(&blocks_path(work, task))?,
        rejected: ShardWriter::new(&format, work, &task.key, u64::MAX),
        format: &format,
        carrier: &carrier,
    };
    let steps = plan.steps();
    let mut manifest = Manifest {
        key: task.key.clone(),
        read: Flow::default(),
        screen: Flow::default(),
        tallies: vec![Tally::default(); steps.len()],
        blocks: Vec::new(),
        rejects: None,
    };
    let stops = recipe.read.on_bad_row == OnBadRow::Stop;
    let bad = |at: Position, rule, reason| Error::BadRow { file: file.name.clone(), at: at.to_string(), rule, reason };
    let mut rejects = Rejects::new(recipe.kind, &source.name, &file.name);
    let mut passed: Vec<Passed> = Vec::new();
    let mut held = 0;
    for item in plan.read(task)? {
        if watch.cancelled() {
            return Err(Error::Interrupted);
        }
        match item? {
            Item::Bad { at, reason, .. } if stops => return Err(bad(at, BAD_ROW, reason)),
            Item::Bad { at, reason, raw } => {
                manifest.read.count(raw.len() as u64, None);
                rejects.push(at, BAD_ROW, &reason, &Loss::Unreadable(&raw));
            }
            Item::Row { at, mut row } => {
                row.language.clone_from(&source.language);
                let bytes = row.content.bytes();
                manifest.read.count(bytes, Some(bytes));
                watch.rows(1, bytes);
                if let Some(dropped) = plan.screen.apply(&mut row, &mut manifest.tallies) {
                    manifest.screen.count(bytes, None);
                    rejects.push(at, steps[dropped.step], &dropped.detail, &Loss::Screened(&row));
                    continue;
                }
                match carrier.pass(row, at) {
                    Ok(row) => {
                        let kept = row.row.content.bytes();
                        manifest.screen.count(bytes, Some(kept));
                        held += kept;
                        passed.push(row);
                    }
                    Err((_, reason)) if recipe.read.on_bad_row == OnBadRow::Stop => {
                        return Err(Error::BadRow {
                            file: file.name.clone(),
                            at: at.to_string(),
                            rule: OUTPUT,
                            reason,
                        });
                    }
                    Err((row, reason)) => {
                        manifest.screen.count(bytes, None);
                        if let Some(tally) = manifest.tallies.last_mut() {
                            tally.dropped += 1;
                            tally.dropped_bytes += bytes;
                        }
                        rejects.push(at, OUTPUT, &reason, &Loss::Screened(&row));
                    }
                }
            }
        }
        if held >= FLUSH_BYTES {
            out.carry(&mut passed)?;
            held = 0;
        }
        if rejects.bytes() >= FLUSH_BYTES {
            out.reject(&mut rejects)?;
        }
    }
    out.carry(&mut passed)?;
    out.reject(&mut rejects)?;
    plan.unchanged(task.file)?;
    // Only now is it known of a compressed file.
    if task.slice == Slice::Whole && manifest.read.rows_in == 0 {
        return Err(SourceError::no_rows(&file.name).into());
    }
    manifest.blocks = out.blocks.finish()?;
    manifest.rejects = out.rejected.finish(false)?.pop();
    let json = serde_json::to_vec(&manifest).map_err(Error::encode("manifest"))?;
    write_whole(&manifest_path(work, task), &json)?;
    Ok(manifest)
}

struct Writer<'a> {
    plan: &'a Plan,
    task: &'a Task,
    blocks: BlockWriter,
    rejected: ShardWriter<'a>,
    format: &'a Format,
    carrier: &'a Carrier<'a>,
}

impl Writer<'_> {
    /// Write what passed, a block a bucket; rows of a bucket stay in the order they were read.
    fn carry(&mut self, passed: &mut Vec<Passed>) -> Result<()> {
        let buckets = self.plan.buckets;
        let planned = &self.plan.files[self.task.file];
        let file = u32::try_from(self.task.file).unwrap_or(u32::MAX);
        passed.sort_by_key(|p| p.key.bucket(buckets));
        for rows in passed.chunk_by(|a, b| a.key.bucket(buckets) == b.key.bucket(buckets)) {
            let batch = self.carrier.batch(rows, planned.source, file, &planned.input.name)?;
            let content = rows.iter().map(|p| p.row.content.bytes()).sum();
            self.blocks.write(rows[0].key.bucket(buckets), &batch, content)?;
        }
        passed.clear();
        Ok(())
    }

    fn reject(&mut self, rejects: &mut Rejects) -> Result<()> {
        if let Some((batch, bytes)) = rejects.drain()? {
            self.rejected.push(self.format.encode(&batch, bytes)?)?;
        }
        Ok(())
    }
}
