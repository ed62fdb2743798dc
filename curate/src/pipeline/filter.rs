//! One task: read a slice of a file or some small files, filter their rows, spill what passes and what does not to the rejects.
//! A task's result depends on the recipe and the slice alone, and carries a key that says so.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use setaccio_base::filter_report::Tally;
use setaccio_base::{
    atomic,
    progress::Progress,
    row::{Renamed, Row},
    run_lock::FileHash,
};
use setaccio_dataset::{
    columns::Extras,
    ledger::{FileEntry, Flow},
    recipe::OnBadRow,
    shard::Position,
};

use super::{
    near::bands::BandWriter,
    rejects::{self, Rejects, Remains},
    semantic::{TextCount, vectors::VectorWriter},
    shards::{ShardFormat, ShardWriter},
    spill::{SpillBuilder, SpillRow},
    spill_file::{Block, BlockWriter},
};
use crate::{
    contamination::Finder,
    error::{Error, Result, SourceError},
    plan::{Plan, PlanFile, Task},
    source::{Item, Slice},
};

/// Text held before it is written, in bytes.
pub const FLUSH_BYTES: u64 = 16 << 20;

/// Name of the rule that drops rows which cannot be read.
pub const BAD_ROW: &str = "bad_row";

/// Name of the rule that drops rows which hold items of evaluation sets.
pub const DECONTAMINATION: &str = "decontamination";

/// Name of the rule that drops rows for which a template, a tokenizer or a kept column has no place.
pub const OUTPUT: &str = "output";

/// What becomes of a row.
pub enum Outcome {
    /// It goes on to deduplication.
    Keep(SpillRow),
    /// It goes to the rejects.
    Drop {
        /// Name of the filter that drops it, or [`DECONTAMINATION`] or [`OUTPUT`].
        rule: String,
        /// The reason: the matched word or the measured value.
        detail: String,
        /// The message that it is said of, as [`Content::message_name`](setaccio_base::row::Content::message_name) names it; `None`: the row as a whole.
        message: Option<String>,
        /// The row as that filter got it.
        row: Row,
    },
}

/// What some rows show of their source.
#[derive(Default)]
pub struct Look {
    /// Columns that nothing reads.
    pub unread: Vec<String>,
    /// Roles and fields that have other names in the rows.
    pub renamed: Vec<Renamed>,
    /// Columns that a template asks for and that no row has.
    pub absent: Vec<String>,
    /// What the conversations that pass have beside roles and contents.
    pub extras: Extras,
}

/// All that decides on one row by itself: the filters in order, then what evaluations are made of, then the output's own demands.
pub struct RowFilter<'a> {
    plan: &'a Plan,
    spill: SpillBuilder<'a>,
    /// Looks for items of evaluation sets, where there are any.
    finder: Option<RefCell<Finder<'a>>>,
    names: Vec<&'a str>,
    /// Columns that filters and output read.
    read: HashSet<String>,
}

impl<'a> RowFilter<'a> {
    /// That of a plan.
    pub fn new(plan: &'a Plan) -> Self {
        let spill = SpillBuilder::new(&plan.loaded.recipe, &plan.renderer);
        let index = plan.evaluations.as_ref().and_then(|found| found.index.as_ref());
        let finder = index.map(|index| RefCell::new(Finder::new(index)));
        Self { plan, spill, finder, names: names(plan), read: plan.columns().into_iter().collect() }
    }

    /// Count the columns that a row has beside its content and that nothing reads.
    pub fn count_unread(&self, row: &Row, unread: &mut BTreeMap<String, u64>) {
        for (name, _) in row.columns.iter().filter(|(name, held)| !held.is_null() && !self.read.contains(*name)) {
            match unread.get_mut(name) {
                Some(rows) => *rows += 1,
                None => drop(unread.insert(name.clone(), 1)),
            }
        }
    }

