//! What a build is going to take, from the first rows of some of its tasks: they are read, filtered and compressed, with a
//! watch beside.

use std::time::{Duration, Instant};

use serde::Serialize;
use setaccio_base::row::Content;
use setaccio_dataset::{
    columns::Extras,
    recipe::{DedupOn, Semantic},
};

use crate::{
    contamination::Index,
    embedding::Embedder,
    error::{Error, Result},
    pipeline::{
        filter::{FLUSH_BYTES, Outcome, RowFilter},
        find_repeats,
        semantic::{bands::Bands, greedy::bytes_of_text, units::units},
        spans::Spans,
    },
    plan::{Part, Plan},
    source::Item,
};

/// What a build is expected to take.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Estimate {
    /// Rows that were tried.
    pub sampled_rows: u64,
    /// Rows among these that cannot be read.
    pub bad_rows: u64,
    /// Rows that are going to be read.
    pub rows: u64,
    /// Rows that the filters are going to keep; how many are copies only a build can say.
    pub kept_rows: u64,
    /// Seconds.
    pub seconds: f64,
    /// Bytes of the published folder.
    pub output_bytes: u64,
    /// Bytes beside these while the build runs: its finished tasks.
    pub work_bytes: u64,
    /// Bytes of memory, at the most.
    pub memory_bytes: u64,
    /// What the conversations that were tried have beside roles and contents.
    #[serde(skip)]
    pub extras: Extras,
}

/// So many files, or slices of them, of each source are tried, spread over all of them.
const PARTS: usize = 4;
/// So many rows of each of these, at most,
const ROWS: u64 = 500;
/// and so many bytes of their text.
const BYTES: u64 = 1 << 20;

/// Seconds that spilling, sorting and hashing take a byte of text: measured on web text (BENCHMARKS.md, where the time goes).
const SECONDS_A_BYTE: f64 = 5e-9;
/// What a block of a work file takes beside its rows, in bytes.
const BLOCK: u64 = 3400;
/// What the id of a row takes, which does not pack, in bytes.
const ID: u64 = 24;
/// The same of a work file, with the hashes that a row has there.
const HASHES: u64 = 64;
/// Seconds that the sketch of near-duplicates takes a byte of text (BENCHMARKS.md, near-duplicates).
const SKETCH_SECONDS_A_BYTE: f64 = 1e-8;
/// Finding the spans of a text is tried and timed; sorting out which of them stay, and the texts of rows that lose some, take so many
/// times as long (BENCHMARKS.md, repeats inside texts).
const SPANS_AGAIN: f64 = 3.0;
/// Bytes that a span takes in work files, if it goes.
const SPAN: f64 = 22.0 + 12.0;
/// What a hash of a band takes in a work file, in bytes.
const BAND: u64 = 16;
/// Rows of a source whose meaning is looked for, to see how long it takes.
const MEANINGS: usize = 50;
/// Seconds that a term of a cosine takes, on a core of 2.6 GHz with AVX2.
const SECONDS_A_TERM: f64 = 4e-11;
/// Cosines of texts that have nothing to do with each other, as a Universal Sentence Encoder gives them in the middle and to the one in
/// a hundred that are nearest.
const STRANGERS: [f32; 2] = [0.14, 0.5];
/// What the shingles take, as a share of the text: a third of the rows are compared with others, and a shingle is 4 bytes for a word
/// of 7.
const SHINGLES: f64 = 0.2;
/// Parquet packs texts in pages of this many bytes.
const PAGE: usize = 1 << 20;
/// Work files are packed with LZ4, 64 kB at a time; zstd at its fastest leaves about as much.
const LZ4: (usize, i32) = (64 << 10, -4);
/// How the speed grows with the number of threads: 1.73 times with two (BENCHMARKS.md).
const SPEEDUP: f64 = 0.8;
/// Memory of the program, and the most that a thread takes beside it, in bytes: 311 MB were measured with two threads
/// (BENCHMARKS.md), in row groups of 16 MB.
const MEMORY: u64 = 60_000_000;
const MEMORY_A_THREAD: u64 = 125_000_000;
/// Rows in memory take so many times their bytes.
const COPIES: u64 = 6;

/// What was measured of one source.
#[derive(Default)]
struct Sample {
    rows: u64,
    bad_rows: u64,
    kept_rows: u64,
    /// Bytes that were read.
    bytes: u64,
    /// Of [`Self::text`], what is of kept rows.
    kept_bytes: usize,
    seconds: f64,
    /// What is written of the rows, to the shards or the rejects.
    text: Vec<u8>,
    extras: Extras,
    /// The first kept rows, if their meaning is looked for.
    meant: Vec<Content>,
    /// Spans of kept rows, if repeats are looked for, and what of the seconds it takes to find them.
    spans: u64,
    spans_seconds: f64,
}

