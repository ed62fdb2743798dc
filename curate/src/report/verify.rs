//! Check a finished build: every file's hash, every count, and that the ledger adds up.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use arrow_array::cast::AsArray;
use parquet::arrow::ProjectionMask;
use setaccio_base::{fault::Fault, hidden::HIDDEN, run_lock::FileHash, unwound::unwound};
use setaccio_dataset::{
    folder::{self, DATA, LEDGER, PUBLISHED, RECIPE_LOCK, REJECTS, REPORT},
    ledger::{FileEntry, Ledger},
    parquet_file,
    recipe::LeftOut,
};

use super::card;
use crate::{
    error::{Error, Result},
    folder::unknown_files,
};

/// What was checked and found.
#[derive(Debug, Default)]
pub struct Report {
    /// Files checked.
    pub files: usize,
    /// Rows in the splits.
    pub rows: u64,
    /// Checks made.
    pub checks: usize,
    /// What is wrong.
    pub faults: Vec<Fault>,
    /// What lies in the folder and no build wrote, but for data and rejects, where it is a fault: nobody takes it for rows.
    pub foreign: Vec<String>,
    /// Inputs that the lock knows by their SHA-256, and those that it knows by what a store calls them.
    pub inputs: [usize; 2],
}

impl Report {
    fn check(&mut self, good: bool, file: &str, message: impl FnOnce() -> String) {
        self.checks += 1;
        if !good {
            self.faults.push(Fault::of(file, message()));
        }
    }
}

/// Rows by stage and rule.
type Drops = BTreeMap<(String, String), u64>;

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All that a build wrote.
    Whole,
    /// All but the rejects, which may be gone.
    WithoutRejects,
}

/// Where a build lies: in a folder, or elsewhere.
pub trait Shelf {
    /// A folder with its ledger, lock and card.
    fn texts(&self) -> &Path;

    /// Files among the shards and rejects that the ledger does not know.
    ///
    /// # Errors
    /// They cannot be listed.
    fn unknown(&self, ledger: &Ledger) -> Result<Vec<String>>;

    /// What lies beside a build's own files.
    ///
    /// # Errors
    /// It cannot be listed.
    fn foreign(&self) -> Result<Vec<String>>;

    /// One of its files, here.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    fn file(&self, path: &str) -> setaccio_base::Result<Held>;
}

/// A file that can be read.
pub enum Held {
    /// Where it lies.
    Here(PathBuf),
    /// A copy, which goes with this.
    Copy(tempfile::TempPath),
}

impl Held {
    /// Its path.
    pub fn path(&self) -> &Path {
        match self {
            Self::Here(path) => path,
            Self::Copy(path) => path,
        }
    }
}

/// A folder of a disk.
struct OnDisk<'a>(&'a Path);

impl Shelf for OnDisk<'_> {
    fn texts(&self) -> &Path {
        self.0
    }

    fn unknown(&self, ledger: &Ledger) -> Result<Vec<String>> {
        unknown_files(self.0, ledger)
    }

    fn foreign(&self) -> Result<Vec<String>> {
        foreign(self.0)
    }

    fn file(&self, path: &str) -> setaccio_base::Result<Held> {
        Ok(Held::Here(self.0.join(path)))
    }
}

/// Check the build in `out`. `cancelled` is asked all along.
///
/// # Errors
/// There is no ledger or no lock, or they are not what a build writes; it was cancelled.
pub fn verify(out: &Path, scope: Scope, cancelled: &dyn Fn() -> bool) -> Result<Report> {
    verify_on(&OnDisk(out), scope, cancelled)
}

