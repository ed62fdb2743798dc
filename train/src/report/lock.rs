//! `run.lock.toml` of a run: what is in it, and what of it decides the numbers. The same run gives the same bytes.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use setaccio_base::{
    card::strictest,
    flat::{Flat, differing as differing_values},
    run_lock,
    sha256::hex_digest,
};
use setaccio_dataset::lock::ReadFrom;

use crate::{
    data::shards::Build,
    error::{Error, Result},
    recipe::Recipe,
};

mod compare;

use compare::Length;

pub use run_lock::{DataFolder, FileHash, Leg, NAME, differing};

/// The lock of a run of the trainer.
pub type RunLock = run_lock::RunLock<Recipe>;

/// Program and version of the arithmetic: raised whenever the same inputs would give other numbers.
pub const ENGINE: &str = concat!("setaccio ", env!("CARGO_PKG_VERSION"), " trainer 2");

/// What [`DataFolder::others`] calls the rows that come with the program.
pub const SAMPLES: &str = "samples of Setaccio";

/// The candle of Cargo.lock, which a test compares.
const CANDLE: &str = "0.11.1";

/// The lock of a run that is about to start; base, data, tokenizer and template are for the caller to fill in.
pub fn begin(recipe: Recipe, command: &str, compute: &str) -> RunLock {
    let versions = [("candle", CANDLE), ("setaccio", env!("CARGO_PKG_VERSION"))];
    RunLock {
        engine: ENGINE.into(),
        command: command.into(),
        compute: compute.into(),
        instructions: Vec::new(),
        tokenizer_sha256: String::new(),
        template_sha256: String::new(),
        versions: versions.map(|(name, version)| (name.into(), version.into())).into(),
        base: Vec::new(),
        data: Vec::new(),
        start: Vec::new(),
        legs: Vec::new(),
        texts: BTreeMap::new(),
        made: Vec::new(),
        evaluations: Vec::new(),
        recipe,
    }
}

/// What lies in `folder`, as [`Build::open`] finds it; its shards are those that the build wrote.
///
/// # Errors
/// There is no finished build, or something in it was changed since.
pub fn data_folder(folder: &Path, cancelled: &dyn Fn() -> bool) -> Result<DataFolder> {
    let build = Build::open(folder)?;
    let mut files = Vec::new();
    for shard in build.files() {
        let path = folder.join(&shard.path);
        let found = FileHash::of(&path, &shard.path, cancelled)?;
        if found.sha256 != shard.sha256 {
            return Err(Error::damaged(path, "is not what the build wrote; build the folder again"));
        }
        files.push(found);
    }
    let recipe = &build.lock.recipe;
    // A recipe's repositories count only where they were read.
    let (mut repos, mut others) = (Vec::new(), BTreeSet::new());
    for source in &recipe.source {
        match build.lock.read_from(source) {
            ReadFrom::Hub(_) => repos.push(source.repo.clone()),
            ReadFrom::Samples => others.extend([SAMPLES.to_owned()]),
            ReadFrom::Local => others.extend(["local files".to_owned()]),
        }
    }
    Ok(DataFolder {
        name: recipe.name.clone(),
        title: recipe.title.clone(),
        folder: folder.to_string_lossy().into_owned(),
        recipe_lock_sha256: build.sha256.clone(),
        license: strictest(recipe.source.iter().map(|s| s.license.as_str())).to_owned(),
        languages: recipe.card.language.clone(),
        repos,
        others: others.into_iter().collect(),
        rows: build.ledger.splits.iter().map(|s| (s.split.clone(), s.rows)).collect(),
        files,
    })
}

/// SHA-256 of everything that decides the numbers of the run.
pub fn fingerprint(lock: &RunLock) -> Result<String> {
    digest(&deciding(lock, Length::Counts)?)
}

/// What decides the numbers and differs, one a line for people: `train.learning_rate: 2e-5 -> 0.0001`.
pub fn differences(before: &RunLock, after: &RunLock) -> Result<Vec<String>> {
    differing_keys(before, after, Length::Counts)
}

/// [`differences`], but for how long the runs are: one can be gone on with as the other.
pub fn differences_beside_length(before: &RunLock, after: &RunLock) -> Result<Vec<String>> {
    differing_keys(before, after, Length::Aside)
}

fn differing_keys(before: &RunLock, after: &RunLock, length: Length) -> Result<Vec<String>> {
    let (old, new) = (deciding(before, length)?, deciding(after, length)?);
    let mut differ = differing_values(&old, &new);
    // Of a run that trains no adapter there is nothing to compare one's settings with.
    let other_method = before.recipe.method != after.recipe.method;
    differ.retain(|(key, _)| !(other_method && key.starts_with("lora.")));
    Ok(differ.into_iter().map(|(key, [old, new])| format!("{key}: {old} -> {new}")).collect())
}

/// Whether both are the same run, and as long.
pub fn is_same_run(a: &RunLock, b: &RunLock) -> Result<bool> {
    Ok(is_as_long(a, b) && fingerprint(a)? == fingerprint(b)?)
}

/// Whether both are to have the same number of steps.
pub fn is_as_long(a: &RunLock, b: &RunLock) -> bool {
    let length = |lock: &RunLock| match lock.recipe.train.max_steps {
        0 => (0, lock.recipe.train.epochs.to_bits()),
        steps => (steps, 0),
    };
    length(a) == length(b)
}

/// The legs of a run that had these and a length of `steps`, and is gone on with from step `from` on to a length of `total`.
pub fn legs(before: &[Leg], steps: u64, from: u64, total: u64) -> Vec<Leg> {
    let mut legs: Vec<Leg> = before.iter().copied().filter(|leg| leg.until < from).collect();
    let under = before.iter().find(|leg| from <= leg.until).map_or(steps, |leg| leg.steps);
    if from > 0 {
        legs.push(Leg { until: from, steps: under });
    }
    // What is gone on with to the length that it had has no leg of its own.
    while legs.last().is_some_and(|leg| leg.steps == total) {
        legs.pop();
    }
    legs
}

fn digest(deciding: &Flat) -> Result<String> {
    let text = serde_json::to_vec(deciding).map_err(|e| Error::Other(format!("{NAME}: {e}")))?;
    Ok(hex_digest(&text))
}

fn deciding(lock: &RunLock, length: Length) -> Result<Flat> {
    let value = toml::Value::try_from(lock).map_err(|e| Error::Other(format!("{NAME}: {e}")))?;
    Ok(compare::deciding(&value, &lock.recipe, length))
}

#[cfg(test)]
pub(crate) mod tests;
