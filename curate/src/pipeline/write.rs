//! After the tasks: read their spill files partition by partition, let the resolver decide, write shards and rejects.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_array::{Array, ArrayRef, RecordBatch, StringArray, UInt32Array, cast::AsArray, types::UInt64Type};
use arrow_schema::SchemaRef;
use arrow_select::{concat::concat_batches, take::take};
use serde::{Deserialize, Serialize};
use setaccio_base::{numbers::counted, row::Content, sha256::digest_reader};
use setaccio_dataset::{
    columns::{ContentColumns, Extras, content_fields},
    folder::{DATA, REJECTS},
    ledger::{EvaluationCount, FileEntry, Flow, SplitRows},
    recipe::LeftOut,
};

use super::{
    alone::Alone,
    extras, find_leaks as leaking,
    find_near::Rows,
    find_repeats as repeating,
    find_semantic::Rows as Meanings,
    gather::{Gathered, TaskCounts},
    lengths::{LengthTable, SPLITS},
    near::NearDuplicates,
    ranges::{Ranges, partitions},
    rejects::{self, DropRow},
    repeats::{Change, Edits, Repeats},
    resolver::{KeepRow, Named, Removed, Resolution, Resolver, allot, pieces},
    semantic::Twins,
    shards::{self, RowGroup, ShardFormat, ShardWriter},
    spill::{self, DECIDING, ORDER},
    spill_file::{self, Block, BlockWriter, SpillIndex},
    stage::each,
    team::{Hands, Json, Team, each as team_each, once},
};
use crate::{
    error::{Error, Result},
    plan::Plan,
};

/// What was written.
pub struct WriteOutput {
    /// Every file, in order.
    pub files: Vec<FileEntry>,
    /// What conversations hold beside roles and contents.
    pub extras: Extras,
    /// What was counted on the way.
    pub counts: Counts,
    /// What was found of the rows that validate, where others were held against them.
    pub validation: Option<EvaluationCount>,
    /// What a person should know of deduplication and of the sample.
    pub notes: Vec<String>,
}

/// What is counted of one partition, or of all.
#[derive(Default, Serialize, Deserialize)]
pub struct Counts {
    /// Rows into and out of deduplication, per source.
    pub dedup: Vec<Flow>,
    /// Of those that deduplication drops, the ones that are no ordinary copies.
    pub named: Named,
    /// What rows lose because others hold it, per source.
    pub repeats: Vec<Removed>,
    /// Rows into and out of sampling, per source.
    pub sample: Vec<Flow>,
    /// Rows of each split.
    pub splits: [SplitRows; 2],
    /// Lengths and languages.
    pub lengths: LengthTable,
    /// Kept columns that hold anything.
    pub filled: BTreeSet<String>,
}

impl Counts {
    /// Zeros, for so many sources.
    fn new(sources: usize) -> Self {
        let zero = vec![Flow::default(); sources];
        let splits = SPLITS.map(|name| SplitRows { split: name.into(), ..SplitRows::default() });
        Self {
            dedup: zero.clone(),
            named: Named::new(sources),
            repeats: vec![Removed::default(); sources],
            sample: zero,
            splits,
            ..Self::default()
        }
    }

    fn add(&mut self, other: Self) {
        self.dedup.iter_mut().zip(&other.dedup).for_each(|(sum, f)| sum.add(f));
        self.named.add(&other.named);
        self.repeats.iter_mut().zip(&other.repeats).for_each(|(sum, r)| sum.add(r));
        self.sample.iter_mut().zip(&other.sample).for_each(|(sum, f)| sum.add(f));
        for (sum, split) in self.splits.iter_mut().zip(&other.splits) {
            sum.rows += split.rows;
            sum.bytes += split.bytes;
            sum.arrow_bytes += split.arrow_bytes;
        }
        self.lengths.add(&other.lengths);
        self.filled.extend(other.filled);
    }
}