/// [`verify`], wherever the build lies.
///
/// # Errors
/// As there.
pub fn verify_on(shelf: &dyn Shelf, scope: Scope, cancelled: &dyn Fn() -> bool) -> Result<Report> {
    let out = shelf.texts();
    let (mut ledger, lock, changed) = folder::read_any(out)?;
    let mut unknown = shelf.unknown(&ledger)?;
    let foreign = shelf.foreign()?;
    // Numbers that no build counts can be too large to be added up.
    let faults = unwound(|| Ok(ledger.faults()), |said| said).unwrap_or_else(|said| vec![said]);
    // What a card should say follows from a ledger that is as it was.
    let sound = faults.is_empty() && !changed.contains(&LEDGER);
    let expected = if sound { card::files(&ledger, &lock).to_vec() } else { Vec::new() };
    if scope == Scope::WithoutRejects {
        ledger.files.retain(|file| folder_of(&file.path) != Some(REJECTS));
        unknown.retain(|name| folder_of(name) != Some(REJECTS));
    }
    let all = ledger.splits.iter().fold(0_u64, |rows, split| rows.saturating_add(split.rows));
    let inputs = || lock.input.iter().chain(&lock.evaluation);
    let by_store = inputs().filter(|input| input.etag.is_some()).count();
    let inputs = [inputs().count() - by_store, by_store];
    let mut report = Report { files: ledger.files.len(), rows: all, foreign, inputs, ..Report::default() };
    let said = || "it was changed after the build".to_owned();
    report.check(!changed.contains(&LEDGER), LEDGER, said);
    for fault in faults {
        report.check(false, LEDGER, || fault);
    }
    report
        .check(ledger.fingerprint == lock.fingerprint, LEDGER, || format!("it is of another build than {RECIPE_LOCK}"));
    report.check(!changed.contains(&RECIPE_LOCK) && lock.digest() == lock.fingerprint, RECIPE_LOCK, said);
    for unknown in unknown {
        report.check(false, &unknown, || "the build wrote no such file".into());
    }
    for (name, expected) in expected {
        let found = std::fs::read(out.join(name)).unwrap_or_default();
        report.check(found == expected.as_bytes(), name, || {
            "it is not what the ledger says; `setaccio card` writes it again".into()
        });
    }
    let mut splits: BTreeMap<&str, u64> = ledger.splits.iter().map(|s| (s.split.as_str(), 0)).collect();
    let mut drops = Drops::new();
    for entry in &ledger.files {
        report.check(folder_of(&entry.path).is_some(), &entry.path, || "no build writes a file there".into());
        let read = shelf.file(&entry.path).and_then(|held| {
            let found = FileHash::of(held.path(), &entry.path, cancelled)?;
            Ok((held, found))
        });
        let (held, found) = match read {
            Ok(read) => read,
            Err(setaccio_base::Error::Interrupted) => return Err(Error::Interrupted),
            Err(error) => {
                report.check(false, &entry.path, || error.to_string());
                continue;
            }
        };
        report.check((found.bytes, &found.sha256) == (entry.bytes, &entry.sha256), &entry.path, || {
            "its bytes are not those written".into()
        });
        match rows(held.path(), entry, &mut drops) {
            Ok(rows) => {
                report
                    .check(rows == entry.rows, &entry.path, || format!("{rows} rows, the ledger says {}", entry.rows));
                let split = entry.path.strip_prefix("data/").and_then(|n| n.split('-').next()).unwrap_or_default();
                splits.entry(split).and_modify(|n| *n += rows);
            }
            Err(error) => report.check(false, &entry.path, || error.to_string()),
        }
    }
    for split in &ledger.splits {
        let rows = splits.get(split.split.as_str()).copied().unwrap_or(0);
        report.check(rows == split.rows, DATA, || {
            format!("{rows} rows in the files of {}, the ledger says {}", split.split, split.rows)
        });
    }
    if scope == Scope::WithoutRejects {
        return Ok(report);
    }
    let counted_only = lock.recipe.sample.as_ref().is_some_and(|s| s.left_out == LeftOut::Count);
    for stage in &ledger.stages {
        for rule in stage.rules.iter().filter(|_| !(counted_only && stage.stage == "sample")) {
            let found = drops.remove(&(stage.stage.clone(), rule.rule.clone())).unwrap_or(0);
            let said = rule.tally.dropped;
            report.check(found == said, REJECTS, || {
                format!("{found} rows dropped by {}, the ledger says {said}", rule.rule)
            });
        }
    }
    for (stage, rule) in drops.into_keys() {
        report.check(false, REJECTS, || format!("rows of {stage} {rule}, of which the ledger says nothing"));
    }
    Ok(report)
}

/// What lies beside a build's own files, a folder with a `/` at its end. What belongs to others' tools is nobody's business.
fn foreign(out: &Path) -> Result<Vec<String>> {
    const TOOLS: [&str; 5] = [".git", ".gitattributes", ".gitignore", ".cache", ".DS_Store"];
    let mut found = Vec::new();
    for entry in std::fs::read_dir(out).map_err(Error::io("list", out))? {
        let entry = entry.map_err(Error::io("list", out))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let ours = name == HIDDEN || name == REPORT;
        if !ours && !TOOLS.contains(&name.as_str()) && !PUBLISHED.contains(&name.as_str()) {
            found.push(if entry.path().is_dir() { name + "/" } else { name });
        }
    }
    found.sort();
    Ok(found)
}

/// The folder of a build that a file of it lies in.
fn folder_of(path: &str) -> Option<&'static str> {
    let (folder, name) = path.split_once('/')?;
    let plain = !name.is_empty() && !name.contains('/') && name != "..";
    [DATA, REJECTS].into_iter().find(|known| *known == folder).filter(|_| plain)
}

/// Rows of a Parquet file; those of a rejects file are counted by stage and rule, too.
fn rows(path: &Path, entry: &FileEntry, drops: &mut Drops) -> Result<u64> {
    let dropped = entry.path.starts_with("rejects/");
    let (rows, batches) = parquet_file::own(path, |builder| {
        let named = if dropped { &["stage", "rule"][..] } else { &[] };
        let mask = ProjectionMask::columns(builder.parquet_schema(), named.iter().copied());
        builder.with_projection(mask)
    })?;
    if dropped {
        for batch in batches {
            let batch = batch.map_err(|flaw| parquet_file::own_flaw(path, &flaw))?;
            let [stages, rules] = ["stage", "rule"].map(|name| batch.column_by_name(name));
            let (Some(stages), Some(rules)) = (stages, rules) else { continue };
            let [stages, rules] = [stages, rules].map(AsArray::as_string::<i32>);
            for (stage, rule) in stages.iter().zip(rules) {
                let key = (stage.unwrap_or_default().to_owned(), rule.unwrap_or_default().to_owned());
                *drops.entry(key).or_default() += 1;
            }
        }
    }
    Ok(rows)
}