    /// Columns that the first `rows` rows of the source of this number hold and that nothing reads.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn unread(&self, source: u16, rows: usize) -> Result<Vec<String>> {
        let mut unread = BTreeMap::new();
        self.first(source, rows, |row, _| self.count_unread(&row, &mut unread))?;
        Ok(unread.into_keys().collect())
    }

    /// What the first `rows` rows of the source of this number show of it.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn look(&self, source: u16, rows: usize) -> Result<Look> {
        let (mut unread, mut renamed, mut extras) = (BTreeMap::new(), BTreeSet::new(), Extras::default());
        let mut absent: Option<Vec<String>> = None;
        let mut tallies = self.tallies();
        self.first(source, rows, |row, at| {
            self.count_unread(&row, &mut unread);
            renamed.extend(row.renamed.iter().cloned());
            absent.get_or_insert_with(|| row.absent.clone()).retain(|column| row.absent.contains(column));
            if let Outcome::Keep(kept) = self.apply(row, at, source, &mut tallies) {
                extras.add(&kept.row.content);
            }
        })?;
        let (unread, renamed) = (unread.into_keys().collect(), renamed.into_iter().collect());
        Ok(Look { unread, renamed, absent: absent.unwrap_or_default(), extras })
    }

    /// Give the first `rows` rows of a source to `each`, but for those that cannot be read.
    fn first(&self, source: u16, rows: usize, mut each: impl FnMut(Row, Position)) -> Result<()> {
        let mut left = rows;
        for part in self.plan.parts(source) {
            for item in self.plan.read(part)?.take(left) {
                left -= 1;
                if let Item::Row { at, row } = item? {
                    each(row, at);
                }
            }
            if left == 0 {
                break;
            }
        }
        Ok(())
    }

    /// A count of zeros for each of [`names`].
    pub fn tallies(&self) -> Vec<Tally> {
        vec![Tally::default(); self.names.len()]
    }

    /// Decide on a row of the source of this number; `tallies` counts what each of [`names`] does.
    pub fn apply(&self, mut row: Row, at: Position, source: u16, tallies: &mut [Tally]) -> Outcome {
        row.language.clone_from(&self.plan.loaded.recipe.source[usize::from(source)].language);
        let bytes = row.content.bytes();
        if let Some(dropped) = self.plan.pipeline.apply(&mut row, tallies) {
            let (rule, detail) = (self.names[dropped.filter].to_owned(), dropped.detail);
            let message = dropped.message.and_then(|number| row.content.message_name(number));
            return Outcome::Drop { rule, detail, message, row };
        }
        let mut count = |rule: &str| {
            let place = self.names.iter().position(|name| *name == rule);
            if let Some(tally) = place.and_then(|i| tallies.get_mut(i)) {
                tally.dropped += 1;
                tally.dropped_bytes += bytes;
            }
            rule.to_owned()
        };
        if let Some(finder) = &self.finder {
            let mut finder = finder.borrow_mut();
            if let Some(found) = finder.find(&row.content) {
                let detail = found.detail(finder.index(), &row.content);
                let message = row.content.message_name(found.part);
                return Outcome::Drop { rule: count(DECONTAMINATION), detail, message, row };
            }
        }
        match self.spill.row(row, at) {
            Ok(row) => Outcome::Keep(row),
            Err((row, detail)) => Outcome::Drop { rule: count(OUTPUT), detail, message: None, row },
        }
    }

    /// What was found of evaluation sets so far.
    fn contaminated(&self) -> Contaminated {
        let found = self.finder.as_ref().map(|finder| {
            let finder = finder.borrow();
            Contaminated { rows: finder.rows.clone(), items: finder.items.iter().copied().collect() }
        });
        found.unwrap_or_default()
    }
}

/// What rows hold of evaluation sets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contaminated {
    /// Rows that were dropped for the sake of each set.
    pub rows: Vec<u64>,
    /// Numbers of the items that these hold, ascending.
    pub items: Vec<u32>,
}

