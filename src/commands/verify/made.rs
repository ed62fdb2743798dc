//! What a training run or a chain left: every file beside the hash that its manifest has of it.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result, ensure};
use setaccio_base::{
    fault::Fault,
    hidden::HIDDEN,
    manifest::{self, Checked},
    run_lock::{self, FileHash, Outline, RunLock},
};
use setaccio_curate::report::verify::{self, Report, Scope};
use setaccio_dataset::folder::{LEDGER, REPORT};

/// Folder of the rows that were built for a run.
const DATA: &str = "data";

/// What is in a run's folder and no part of what it made: what it goes on from, and what other commands made of it.
const BESIDE: [&str; 6] = ["checkpoints", "export", "merged", "reference", "tokens", REPORT];

/// What was checked and found.
#[derive(Debug, Default)]
pub struct Made {
    /// Files checked.
    pub files: usize,
    /// Rows of the data in it.
    pub rows: u64,
    /// Checks made.
    pub checks: usize,
    /// What is wrong.
    pub faults: Vec<Fault>,
    /// What lies there and none of it wrote.
    pub foreign: Vec<String>,
    /// Inputs of a build that its lock knows by their SHA-256, and those that it knows by what a store calls them.
    pub inputs: [usize; 2],
}

impl Made {
    /// What was found of a build.
    pub fn of_build(report: verify::Report) -> Self {
        let verify::Report { files, rows, checks, faults, foreign, inputs } = report;
        Self { files, rows, checks, faults, foreign, inputs }
    }

    fn take(&mut self, checked: &mut Checked) {
        self.files += checked.files.len();
        self.checks += checked.files.len() + 1;
        self.faults.append(&mut checked.faults);
    }

    /// Take in what was found of the rows that lie in `part`.
    fn built(&mut self, part: &str, build: Report) {
        self.files += build.files;
        self.rows += build.rows;
        self.checks += build.checks;
        self.inputs.iter_mut().zip(build.inputs).for_each(|(sum, inputs)| *sum += inputs);
        let below = |fault: Fault| Fault { file: format!("{part}/{}", fault.file), ..fault };
        self.faults.extend(build.faults.into_iter().map(below));
        self.foreign.extend(build.foreign.into_iter().map(|name| format!("{part}/{name}")));
    }
}

/// Check the run in `folder`.
///
/// # Errors
/// Its lock cannot be read, or says of a run that is not finished.
pub fn run(folder: &Path, cancelled: &dyn Fn() -> bool) -> Result<Made> {
    let lock = RunLock::<Outline>::read(&folder.join(run_lock::NAME))?;
    ensure!(
        !lock.made.is_empty(),
        "{} holds a run that is not finished: `setaccio train --resume` goes on",
        folder.display()
    );
    let mut made = Made::default();
    let kind = lock.recipe.method.folder();
    match manifest::check(folder, cancelled)? {
        Some(mut checked) => {
            made.take(&mut checked);
            for name in names(&folder.join(kind))? {
                let path = format!("{kind}/{name}");
                if !checked.files.contains(&path) {
                    made.faults.push(Fault::of(path, "the run wrote no such file"));
                }
            }
            let first = |path: &String| path.split('/').next().unwrap_or_default().to_owned();
            let known: BTreeSet<String> = checked.files.iter().map(first).collect();
            made.foreign = names(folder)?;
            made.foreign.retain(|name| {
                let name = name.trim_end_matches('/');
                name != manifest::NAME && !known.contains(name) && !BESIDE.contains(&name)
            });
        }
        None => {
            made.faults.push(Fault::of(
                manifest::NAME,
                "it is not there: of a run of before only what it made can be checked, and that was done",
            ));
        }
    }
    // What it was trained on, if that was built for it.
    let data = folder.join(DATA);
    if data.join(LEDGER).is_file() {
        made.built(DATA, verify::verify(&data, Scope::Whole, cancelled)?);
    }
    // Each by the lock too, which is what the other commands go by.
    for file in &lock.made {
        made.checks += 1;
        let path = folder.join(kind).join(&file.file);
        match FileHash::of(&path, &file.file, cancelled) {
            Ok(found) if found == *file => {}
            Ok(_) => made.faults.push(Fault::of(format!("{kind}/{}", file.file), "the lock has another hash of it")),
            Err(error) => made.faults.push(Fault::of(format!("{kind}/{}", file.file), error.to_string())),
        }
    }
    Ok(made)
}

/// Check the chain in `folder`, with its runs and its rows.
///
/// # Errors
/// It is not finished, or something of it cannot be read.
pub fn chain(folder: &Path, cancelled: &dyn Fn() -> bool) -> Result<Made> {
    let checked = manifest::check(folder, cancelled)?;
    let mut checked = checked.with_context(|| {
        format!(
            "{} holds a chain without {}: it is not finished, or was by a version of before; `setaccio train-all` goes on, \
             and writes it at the end",
            folder.display(),
            manifest::NAME
        )
    })?;
    let mut made = Made::default();
    made.take(&mut checked);
    let first = |path: &String| path.split('/').next().unwrap_or_default().to_owned();
    let known: BTreeSet<String> = checked.files.iter().map(first).collect();
    made.foreign = names(folder)?;
    made.foreign.retain(|name| name != manifest::NAME && name != REPORT && !known.contains(name.trim_end_matches('/')));
    for path in &checked.files {
        let Some((part, name)) = path.rsplit_once('/') else { continue };
        let place = folder.join(part);
        let below = |fault: Fault| Fault { file: format!("{part}/{}", fault.file), ..fault };
        let named = |name: String| format!("{part}/{name}");
        match name {
            manifest::NAME => {
                let run = run(&place, cancelled)?;
                made.files += run.files;
                made.checks += run.checks;
                made.faults.extend(run.faults.into_iter().map(below));
                made.foreign.extend(run.foreign.into_iter().map(named));
            }
            LEDGER => made.built(part, verify::verify(&place, Scope::Whole, cancelled)?),
            _ => {}
        }
    }
    Ok(made)
}

/// Names of what is in a folder, sorted, a folder's with a `/` at its end, but for what Setaccio hides there.
fn names(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name != HIDDEN {
            names.push(if path.is_dir() { name + "/" } else { name });
        }
    }
    names.sort();
    Ok(names)
}