/// Try some rows of `plan`; `inspected` is how long it took to look through its files, which a build does too.
///
/// # Errors
/// A file that cannot be read.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate: two digits count"
)]
pub fn estimate(plan: &Plan, jobs: usize, inspected: Duration) -> Result<Estimate> {
    let filter = RowFilter::new(plan);
    let recipe = &plan.loaded.recipe;
    let semantic = recipe.dedup.as_ref().and_then(|dedup| Some((recipe.semantic()?, dedup.on)));
    let mut whole = Estimate { seconds: inspected.as_secs_f64(), ..Estimate::default() };
    let (mut busy, mut text_bytes, mut meant, mut spans) = (0.0, 0.0, 0.0, 0.0);
    let near = plan.loaded.recipe.dedup.as_ref().and_then(|dedup| dedup.near.as_ref());
    for number in 0..u16::try_from(plan.loaded.recipe.source.len()).unwrap_or(u16::MAX) {
        let parts: Vec<&Part> = plan.parts(number).collect();
        let sample = sample(&parts, plan, &filter, number)?;
        let rows = rows(plan, (number, &parts), &sample);
        let times = if sample.rows == 0 { 0.0 } else { rows as f64 / sample.rows as f64 };
        let (packed, packing) = pack(&sample.text, PAGE, plan.loaded.recipe.output.zstd_level)?;
        let (spilled, _) = pack(&sample.text, LZ4.0, LZ4.1)?;
        let bytes = sample.bytes as f64 * times;
        let [written, kept] = [sample.text.len(), sample.kept_bytes].map(|n| n as f64 * times);
        busy += sample.seconds * times + bytes * (packing + SECONDS_A_BYTE);
        text_bytes += bytes;
        whole.extras = [&whole.extras, &sample.extras].into_iter().collect();
        whole.sampled_rows += sample.rows;
        whole.bad_rows += sample.bad_rows;
        whole.rows += rows;
        whole.kept_rows += (sample.kept_rows as f64 * times).round() as u64;
        whole.output_bytes += (written * packed) as u64 + ID * rows;
        whole.work_bytes += (kept * spilled) as u64;
        if let (Some((settings, on)), Some(embedder)) = (semantic, &plan.embedder) {
            let (tried, texts, seconds) = meanings(&sample.meant, (settings, on), embedder)?;
            let times = sample.kept_rows as f64 * times / (tried as f64).max(1.0);
            busy += seconds * times;
            meant += texts as f64 * times;
        }
        if near.is_some() {
            busy += kept * SKETCH_SECONDS_A_BYTE;
            whole.work_bytes += (kept * SHINGLES) as u64;
        }
        busy += sample.spans_seconds * times * SPANS_AGAIN;
        spans += sample.spans as f64 * times;
    }
    if let (Some(embedder), Some((settings, _))) = (&plan.embedder, semantic) {
        // Each text is held against those that stay before it: at the most, half of all. Or it is multiplied with hyperplanes, and
        // held against those that it meets.
        let products = if settings.by_bands(meant as u64) {
            let bands = Bands::choose(meant as usize, settings.threshold, settings.recall, &STRANGERS);
            whole.work_bytes += (meant * bands.work_bytes_a_text()) as u64;
            bands.products_a_text()
        } else {
            meant / 2.0
        };
        busy += meant * products * embedder.dimensions() as f64 * SECONDS_A_TERM;
        // A task's, those of the rows that are compared, and those that stay.
        whole.work_bytes += (3.0 * meant) as u64 * bytes_of_text(embedder.dimensions()) as u64;
    }
    whole.work_bytes += (spans * SPAN) as u64;
    let threads = jobs.min(plan.tasks.len()).max(1);
    let blocks = u64::from(plan.spill_buckets()) * (plan.tasks.len() as u64 + text_bytes as u64 / FLUSH_BYTES);
    whole.work_bytes += BLOCK * blocks.min(whole.kept_rows) + HASHES * whole.kept_rows;
    whole.work_bytes += near.map_or(0, |near| BAND * u64::from(near.bands) * whole.kept_rows);
    whole.seconds += busy / (threads as f64).powf(SPEEDUP);
    let groups = plan.loaded.recipe.output.row_group_bytes.div_ceil(16 << 20);
    let rows_held = (threads as u64 * MEMORY_A_THREAD).saturating_mul(groups).min(COPIES * text_bytes as u64);
    // Rows are read again for each decision, and the spans of all are sorted out between these.
    let held = rows_held.max(threads as u64 * find_repeats::held(spans as u64));
    let index = plan.evaluations.as_ref().and_then(|found| found.index.as_ref());
    let model = plan.embedder.as_ref().map_or(0, Embedder::bytes);
    whole.memory_bytes = MEMORY + held + index.map_or(0, Index::bytes) + model;
    Ok(whole)
}

