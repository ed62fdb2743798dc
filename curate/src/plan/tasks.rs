//! The work, cut into tasks: a large file is several, many small files are one.

use serde::Serialize;
use setaccio_base::sha256;
use setaccio_dataset::{
    decontamination::Decontamination,
    recipe::{Dedup, Recipe, Source},
};
use xxhash_rust::xxh3::xxh3_64;

use super::{ENGINE, Evaluations, Plan, PlanFile, SKETCH_FORMAT, SPILL_FORMAT, VECTOR_FORMAT};
use crate::{contamination::EVALUATION_FORMAT, recipe::evaluations, source::Slice};

/// A file is small up to so many bytes, packed and unpacked.
const SMALL: u64 = 64 << 10;

/// A source has tasks of several files if it has so many small ones: fewer take no time worth saving.
const MANY: usize = 64;

/// Files of a task at most.
const FILES: usize = 512;

/// Bytes of text of a task of several files, at most.
const BYTES: u64 = 1 << 20;

/// A task of several files ends after about so many: where it does is said by the name of the file, so that another file
/// among them changes one task and leaves the others what they were.
const ENDS: u64 = 256;

/// One piece of work.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its number.
    pub index: usize,
    /// Number of the source in the recipe that all of it is of.
    pub source: u16,
    /// What it reads, in order: a part of a file, or several small files.
    pub parts: Vec<Part>,
    /// SHA-256 of all that decides its result.
    pub key: String,
}

/// What is read of one file.
#[derive(Clone, Debug)]
pub struct Part {
    /// Number of the file in the plan.
    pub file: usize,
    /// The part of the file.
    pub slice: Slice,
    /// Read no more rows than this.
    pub rows: Option<u64>,
}

/// Cut the files into tasks, in order, and stop each source at the recipe's limit. What is a task depends on the recipe
/// and the files alone.
pub fn cut(plan: &Plan) -> Vec<Task> {
    let recipe = &plan.loaded.recipe;
    let mut small = vec![0; recipe.source.len()];
    for file in plan.files.iter().filter(|file| is_small(file)) {
        small[usize::from(file.source)] += 1;
    }
    let mut tasks: Vec<Task> = Vec::new();
    let mut read = vec![0_u64; recipe.source.len()];
    // Text and files of the last task, while more can be added to it.
    let mut open: Option<u64> = None;
    for (number, file) in plan.files.iter().enumerate() {
        let source = usize::from(file.source);
        let grouped = small[source] >= MANY && is_small(file);
        for slice in &file.input.inspection.slices {
            let rows = recipe.read.limit.map(|limit| limit.saturating_sub(read[source]));
            if rows == Some(0) {
                break;
            }
            read[source] += slice.rows().or(file.input.inspection.rows).unwrap_or(0);
            let part = Part { file: number, slice: slice.clone(), rows };
            let bytes = file.input.inspection.text_bytes;
            match (tasks.last_mut(), open) {
                (Some(last), Some(held))
                    if grouped && last.source == file.source && last.parts.len() < FILES && held + bytes <= BYTES =>
                {
                    last.parts.push(part);
                    open = Some(held + bytes);
                }
                _ => {
                    let (index, key) = (tasks.len(), String::new());
                    tasks.push(Task { index, source: file.source, parts: vec![part], key });
                    open = grouped.then_some(bytes);
                }
            }
            if xxh3_64(file.input.name.as_bytes()).is_multiple_of(ENDS) {
                open = None;
            }
        }
    }
    for task in &mut tasks {
        task.key = key(plan, task);
    }
    tasks
}

/// Whether a file is read in one piece, and soon.
fn is_small(file: &PlanFile) -> bool {
    let inspection = &file.input.inspection;
    inspection.slices.len() == 1 && file.input.bytes <= SMALL && inspection.text_bytes <= SMALL
}

/// Equal keys, equal results.
fn key(plan: &Plan, task: &Task) -> String {
    let recipe = &plan.loaded.recipe;
    let parts = task.parts.iter().map(|part| {
        let input = &plan.files[part.file].input;
        (&input.name, input.content(), &part.slice, part.rows)
    });
    let whole = digest(&(
        (ENGINE, SPILL_FORMAT, recipe.kind, recipe.seed, &recipe.filter),
        (&plan.lock.list, &plan.lock.model, &plan.lock.assets, plan.spill_buckets()),
        (what_is_compared(recipe.dedup.as_ref()), &recipe.read, keep_and_render(plan), task.source),
        what_is_read(&recipe.source[usize::from(task.source)]),
        parts.collect::<Vec<_>>(),
    ));
    // Without evaluation sets, and without embeddings, a key is what it was before there were any.
    let whole = match (&recipe.decontamination, &plan.evaluations) {
        (Some(settings), Some(found)) => digest(&(whole, what_is_held_against(recipe, settings, found))),
        _ => whole,
    };
    match recipe.semantic() {
        // The hashes of the model are in the lock's list of models.
        Some(semantic) => digest(&(whole, "semantic", VECTOR_FORMAT, semantic.of, semantic.min_words)),
        None => whole,
    }
}

/// The part of `[decontamination]` that tasks see: what is said of rows that validate is decided later.
fn what_is_held_against(recipe: &Recipe, settings: &Decontamination, found: &Evaluations) -> impl Serialize {
    let sets = evaluations::sets(recipe).into_iter().map(|set| (set.name, set.fields, set.id)).collect::<Vec<_>>();
    let files = found.inputs.iter().map(|input| (&input.source, &input.file, input.content())).collect::<Vec<_>>();
    (EVALUATION_FORMAT, settings.measure(), settings.min_words, settings.numbers, sets, digest(&files))
}

/// The part of `[dedup]` that tasks see: sketches, and not what is decided by them.
fn what_is_compared(dedup: Option<&Dedup>) -> impl Serialize {
    let sketched = dedup.and_then(|dedup| dedup.near.as_ref()).map(|near| (SKETCH_FORMAT, near.sketch()));
    (dedup.map(|dedup| Dedup { near: None, repeats: None, semantic: None, ..dedup.clone() }), sketched)
}

/// The part of a source that tasks see: where its files are and what is said of them is no reason to read them again.
fn what_is_read(source: &Source) -> Source {
    Source {
        path: Vec::new(),
        repo: String::new(),
        revision: String::new(),
        files: Vec::new(),
        samples: String::new(),
        license: String::new(),
        rows: None,
        weight: None,
        variant: None,
        citation: None,
        ..source.clone()
    }
}

/// The part of `[output]` that tasks see; how shards are cut is no reason to run them again.
fn keep_and_render(plan: &Plan) -> impl Serialize {
    let output = &plan.loaded.recipe.output;
    (&output.keep, &output.rendered, (&output.bos_token, &output.eos_token, &output.date), output.zstd_level)
}

/// SHA-256 of a value's JSON, hex.
fn digest(value: &impl Serialize) -> String {
    sha256::hex_digest(&serde_json::to_vec(value).unwrap_or_default())
}