/// One partition, encoded.
#[derive(Default)]
struct Partition {
    train: Vec<RowGroup>,
    validation: Vec<(RecordBatch, u64)>,
    rejects: Vec<RowGroup>,
    counts: Counts,
}

/// Write what the tasks left in `work` into `staging`. What a team wrote is put there.
///
/// # Errors
/// A damaged work file, a full disk, Ctrl-C.
pub fn write(
    plan: &Plan,
    work: &Path,
    gathered: &mut Gathered,
    staging: &Path,
    hands: Hands<'_>,
) -> Result<WriteOutput> {
    let (data, rejected) = (staging.join(DATA), staging.join(REJECTS));
    let written = match hands.team {
        Some(team) => {
            let written = share(plan, work, gathered, (team, hands))?;
            let files = written.data.iter().map(|entry| (entry, &data));
            let files = files.chain(written.rejects.iter().map(|entry| (entry, &rejected)));
            for (piece, (entry, folder)) in files.enumerate() {
                let (file, name) = (shard(team, piece), Path::new(&entry.path).file_name().unwrap_or_default());
                let commons = team.commons();
                commons.bring(&file)?;
                // What comes from a store is looked at before it is published.
                if commons.beyond(&file).is_some() && hash_of(&file, hands)? != entry.sha256 {
                    return Err(commons.lost(&file));
                }
                put_in_place(&file, &folder.join(name))?;
            }
            written
        }
        None => Decided::new(plan, work, gathered, hands)?.write((&data, &rejected), hands)?,
    };
    let mut files = written.data;
    files.extend(gather_rejects(work, &gathered.counts, &rejected)?);
    files.extend(written.rejects);
    let extras = extras_of(plan, &gathered.counts);
    Ok(WriteOutput { files, extras, counts: written.counts, validation: written.validation, notes: written.notes })
}

/// Do with others what none of them has done yet of writing, until all is; it is kept in the folder of the team.
///
/// # Errors
/// A damaged work file, a full disk, Ctrl-C.
pub fn share(plan: &Plan, work: &Path, gathered: &mut Gathered, (team, hands): (&Team, Hands<'_>)) -> Result<Written> {
    if let Some(Json(written)) = team.made(SUMMARY)? {
        return Ok(written);
    }
    let hands = Hands { team: Some(team), ..hands };
    let written = Decided::new(plan, work, gathered, hands)?.write_together(team, hands)?;
    // The last to be written: whoever finds it finds all.
    once(Some(team), SUMMARY, hands.progress, || Ok(Json(written))).map(|Json(written)| written)
}

/// Whether a team has written all.
pub fn is_written(team: &Path) -> bool {
    team.join(SUMMARY).join("00000.json").exists()
}

/// The stage of a team whose only piece says what all of them wrote,
const SUMMARY: &str = "written";
/// the one whose pieces are rows that stay or go, by partition,
const ROWS: &str = "rows";
/// and the one whose pieces are files.
const FILES: &str = "files";

fn hash_of(path: &Path, hands: Hands<'_>) -> Result<String> {
    let file = fs::File::open(path).map_err(Error::io("open", path))?;
    let (_, hash) = digest_reader(file, &|| hands.progress.cancelled()).map_err(Error::io("read", path))?;
    Ok(hash)
}

/// Where a team writes the shard or the rejects that are this piece: shards come first.
fn shard(team: &Team, piece: usize) -> PathBuf {
    team.path(FILES, piece).with_extension("parquet")
}

/// The shards and rejects that were written, and what was counted on the way.
#[derive(Serialize, Deserialize)]
pub struct Written {
    data: Vec<FileEntry>,
    rejects: Vec<FileEntry>,
    counts: Counts,
    validation: Option<EvaluationCount>,
    notes: Vec<String>,
}

/// What is decided about all rows before any is written.
struct Decided<'a> {
    writer: PartitionWriter<'a>,
    ranges: Vec<Range<u32>>,
    /// How many rows of each class each partition may hold, if not all.
    allowed: Option<Vec<Vec<u64>>>,
    validation: Option<EvaluationCount>,
    notes: Vec<String>,
}