/// Look for the meaning of some rows: how many there are, how many texts of them are compared, and how long it took.
fn meanings(
    rows: &[Content],
    (settings, on): (&Semantic, DedupOn),
    embedder: &Embedder,
) -> Result<(usize, usize, f64)> {
    let (began, mut vectors) = (Instant::now(), Vec::new());
    for unit in rows.iter().flat_map(|content| units(content, settings.of, on)) {
        embedder.embed(&unit.text, &mut vectors)?;
    }
    Ok((rows.len(), vectors.len() / embedder.dimensions().max(1), began.elapsed().as_secs_f64()))
}

/// Read and filter the first rows of some parts of a source.
fn sample(parts: &[&Part], plan: &Plan, filter: &RowFilter<'_>, number: u16) -> Result<Sample> {
    let mut sample = Sample::default();
    let recipe = &plan.loaded.recipe;
    let mut spans = recipe.dedup.as_ref().and_then(|dedup| Some(Spans::new(dedup, recipe.repeats()?)));
    for part in parts.iter().step_by(parts.len().div_ceil(PARTS).max(1)) {
        let began = Instant::now();
        let (mut rows, mut bytes) = (0, 0);
        for item in plan.read(part)? {
            rows += 1;
            let item = item?;
            sample.bad_rows += u64::from(matches!(item, Item::Bad { .. }));
            if let Item::Row { at, row } = item {
                let read = row.content.bytes();
                bytes += read;
                match filter.apply(row, at, number, &mut filter.tallies()) {
                    Outcome::Keep(kept) => {
                        let before = sample.text.len();
                        kept.row.content.texts().for_each(|text| sample.text.extend(text.as_bytes()));
                        sample.text.extend(kept.rendered().unwrap_or_default().as_bytes());
                        for name in plan.loaded.recipe.output.keep.keys() {
                            let value = kept.row.columns.get(name).map(ToString::to_string);
                            sample.text.extend(value.unwrap_or_default().bytes());
                        }
                        sample.extras.add(&kept.row.content);
                        if let (Some(spans), Content::Text(text)) = (&mut spans, &kept.row.content) {
                            let began = Instant::now();
                            spans.each(text, |_, _| {
                                sample.spans += 1;
                                Ok(())
                            })?;
                            sample.spans_seconds += began.elapsed().as_secs_f64();
                        }
                        if plan.embedder.is_some() && sample.meant.len() < MEANINGS {
                            sample.meant.push(kept.row.content);
                        }
                        sample.kept_rows += 1;
                        sample.kept_bytes += sample.text.len() - before;
                    }
                    Outcome::Drop { row, .. } => {
                        row.content.texts().for_each(|text| sample.text.extend(text.as_bytes()));
                    }
                }
            }
            if rows == ROWS || bytes >= BYTES {
                break;
            }
        }
        sample.seconds += began.elapsed().as_secs_f64();
        sample.rows += rows;
        sample.bytes += bytes;
    }
    Ok(sample)
}

/// Rows of a source: counted where that is known, and otherwise by the size of those that were tried.
fn rows(plan: &Plan, (number, parts): (u16, &[&Part]), sample: &Sample) -> u64 {
    let whole = |part: &&Part| plan.files[part.file].input.inspection.rows;
    let counted: Option<u64> = parts.iter().map(|part| part.slice.rows().or_else(|| whole(part))).sum();
    let limit = plan.loaded.recipe.read.limit.unwrap_or(u64::MAX);
    let each = sample.bytes / sample.rows.max(1);
    let files = plan.files.iter().filter(|file| file.source == number);
    let text: u64 = files.map(|file| file.input.inspection.text_bytes).sum();
    counted.unwrap_or_else(|| text / each.max(1)).min(limit)
}

/// Share that zstd leaves of a text that is packed in `pages`, and the seconds that it takes a byte.
#[allow(clippy::cast_precision_loss, reason = "an estimate")]
fn pack(text: &[u8], pages: usize, level: i32) -> Result<(f64, f64)> {
    let (began, mut packed) = (Instant::now(), 0);
    for page in text.chunks(pages) {
        packed += zstd::bulk::compress(page, level).map_err(Error::io("compress", "a sample of the rows"))?.len();
    }
    let bytes = text.len().max(1) as f64;
    Ok((packed as f64 / bytes, began.elapsed().as_secs_f64() / bytes))
}