impl Contaminated {
    /// Whether nothing was looked for.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// Names of what decides on one row by itself: the filters, then [`DECONTAMINATION`] if rows are held against anything, then [`OUTPUT`] if the output makes any demands.
pub fn names(plan: &Plan) -> Vec<&str> {
    let output = &plan.loaded.recipe.output;
    let demands = plan.renderer.renders() || plan.renderer.counts() || !output.keep.is_empty();
    let held = plan.evaluations.is_some().then_some(DECONTAMINATION);
    plan.pipeline.names().chain(held).chain(demands.then_some(OUTPUT)).collect()
}

/// What a task that is done says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// The task's key: equal keys, equal results.
    pub key: String,
    /// Rows read and readable.
    pub read: Flow,
    /// Rows into and out of the filters.
    pub screen: Flow,
    /// What each of [`names`] did.
    pub tallies: Vec<Tally>,
    /// What the conversations that passed hold beside roles and contents.
    pub extras: Extras,
    /// Columns that nothing read, with the rows that hold something there.
    pub unread: BTreeMap<String, u64>,
    /// Roles and fields that have other names in the rows, with the rows that have some.
    pub renamed: Vec<(Renamed, u64)>,
    /// Columns that templates ask for, with the rows that are without.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub absent: BTreeMap<String, u64>,
    /// What they hold of evaluation sets.
    #[serde(default, skip_serializing_if = "Contaminated::is_empty")]
    pub contaminated: Contaminated,
    /// The rows that passed.
    pub blocks: Vec<Block>,
    /// Their band hashes, where near-duplicates are looked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bands: Vec<Block>,
    /// The vectors of their texts, where it is told what they mean.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vectors: Vec<Block>,
    /// What became of these texts.
    #[serde(default, skip_serializing_if = "TextCount::is_empty")]
    pub texts: TextCount,
    /// The rejects, if there are any.
    pub rejects: Option<FileEntry>,
}

/// Path of a task's spill file.
pub fn spill_path(work: &Path, task: &Task) -> PathBuf {
    work.join(format!("{}.blocks", task.key))
}

/// Path of a task's band hashes.
pub fn bands_path(work: &Path, task: &Task) -> PathBuf {
    work.join(format!("{}.bands", task.key))
}

/// Path of a task's vectors.
pub fn vectors_path(work: &Path, task: &Task) -> PathBuf {
    work.join(format!("{}.vectors", task.key))
}

fn manifest_path(work: &Path, task: &Task) -> PathBuf {
    work.join(format!("{}.json", task.key))
}

/// What a task left when it was done, or `None` if it has to run. A torn or foreign leaving counts as none.
pub fn manifest(work: &Path, task: &Task) -> Option<Manifest> {
    let manifest: Manifest = serde_json::from_slice(&fs::read(manifest_path(work, task)).ok()?).ok()?;
    let size = |path: &Path| fs::metadata(path).map_or(0, |m| m.len());
    let whole = |path: &Path, blocks: &[Block]| size(path) == blocks.last().map_or(0, |b| b.offset + b.length);
    let spilled = whole(&spill_path(work, task), &manifest.blocks)
        && whole(&bands_path(work, task), &manifest.bands)
        && whole(&vectors_path(work, task), &manifest.vectors);
    let rejects = manifest.rejects.as_ref().is_none_or(|r| size(&work.with_file_name(&r.path)) == r.bytes);
    (manifest.key == task.key && spilled && rejects).then_some(manifest)
}

/// Whether the task of this key is done, by what is there: [`manifest`] looks closer, and whoever joins tasks closer still.
pub fn is_done(work: &Path, key: &str) -> bool {
    ["json", "blocks"].iter().all(|end| work.join(format!("{key}.{end}")).exists())
}

/// The files that a task leaves in the folder `work`; its manifest, which vouches for the others, is the last.
pub fn files(work: &Path, task: &Task, manifest: &Manifest) -> Vec<PathBuf> {
    let rejects = manifest.rejects.iter().map(|entry| work.with_file_name(&entry.path));
    let bands = (!manifest.bands.is_empty()).then(|| bands_path(work, task));
    let vectors = (!manifest.vectors.is_empty()).then(|| vectors_path(work, task));
    let beside = bands.into_iter().chain(vectors).chain(rejects);
    [spill_path(work, task)].into_iter().chain(beside).chain([manifest_path(work, task)]).collect()
}

/// Take over what the same task left when an earlier build was published, from the folder `kept`.
///
/// # Errors
/// The file system refuses.
pub fn adopt(kept: &Path, work: &Path, task: &Task) -> Result<Option<Manifest>> {
    let json = fs::read(manifest_path(kept, task)).ok();
    let Some(manifest) = json.and_then(|json| serde_json::from_slice::<Manifest>(&json).ok()) else { return Ok(None) };
    // Published under another name, a file of rejects may have been changed there.
    if let Some(entry) = &manifest.rejects {
        let name = Path::new(&entry.path).file_name().unwrap_or_default();
        let found = FileHash::of(&kept.join(name), &entry.path, &|| false);
        if found.is_ok_and(|found| found.sha256 != entry.sha256) {
            return Ok(None);
        }
    }
    for file in files(work, task, &manifest) {
        let from = kept.join(file.file_name().unwrap_or_default());
        match fs::rename(&from, &file) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            renamed => renamed.map_err(Error::io("take over", &from))?,
        }
    }
    Ok(self::manifest(work, task))
}