/// What conversations hold beside roles and contents.
fn extras_of(plan: &Plan, counts: &TaskCounts) -> Extras {
    [&counts.extras, &plan.loaded.recipe.extras()].into_iter().collect()
}

impl<'a> Decided<'a> {
    fn new(plan: &'a Plan, work: &Path, gathered: &mut Gathered, hands: Hands<'_>) -> Result<Self> {
        let recipe = &plan.loaded.recipe;
        let output = &recipe.output;
        let schema = spill::schema(recipe, &plan.renderer);
        let extras = extras_of(plan, &gathered.counts);
        let output_schema = spill::output_schema(&schema, recipe.kind, &extras);
        let files_read: Vec<&str> = plan.files.iter().map(|f| f.input.name.as_str()).collect();
        let mut writer = PartitionWriter {
            plan,
            resolver: Resolver::new(recipe, files_read.clone()),
            output: ShardFormat::new(output_schema.clone(), output.zstd_level)?,
            output_schema,
            extras,
            rejects: ShardFormat::new(rejects::schema(recipe.kind), output.zstd_level)?,
            index: gathered.rows(plan, work),
            sources: recipe.source.iter().map(|s| s.name.as_str()).collect(),
            files: files_read,
            repeats: None,
        };
        let ranges = partitions(writer.index.content(), output.row_group_bytes);
        let cut = (ranges.as_slice(), &Ranges::new(&ranges, writer.index.content().len()));
        let mut notes = Vec::new();
        if let Some(found) = near_duplicates(&writer, work, gathered, cut, hands)? {
            notes.extend((found.cut > 0).then(|| cut_note(found.cut)));
            let earlier = plan.earlier.iter().map(|earlier| earlier.name.as_str()).collect();
            writer.resolver = writer.resolver.with_near(Some(found), earlier);
        }
        if let Some((found, note)) = semantic_twins(&writer, work, gathered, &ranges, hands)? {
            notes.push(note);
            writer.resolver = writer.resolver.with_semantic(Some(found));
        }
        let mut validation = None;
        if let Some((settings, numbers)) = plan.held_against_validation() {
            let PartitionWriter { index, resolver, .. } = &writer;
            let leaks = leaking::Rows { index, partitions: &ranges, resolver, held: plan.held.items, hands }
                .decide(settings, numbers)?;
            validation = Some(leaks.count.clone());
            writer.resolver = writer.resolver.with_leaks(Some(leaks));
        }
        writer.repeats = repeats(&writer, work, cut, hands)?;
        let allowed = if writer.resolver.counts_first() {
            let counts = writer.count(&ranges, hands)?;
            let available = counts.iter().fold(vec![0; writer.resolver.classes()], |mut sum, there| {
                sum.iter_mut().zip(there).for_each(|(s, n)| *s += n);
                sum
            });
            let (targets, note) = writer.resolver.targets(&available);
            notes.extend(note);
            Some(allot(&counts, &targets))
        } else {
            None
        };
        Ok(Self { writer, ranges, allowed, validation, notes })
    }

    fn allowed(&self, partition: usize) -> Option<&[u64]> {
        self.allowed.as_ref().map(|all| all[partition].as_slice())
    }

