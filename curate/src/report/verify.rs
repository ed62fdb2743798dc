//! Check a finished build: every file's hash, every count, and that the ledger adds up.

use std::{collections::BTreeMap, path::Path};

use arrow_array::cast::AsArray;
use parquet::arrow::ProjectionMask;
use setaccio_base::run_lock::FileHash;
use setaccio_dataset::{
    folder::{self, RECIPE_LOCK},
    ledger::FileEntry,
    parquet_file,
    recipe::LeftOut,
};

use super::card;
use crate::{error::Result, folder::unknown_files};

/// What was checked and found.
#[derive(Debug, Default)]
pub struct Report {
    /// Files checked.
    pub files: usize,
    /// Rows in the splits.
    pub rows: u64,
    /// Checks made.
    pub checks: usize,
    /// What is wrong, in sentences.
    pub faults: Vec<String>,
}

impl Report {
    fn check(&mut self, good: bool, fault: impl FnOnce() -> String) {
        self.checks += 1;
        if !good {
            self.faults.push(fault());
        }
    }
}

/// Rows by stage and rule.
type Drops = BTreeMap<(String, String), u64>;

/// Check the build in `out`.
///
/// # Errors
/// There is no ledger or no lock, or they are not what a build writes.
pub fn verify(out: &Path) -> Result<Report> {
    let (ledger, lock) = folder::read(out)?;
    let mut report = Report { files: ledger.files.len(), rows: ledger.rows_out(), ..Report::default() };
    for fault in ledger.faults() {
        report.check(false, || fault);
    }
    report.check(ledger.fingerprint == lock.fingerprint, || {
        "ledger.json and recipe.lock.toml are of different builds".into()
    });
    report.check(lock.digest() == lock.fingerprint, || format!("{RECIPE_LOCK}: it was changed after the build"));
    for unknown in unknown_files(out, &ledger)? {
        report.check(false, || format!("{unknown}: the build wrote no such file"));
    }
    for (name, expected) in card::files(&ledger, &lock) {
        let found = std::fs::read(out.join(name)).unwrap_or_default();
        report.check(found == expected.as_bytes(), || {
            format!("{name}: it is not what the ledger says; `setaccio card` writes it again")
        });
    }
    let mut splits: BTreeMap<&str, u64> = ledger.splits.iter().map(|s| (s.split.as_str(), 0)).collect();
    let mut drops = Drops::new();
    for entry in &ledger.files {
        let path = out.join(&entry.path);
        let found = match FileHash::of(&path, &entry.path, &|| false) {
            Ok(found) => found,
            Err(error) => {
                report.check(false, || format!("{}: {error}", entry.path));
                continue;
            }
        };
        report.check((found.bytes, &found.sha256) == (entry.bytes, &entry.sha256), || {
            format!("{}: its bytes are not those written", entry.path)
        });
        match rows(&path, entry, &mut drops) {
            Ok(rows) => {
                report.check(rows == entry.rows, || {
                    format!("{}: {rows} rows, the ledger says {}", entry.path, entry.rows)
                });
                let split = entry.path.strip_prefix("data/").and_then(|n| n.split('-').next()).unwrap_or_default();
                splits.entry(split).and_modify(|n| *n += rows);
            }
            Err(error) => report.check(false, || format!("{}: {error}", entry.path)),
        }
    }
    for split in &ledger.splits {
        let rows = splits.get(split.split.as_str()).copied().unwrap_or(0);
        report.check(rows == split.rows, || {
            format!("{}: {rows} rows in its files, the ledger says {}", split.split, split.rows)
        });
    }
    let counted_only = lock.recipe.sample.as_ref().is_some_and(|s| s.left_out == LeftOut::Count);
    for stage in &ledger.stages {
        for rule in stage.rules.iter().filter(|_| !(counted_only && stage.stage == "sample")) {
            let found = drops.remove(&(stage.stage.clone(), rule.rule.clone())).unwrap_or(0);
            let said = rule.tally.dropped;
            report.check(found == said, || {
                format!("rejects: {found} rows dropped by {}, the ledger says {said}", rule.rule)
            });
        }
    }
    for (stage, rule) in drops.into_keys() {
        report.check(false, || format!("rejects: rows of {stage} {rule}, of which the ledger says nothing"));
    }
    Ok(report)
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