/// Run one task into the folder `work`; the manifest is written last.
///
/// # Errors
/// A file that is torn, a row that cannot be read (with `on_bad_row = "stop"`), a full disk, Ctrl-C.
pub fn run(plan: &Plan, task: &Task, work: &Path, progress: &dyn Progress) -> Result<Manifest> {
    let recipe = &plan.loaded.recipe;
    let filter = RowFilter::new(plan);
    let format = ShardFormat::new(rejects::schema(recipe.kind), recipe.output.zstd_level)?;
    let mut out = TaskOutput {
        plan,
        task,
        blocks: BlockWriter::create(&spill_path(work, task))?,
        bands: bands(plan, task, work)?,
        vectors: vectors(plan, task, work)?,
        rejected: ShardWriter::new(&format, work, &task.key, u64::MAX),
        format: &format,
        spill: &filter.spill,
    };
    let mut manifest = Manifest {
        key: task.key.clone(),
        read: Flow::default(),
        screen: Flow::default(),
        tallies: filter.tallies(),
        extras: Extras::default(),
        unread: BTreeMap::new(),
        renamed: Vec::new(),
        absent: BTreeMap::new(),
        contaminated: Contaminated::default(),
        blocks: Vec::new(),
        bands: Vec::new(),
        vectors: Vec::new(),
        texts: TextCount::default(),
        rejects: None,
    };
    let mut held = Held {
        rows: Vec::new(),
        bytes: 0,
        rejects: Rejects::new(recipe.kind, &recipe.source[usize::from(task.source)].name),
    };
    for (number, part) in (0..).zip(&task.parts) {
        let before = manifest.read.rows_in;
        let planned = &plan.files[part.file];
        held.rejects.of_file(&planned.input.name);
        for item in plan.read(part)? {
            if progress.cancelled() {
                return Err(Error::Interrupted);
            }
            decide(&filter, (task.source, number, planned), item?, &mut manifest, &mut held, progress)?;
            if held.bytes >= FLUSH_BYTES {
                out.spill(&mut held.rows, progress)?;
                held.bytes = 0;
            }
            if held.rejects.bytes() >= FLUSH_BYTES {
                out.reject(&mut held.rejects)?;
            }
        }
        planned.check_unchanged()?;
        // Only now is it known of a compressed file.
        if part.slice == Slice::Whole && manifest.read.rows_in == before {
            return Err(SourceError::no_rows(&planned.input.name, plan.source(planned)).into());
        }
    }
    out.spill(&mut held.rows, progress)?;
    out.reject(&mut held.rejects)?;
    manifest.contaminated = filter.contaminated();
    manifest.blocks = out.blocks.finish()?;
    manifest.bands = out.bands.map_or(Ok(Vec::new()), BandWriter::finish)?;
    if let Some(vectors) = out.vectors {
        (manifest.vectors, manifest.texts) = vectors.finish()?;
    }
    manifest.rejects = out.rejected.finish()?.pop();
    let json = serde_json::to_vec(&manifest).map_err(Error::encode("manifest"))?;
    atomic::write(&manifest_path(work, task), &json)?;
    Ok(manifest)
}

/// What writes the band hashes of a task, where near-duplicates are looked for.
fn bands(plan: &Plan, task: &Task, work: &Path) -> Result<Option<BandWriter>> {
    let Some(dedup) = &plan.loaded.recipe.dedup else { return Ok(None) };
    let Some(near) = &dedup.near else { return Ok(None) };
    BandWriter::create(&bands_path(work, task), near, dedup.on, plan.band_parts()).map(Some)
}

/// What writes the vectors of a task, where it is told what rows mean.
fn vectors<'a>(plan: &'a Plan, task: &Task, work: &Path) -> Result<Option<VectorWriter<'a>>> {
    let Some(dedup) = &plan.loaded.recipe.dedup else { return Ok(None) };
    let (Some(semantic), Some(embedder)) = (plan.loaded.recipe.semantic(), &plan.embedder) else { return Ok(None) };
    let path = vectors_path(work, task);
    VectorWriter::create(&path, semantic, dedup.on, embedder, plan.spill_buckets()).map(Some)
}

/// What a task has not written yet.
struct Held {
    rows: Vec<SpillRow>,
    /// Bytes of content in these.
    bytes: u64,
    rejects: Rejects,
}