    /// Write all, a partition after the other.
    fn write(self, (data, rejected): (&Path, &Path), hands: Hands<'_>) -> Result<Written> {
        let writer = &self.writer;
        let output = &writer.plan.loaded.recipe.output;
        let mut train = ShardWriter::new(&writer.output, data, TRAIN, output.shard_bytes);
        let mut validation = ShardWriter::new(&writer.output, data, VALIDATION, output.shard_bytes);
        let mut dropped = ShardWriter::new(&writer.rejects, rejected, MERGE, output.shard_bytes);
        let mut pending = Pending::default();
        let mut counts = Counts::new(writer.sources.len());
        each(
            "write",
            self.ranges.len(),
            hands.pool,
            hands.progress,
            |i| {
                let mut partition = Partition::default();
                partition.counts =
                    writer.partition(&self.ranges[i], self.allowed(i), &mut |stream, batch, bytes| {
                        match stream {
                            Stream::Train => partition.train.push(writer.output.encode(&batch, bytes)?),
                            Stream::Validation => partition.validation.push((batch, bytes)),
                            Stream::Rejects => partition.rejects.push(writer.rejects.encode(&batch, bytes)?),
                        }
                        Ok(())
                    })?;
                Ok(partition)
            },
            |partition| {
                partition.train.into_iter().try_for_each(|group| train.push(group))?;
                partition.rejects.into_iter().try_for_each(|group| dropped.push(group))?;
                for (batch, bytes) in partition.validation {
                    pending.push(&writer.output, batch, bytes, &mut validation, output.row_group_bytes)?;
                }
                counts.add(partition.counts);
                Ok(())
            },
        )?;
        pending.flush(&writer.output, &mut validation)?;
        let mut files = train.finish_with_a_file()?;
        files.extend(validation.finish()?);
        let rejects = dropped.finish()?;
        Ok(Written { data: files, rejects, counts, validation: self.validation, notes: self.notes })
    }

    /// The same files, of which each process writes some: first what stays and goes of each partition, as it is, then the files,
    /// once it is known how they are cut.
    fn write_together(self, team: &Team, hands: Hands<'_>) -> Result<Written> {
        let writer = &self.writer;
        let output = &writer.plan.loaded.recipe.output;
        let rows = |partition: usize| team.path(ROWS, partition).with_extension("blocks");
        let resolve = |i: usize| {
            let mut file = BlockWriter::create(&rows(i))?;
            let put = &mut |stream: Stream, batch: RecordBatch, bytes: u64| file.write(stream as u32, &batch, bytes);
            let counts = writer.partition(&self.ranges[i], self.allowed(i), put)?;
            Ok(Json(Resolved { counts, blocks: file.finish()? }))
        };
        let (mut counts, mut blocks) = (Counts::new(writer.sources.len()), Vec::new());
        team_each(Some(team), ROWS, self.ranges.len(), hands.by(), resolve, |Json(resolved)| {
            counts.add(resolved.counts);
            blocks.push(resolved.blocks);
            Ok(())
        })?;
        let of = |stream: Stream| {
            let blocks = blocks.iter().enumerate().flat_map(|(i, blocks)| blocks.iter().map(move |block| (i, *block)));
            blocks.filter(move |(_, block)| block.bucket == stream as u32)
        };
        // Row groups: each block is one, but for those that validate, which are put together until they fill one.
        let one = |(partition, block): (usize, Block)| Group { bytes: block.content, blocks: vec![(partition, block)] };
        let mut together: Vec<Group> = Vec::new();
        for (partition, block) in of(Stream::Validation) {
            match together.last_mut().filter(|group| group.bytes < output.row_group_bytes) {
                Some(group) => {
                    group.bytes += block.content;
                    group.blocks.push((partition, block));
                }
                None => together.push(one((partition, block))),
            }
        }
        let mut files = Vec::new();
        for (prefix, groups) in [
            (TRAIN, of(Stream::Train).map(one).collect::<Vec<_>>()),
            (VALIDATION, together),
            (MERGE, of(Stream::Rejects).map(one).collect()),
        ] {
            let bytes: Vec<u64> = groups.iter().map(|group| group.bytes).collect();
            let mut cut = shards::files(&bytes, output.shard_bytes);
            // A reader needs the schema of the rows even where there are none.
            cut.extend((cut.is_empty() && prefix == TRAIN).then_some(0..0));
            let (of, mut groups) = (cut.len(), groups.into_iter());
            for (number, range) in cut.into_iter().enumerate() {
                let name = shards::file_name(prefix, number, of);
                files.push((prefix, name, groups.by_ref().take(range.len()).collect::<Vec<_>>()));
            }
        }
        let write = |i: usize| {
            let (prefix, name, groups) = &files[i];
            let (format, folder) = if *prefix == MERGE { (&writer.rejects, REJECTS) } else { (&writer.output, DATA) };
            let encode = |group: &Group| {
                if hands.progress.cancelled() {
                    return Err(Error::Interrupted);
                }
                let mut batches = Vec::new();
                for (partition, block) in &group.blocks {
                    let (commons, file) = (team.commons(), rows(*partition));
                    commons.bring(&file)?;
                    batches.extend(spill_file::read(&file, block, None).inspect_err(|_| drop(commons.lost(&file)))?);
                }
                format.encode(&concat_batches(format.schema(), &batches).map_err(Error::encode("shard"))?, group.bytes)
            };
            let entry = shards::one_file(format, &shard(team, i), groups.iter().map(encode))?;
            Ok(Json(FileEntry { path: format!("{folder}/{name}"), ..entry }))
        };
        let (mut data, mut rejects) = (Vec::new(), Vec::new());
        team_each(Some(team), FILES, files.len(), hands.by(), write, |Json(entry): Json<FileEntry>| {
            let list = if entry.path.starts_with(REJECTS) { &mut rejects } else { &mut data };
            list.push(entry);
            Ok(())
        })?;
        Ok(Written { data, rejects, counts, validation: self.validation, notes: self.notes })
    }
}

