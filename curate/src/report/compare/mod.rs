//! What differs between two builds: rows that one has and the other has not, and what became of them there; rows that both
//! have with other columns; and the settings and inputs that are not the same.
//!
//! A row is known by its id, a hash of what it says. Ids of both builds, with what is told of each row, are put into buckets in a
//! file and compared bucket by bucket, so that memory does not grow with the rows. Orders need not be the same: recipes may have
//! other seeds.

mod records;
mod rows;

use std::{collections::BTreeMap, path::Path};

use serde::Serialize;
use setaccio_base::{
    flat::{Flat, differing, flat},
    progress::Progress,
};
use setaccio_dataset::{ledger::Ledger, lock::RecipeLock};

use self::records::{Became, Names, Sides};
use super::{card, settings};
use crate::error::{Error, Result};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// The first build.
    pub a: Told,
    /// The second.
    pub b: Told,
    /// Rows of all sources.
    pub rows: Counts,
    /// Rows of each source: those added by what the second build calls it, the others by the first.
    pub sources: BTreeMap<String, Counts>,
    /// What the other build did with rows that only one has.
    pub fates: Vec<Fate>,
    /// What is not the same of rows that both have; a row can differ in several things.
    pub changes: BTreeMap<String, u64>,
    /// Settings of recipes that differ, with both values.
    pub settings: Vec<(String, [String; 2])>,
    /// Inputs, lists and models that differ, with both hashes.
    pub inputs: Vec<(String, [String; 2])>,
}

/// What is told of a build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Told {
    /// The recipe's name.
    pub recipe: String,
    /// Hash of all that decided it.
    pub fingerprint: String,
    /// Rows over all splits.
    pub rows: u64,
}

/// How many rows are what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// In both, with the same columns.
    pub same: u64,
    /// In the second alone.
    pub added: u64,
    /// In the first alone.
    pub removed: u64,
    /// In both, with something else in a column.
    pub changed: u64,
}

/// What a build did with rows that only the other one has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fate {
    /// The stage that dropped them; empty: the build did not have them, or not with this text.
    pub stage: String,
    /// The rule.
    pub rule: String,
    /// Rows that the second build has and the first dropped.
    pub added: u64,
    /// Rows that the first build has and the second dropped.
    pub removed: u64,
}

/// Compare the builds in `a` and `b`; the rows that differ are written to `rows`, if that is given.
///
/// # Errors
/// One holds no build, or is not as it was written; their rows are of two kinds; a file cannot be written; somebody stops it.
pub fn compare(a: &Path, b: &Path, rows: Option<&Path>, progress: &dyn Progress) -> Result<Comparison> {
    let builds = [Build::open(a)?, Build::open(b)?];
    let kinds = builds.each_ref().map(|build| build.lock.recipe.kind);
    if kinds[0] != kinds[1] {
        let [one, other] = kinds.map(setaccio_base::row::Kind::name);
        return Err(Error::Argument(format!(
            "{} holds rows of kind {one}, {} of kind {other}: nothing of one can be in the other",
            a.display(),
            b.display()
        )));
    }
    let names = Names::of(builds.each_ref().map(|build| &build.ledger));
    let scratch = tempfile::tempdir().map_err(Error::io("create a folder in", std::env::temp_dir()))?;
    let sides = Sides::read(&builds, &names, scratch.path(), progress)?;
    let mut decided = rows.map(|_| rows::Decided::create(&builds, scratch.path())).transpose()?;
    let mut found = Comparison { a: builds[0].told(), b: builds[1].told(), ..Comparison::default() };
    let mut fates: BTreeMap<u16, [u64; 2]> = BTreeMap::new();
    sides.each(progress, |same| {
        for (became, record, other) in same.compared() {
            let source = names.source(record.source).to_owned();
            for counts in [&mut found.rows, found.sources.entry(source).or_default()] {
                match became {
                    Became::Same => counts.same += 1,
                    Became::Added => counts.added += 1,
                    Became::Removed => counts.removed += 1,
                    Became::Changed => counts.changed += 1,
                }
            }
            let fate = same.fate(became);
            match (became, other) {
                (Became::Changed, Some(other)) => {
                    for what in record.differing(other) {
                        *found.changes.entry(what.to_owned()).or_default() += 1;
                    }
                }
                (Became::Added, _) => fates.entry(fate).or_default()[0] += 1,
                (Became::Removed, _) => fates.entry(fate).or_default()[1] += 1,
                _ => {}
            }
            if let Some(decided) = &mut decided {
                // Of a row that changed both sides are written, so that a person sees what.
                for record in [Some(record), other].into_iter().flatten() {
                    decided.put(record, became, fate)?;
                }
            }
        }
        Ok(())
    })?;
    found.fates = fates.into_iter().map(|(rule, [added, removed])| names.fate(rule, added, removed)).collect();
    found.settings = differing_settings(builds.each_ref().map(|build| &build.lock))?;
    found.inputs = differing_inputs(builds.each_ref().map(|build| &build.lock));
    if let (Some(decided), Some(file)) = (decided, rows) {
        decided.write(file, &builds, &names, progress)?;
    }
    Ok(found)
}

/// A finished build.
struct Build<'a> {
    out: &'a Path,
    ledger: Ledger,
    lock: RecipeLock,
}

impl<'a> Build<'a> {
    fn open(out: &'a Path) -> Result<Self> {
        let (ledger, lock) = card::sound(out)?;
        Ok(Self { out, ledger, lock })
    }

    fn told(&self) -> Told {
        let Ledger { recipe, fingerprint, .. } = &self.ledger;
        Told { recipe: recipe.clone(), fingerprint: fingerprint.clone(), rows: self.ledger.rows_out() }
    }

    /// Its published files of a folder, with their numbers in the ledger.
    fn files(&self, folder: &'static str) -> impl Iterator<Item = &setaccio_dataset::ledger::FileEntry> {
        self.ledger.files.iter().filter(move |entry| entry.path.starts_with(folder))
    }
}

/// Settings of two recipes that differ.
fn differing_settings(locks: [&RecipeLock; 2]) -> Result<Vec<(String, [String; 2])>> {
    let mut flats = Vec::new();
    for lock in locks {
        flats.push(flat(&settings::tables(&lock.recipe)?.into(), &|_| false));
    }
    Ok(differing(&flats[0], &flats[1]))
}

/// Inputs of two builds that differ, by their hashes.
fn differing_inputs(locks: [&RecipeLock; 2]) -> Vec<(String, [String; 2])> {
    let flats = locks.map(|lock| {
        let mut flat =
            Flat::from([("engine".to_owned(), lock.engine.clone()), ("rows from".to_owned(), lock.from.clone())]);
        let mut put = |what: &str, name: &str, hash: &str| drop(flat.insert(format!("{what} {name}"), hash.to_owned()));
        lock.input.iter().for_each(|input| put("input", &input.file, &input.sha256));
        lock.evaluation.iter().for_each(|input| put("evaluation set", &input.file, &input.sha256));
        lock.list.iter().for_each(|list| put("word list", &list.name, &list.sha256));
        lock.model.iter().for_each(|model| put("model", &model.key, &model.sha256));
        lock.assets.iter().for_each(|asset| put("file", &asset.key, &asset.sha256));
        lock.against.iter().for_each(|set| put("earlier data set", &set.key, &set.sha256));
        flat
    });
    differing(&flats[0], &flats[1])
}