/// Decide on what was read of `file`, which is number `part` of the task's.
fn decide(
    filter: &RowFilter<'_>,
    (source, part, file): (u16, u32, &PlanFile),
    item: Item,
    manifest: &mut Manifest,
    held: &mut Held,
    progress: &dyn Progress,
) -> Result<()> {
    let stops = filter.plan.loaded.recipe.read.on_bad_row == OnBadRow::Stop;
    let name = &file.input.name;
    let bad = |at: Position, rule, reason| Err(Error::BadRow { file: name.clone(), at: at.to_string(), rule, reason });
    match item {
        Item::Bad { at, mut reason, .. } if stops => {
            if at.row == 0 {
                reason.extend(filter.plan.stray(file));
            }
            return bad(at, BAD_ROW, reason);
        }
        Item::Bad { at, reason, raw } => {
            manifest.read.count(raw.len() as u64, None);
            held.rejects.push(at, BAD_ROW, reason, Remains::Raw(raw));
        }
        Item::Row { at, row } => {
            let bytes = row.content.bytes();
            manifest.read.count(bytes, Some(bytes));
            progress.rows(1, bytes);
            filter.count_unread(&row, &mut manifest.unread);
            count_renamed(&row, &mut manifest.renamed);
            row.absent.iter().for_each(|column| *manifest.absent.entry(column.clone()).or_default() += 1);
            match filter.apply(row, at, source, &mut manifest.tallies) {
                Outcome::Keep(mut row) => {
                    row.part = part;
                    let kept = row.row.content.bytes();
                    manifest.screen.count(bytes, Some(kept));
                    held.bytes += kept;
                    manifest.extras.add(&row.row.content);
                    held.rows.push(row);
                }
                Outcome::Drop { rule, detail, .. } if stops && rule == OUTPUT => return bad(at, OUTPUT, detail),
                Outcome::Drop { rule, detail, message, row } => {
                    manifest.screen.count(bytes, None);
                    held.rejects.push(at, &rule, detail, Remains::Row(Box::new(row), message));
                }
            }
        }
    }
    Ok(())
}

/// Count the names that are others in a row than in its source. There are few, so that looking for one costs nothing.
fn count_renamed(row: &Row, counts: &mut Vec<(Renamed, u64)>) {
    for renamed in &row.renamed {
        match counts.iter_mut().find(|(known, _)| known == renamed) {
            Some((_, rows)) => *rows += 1,
            None => counts.push((renamed.clone(), 1)),
        }
    }
}

struct TaskOutput<'a> {
    plan: &'a Plan,
    task: &'a Task,
    blocks: BlockWriter,
    bands: Option<BandWriter>,
    vectors: Option<VectorWriter<'a>>,
    rejected: ShardWriter<'a>,
    format: &'a ShardFormat,
    spill: &'a SpillBuilder<'a>,
}

impl TaskOutput<'_> {
    /// Write what passed, a block a bucket; rows of a bucket stay in the order they were read.
    fn spill(&mut self, rows: &mut Vec<SpillRow>, progress: &dyn Progress) -> Result<()> {
        let buckets = self.plan.spill_buckets();
        let name = &self.plan.files[self.task.parts[0].file].input.name;
        if let Some(bands) = &mut self.bands {
            for row in rows.iter() {
                bands.add(row.key.order, &row.row.content);
            }
            bands.flush()?;
        }
        if let Some(vectors) = &mut self.vectors {
            for row in rows.iter() {
                if progress.cancelled() {
                    return Err(Error::Interrupted);
                }
                vectors.add(row)?;
            }
        }
        rows.sort_by_key(|p| p.key.bucket(buckets));
        for rows in rows.chunk_by(|a, b| a.key.bucket(buckets) == b.key.bucket(buckets)) {
            let batch = self.spill.batch(rows, self.task.source, name)?;
            let content = rows.iter().map(|p| p.row.content.bytes()).sum();
            self.blocks.write(rows[0].key.bucket(buckets), &batch, content)?;
        }
        rows.clear();
        Ok(())
    }

    fn reject(&mut self, rejects: &mut Rejects) -> Result<()> {
        if let Some((batch, bytes)) = rejects.drain()? {
            self.rejected.push(self.format.encode(&batch, bytes)?)?;
        }
        Ok(())
    }
}