/// What shards of the two splits, and rejects of the last pass, are called.
const TRAIN: &str = SPLITS[0];
const VALIDATION: &str = SPLITS[1];
const MERGE: &str = "merge";

/// Where rows of a partition go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stream {
    Train,
    Validation,
    Rejects,
}

/// Takes rows of a partition, with the bytes of their content.
type Put<'p> = dyn FnMut(Stream, RecordBatch, u64) -> Result<()> + 'p;

/// What was decided about a partition, and where its rows lie.
#[derive(Serialize, Deserialize)]
struct Resolved {
    counts: Counts,
    /// A bucket a [`Stream`].
    blocks: Vec<Block>,
}

/// What becomes one row group: blocks of these partitions.
struct Group {
    bytes: u64,
    blocks: Vec<(usize, Block)>,
}

/// Find the near-duplicates, if the recipe wants it.
fn near_duplicates(
    writer: &PartitionWriter<'_>,
    work: &Path,
    gathered: &mut Gathered,
    (partitions, ranges): (&[Range<u32>], &Ranges),
    hands: Hands<'_>,
) -> Result<Option<NearDuplicates>> {
    let plan = writer.plan;
    let Some(dedup) = &plan.loaded.recipe.dedup else { return Ok(None) };
    let Some(near) = &dedup.near else { return Ok(None) };
    let rows = Rows {
        dedup,
        index: &writer.index,
        partitions,
        ranges,
        resolver: &writer.resolver,
        bands: gathered.bands(plan, work),
        parts: plan.band_parts(),
        earlier: &plan.earlier,
        held: plan.held.band,
        team: hands.team,
    };
    rows.decide(near, &hands.scratch(work, "near"), hands.pool, hands.progress).map(Some)
}

/// Find the rows that mean nearly what others mean, if the recipe wants it; and say what was compared.
fn semantic_twins(
    writer: &PartitionWriter<'_>,
    work: &Path,
    gathered: &mut Gathered,
    partitions: &[Range<u32>],
    hands: Hands<'_>,
) -> Result<Option<(Twins, String)>> {
    let plan = writer.plan;
    let settings = plan.loaded.recipe.semantic();
    let (Some(settings), Some(embedder)) = (settings, &plan.embedder) else { return Ok(None) };
    let vectors = gathered.vectors(plan, work, embedder.dimensions());
    let rows = Meanings { index: &writer.index, partitions, resolver: &writer.resolver, vectors, embedder };
    let Hands { pool, progress, team } = hands;
    let scratch = hands.scratch(work, "semantic");
    let decide = || rows.decide((settings, plan.loaded.recipe.seed), &scratch, pool, progress).map(Json);
    let Json(found) = once(team, Alone::Semantic.stage(), progress, decide)?;
    let count = &gathered.counts.texts;
    if count.embedded == 0 && count.nothing > 0 {
        let why = format!(
            "gives none of {} a vector: is it the model that `dedup.semantic.model` is to name, and whole?",
            counted(count.nothing, "text")
        );
        return Err(Error::damaged(&settings.model, why));
    }
    let note = found.note(count, settings, embedder);
    Ok(Some((found, note)))
}

/// Find what rows hold of each other, if the recipe wants it.
fn repeats(
    writer: &PartitionWriter<'_>,
    work: &Path,
    (partitions, ranges): (&[Range<u32>], &Ranges),
    hands: Hands<'_>,
) -> Result<Option<Repeats>> {
    let recipe = &writer.plan.loaded.recipe;
    let (Some(dedup), Some(settings)) = (&recipe.dedup, recipe.repeats()) else { return Ok(None) };
    let PartitionWriter { index, resolver, .. } = writer;
    let rows = repeating::Rows { dedup, settings, index, partitions, ranges, resolver, hands };
    rows.decide(&hands.scratch(work, "repeats")).map(Some)
}

fn cut_note(rows: u64) -> String {
    let rows = counted(rows, "row");
    format!(
        "{rows} shared bands with so many that each was compared with the preferred of these only: near-duplicates may be left."
    )
}

/// What the workers share.
struct PartitionWriter<'a> {
    plan: &'a Plan,
    resolver: Resolver<'a>,
    index: SpillIndex,
    output_schema: SchemaRef,
    extras: Extras,
    output: ShardFormat,
    rejects: ShardFormat,
    sources: Vec<&'a str>,
    files: Vec<&'a str>,
    repeats: Option<Repeats>,
}

/// Content that is written in one piece, in row groups. More of it falls in one partition where a bucket was
/// guessed too small, or where a great many rows are the same.
const PIECE: u64 = 4;

impl PartitionWriter<'_> {
    /// Rows that would stay in each partition, per class, were there no limit.
    fn count(&self, ranges: &[Range<u32>], hands: Hands<'_>) -> Result<Vec<Vec<u64>>> {
        let mut counts = Vec::with_capacity(ranges.len());
        let count = |i: usize| {
            let changes = self.edits(&ranges[i])?.changes;
            let resolution =
                self.resolver.resolve(&self.index.gather_columns(&ranges[i], &DECIDING)?, &changes, None)?;
            let mut there = vec![0; self.resolver.classes()];
            resolution.keep.iter().for_each(|k| there[self.resolver.class(k.source)] += 1);
            Ok(Json(there))
        };
        team_each(hands.team, "count", ranges.len(), hands.by(), count, |Json(there)| {
            counts.push(there);
            Ok(())
        })?;
        Ok(counts)
    }

    /// What rows of a partition lose because others hold it.
    fn edits(&self, range: &Range<u32>) -> Result<Edits> {
        let (Some(repeats), Some(settings)) = (&self.repeats, self.plan.loaded.recipe.repeats()) else {
            return Ok(Edits::default());
        };
        repeats.of(range, settings.span())
    }

    /// Decide on the rows of a partition, and `put` them where they go; says what was counted.
    fn partition(&self, range: &Range<u32>, allowed: Option<&[u64]>, put: &mut Put<'_>) -> Result<Counts> {
        let group = self.plan.loaded.recipe.output.row_group_bytes;
        let whole = self.index.content_of(range) <= group * PIECE;
        // A large one is decided on what deciding takes, and its rows are fetched a piece at a time.
        let batch = if whole { self.index.gather(range)? } else { self.index.gather_columns(range, &DECIDING)? };
        let edits = self.edits(range)?;
        let Resolution { keep, drop, dedup, named, repeats, sample } =
            self.resolver.resolve(&batch, &edits.changes, allowed)?;
        let mut counts = Counts { dedup, named, repeats, sample, ..Counts::new(self.sources.len()) };
        let mut drop = self.to_rejects(drop);
        if whole {
            self.keep(&mut counts, &self.edited(&batch, &keep, &edits)?, &keep, put)?;
            self.reject(&batch, &drop, put)?;
            return Ok(counts);
        }
        std::mem::drop(batch);
        for mut keep in pieces(keep, group, |k| k.bytes) {
            let mut rows: Vec<u32> = keep.iter().map(|k| k.row).collect();
            rows.sort_unstable();
            let batch = self.index.pick(range, &rows)?;
            for row in &mut keep {
                row.row = place(&rows, row.row);
            }
            self.keep(&mut counts, &self.edited(&batch, &keep, &edits)?, &keep, put)?;
        }
        drop.sort_unstable_by_key(|l| l.row);
        for mut drop in pieces(drop, group, |l| l.bytes) {
            let rows: Vec<u32> = drop.iter().map(|l| l.row).collect();
            let batch = self.index.pick(range, &rows)?;
            for row in &mut drop {
                row.row = place(&rows, row.row);
            }
            self.reject(&batch, &drop, put)?;
        }
        Ok(counts)
    }

    /// Those of the dropped rows that go to the rejects.
    fn to_rejects(&self, mut drop: Vec<DropRow>) -> Vec<DropRow> {
        if self.plan.loaded.recipe.sample.as_ref().is_some_and(|s| s.left_out == LeftOut::Count) {
            drop.retain(|l| l.stage != "sample");
        }
        drop
    }

    /// A batch in which those of its rows that stay have lost what others hold.
    fn edited(&self, batch: &RecordBatch, keep: &[KeepRow], edits: &Edits) -> Result<RecordBatch> {
        let recipe = &self.plan.loaded.recipe;
        let Some(settings) = recipe.repeats() else { return Ok(batch.clone()) };
        let orders = spill::column(batch, ORDER)?.as_primitive::<UInt64Type>();
        let contents = ContentColumns::new(batch, recipe.kind).map_err(Error::spoilt)?;
        let mut texts = BTreeMap::new();
        for row in keep.iter().map(|kept| kept.row as usize) {
            let order = orders.value(row);
            let gone = edits.places.of(order);
            if let (Content::Text(text), false) = (contents.get(row).map_err(Error::spoilt)?, gone.is_empty()) {
                texts.insert(row, Content::Text(Change::new(order, &text, settings, &gone).1));
            }
        }
        if texts.is_empty() {
            return Ok(batch.clone());
        }
        spill::with_texts(batch, &texts, &recipe.output, &self.plan.renderer)
    }

    /// Put rows of a batch that stay.
    fn keep(&self, counts: &mut Counts, batch: &RecordBatch, keep: &[KeepRow], put: &mut Put<'_>) -> Result<()> {
        let (validation, train): (Vec<KeepRow>, Vec<KeepRow>) = keep.iter().partition(|k| k.validation);
        for (split, stream, rows) in [(0, Stream::Train, train), (1, Stream::Validation, validation)] {
            if rows.is_empty() {
                continue;
            }
            counts.lengths.count(split, batch, &rows)?;
            let part = self.select(batch, &rows)?;
            let bytes = rows.iter().map(|k| k.bytes).sum();
            let columns = self.plan.loaded.recipe.output.keep.keys();
            let filled = columns.filter(|name| part.column_by_name(name).is_some_and(|c| c.null_count() < c.len()));
            counts.filled.extend(filled.cloned());
            let counts = &mut counts.splits[usize::from(split)];
            counts.rows += rows.len() as u64;
            counts.bytes += bytes;
            counts.arrow_bytes += part.columns().iter().map(arrow_bytes).sum::<u64>();
            put(stream, part, bytes)?;
        }
        Ok(())
    }

    /// Put rows of a batch that go.
    fn reject(&self, batch: &RecordBatch, drop: &[DropRow], put: &mut Put<'_>) -> Result<()> {
        if drop.is_empty() {
            return Ok(());
        }
        let kind = self.plan.loaded.recipe.kind;
        let batch = rejects::resolver_rejects(kind, batch, drop, &self.sources, &self.files)?;
        put(Stream::Rejects, batch, drop.iter().map(|l| l.bytes).sum())
    }

    /// The output columns of `rows`, in their order.
    fn select(&self, batch: &RecordBatch, rows: &[KeepRow]) -> Result<RecordBatch> {
        let rows_at: Vec<u32> = rows.iter().map(|k| k.row).collect();
        let kind = self.plan.loaded.recipe.kind;
        let mut content: HashMap<String, ArrayRef> = HashMap::new();
        if !self.extras.is_empty() {
            let columns = extras::content_columns(kind, batch, &self.extras, &rows_at)?.finish();
            let fields = content_fields(kind, &self.extras);
            content.extend(fields.iter().map(|f| f.name().clone()).zip(columns));
        }
        let indices = UInt32Array::from(rows_at);
        let sources = StringArray::from_iter_values(rows.iter().map(|k| self.sources[usize::from(k.source)]));
        let sources: ArrayRef = Arc::new(sources);
        let fields = self.output_schema.fields();
        let columns = fields.iter().map(|field| match field.name().as_str() {
            "source" => Ok(sources.clone()),
            name if content.contains_key(name) => Ok(content[name].clone()),
            name => take(spill::column(batch, name)?, &indices, None).map_err(Error::encode("shard")),
        });
        RecordBatch::try_new(self.output_schema.clone(), columns.collect::<Result<_>>()?)
            .map_err(Error::encode("shard"))
    }
}

/// Where `row` is among the picked `rows`.
fn place(rows: &[u32], row: u32) -> u32 {
    rows.binary_search(&row).ok().and_then(|i| u32::try_from(i).ok()).unwrap_or(u32::MAX)
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
        format: &ShardFormat,
        batch: RecordBatch,
        bytes: u64,
        writer: &mut ShardWriter<'_>,
        full: u64,
    ) -> Result<()> {
        self.batches.push(batch);
        self.bytes += bytes;
        if self.bytes >= full { self.flush(format, writer) } else { Ok(()) }
    }

    fn flush(&mut self, format: &ShardFormat, writer: &mut ShardWriter<'_>) -> Result<()> {
        let Some(first) = self.batches.first() else { return Ok(()) };
        let whole = concat_batches(&first.schema(), &self.batches).map_err(Error::encode("shard"))?;
        self.batches.clear();
        writer.push(format.encode(&whole, std::mem::take(&mut self.bytes))?)
    }
}

/// Give the rejects of every task their place among the staged files. The task's own copy stays until
/// the build is published, so that a build cut short here still has its finished tasks.
fn gather_rejects(work: &Path, counts: &TaskCounts, folder: &Path) -> Result<Vec<FileEntry>> {
    let mut entries = Vec::new();
    for (task, entry) in &counts.rejects {
        let name = format!("screen-{task:05}.parquet");
        let (from, to) = (work.with_file_name(&entry.path), folder.join(&name));
        put_in_place(&from, &to)?;
        entries.push(FileEntry { path: format!("{REJECTS}/{name}"), ..entry.clone() });
    }
    Ok(entries)
}

/// Give a file a second name, or where there is none to be had a copy.
fn put_in_place(from: &Path, to: &Path) -> Result<()> {
    let linked = fs::hard_link(from, to).or_else(|e| match e.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::StorageFull => Err(e),
        _ => fs::copy(from, to).map(drop),
    });
    linked.map_err(Error::io("put in place", to))
}
