//! What `setaccio submit` leaves in an output folder: the scripts of each submission, its logs, and what was submitted.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use setaccio_base::{
    atomic,
    hidden::{self, hidden_folder},
    lock_file::{LockFile, Mode},
};
use setaccio_curate::folder::SUBMITTED;

pub mod manifests;
pub mod script;
pub mod slurm;

/// What a submission's folder says of it; written anew after each job that was submitted.
const RECORD: &str = "submission.json";

/// The step that does the slices.
pub const SLICES: &str = "slices";
/// The step in which several processes join them,
pub const JOIN: &str = "join";
/// and the one that joins them alone, or publishes what was joined.
pub const FINISH: &str = "finish";
/// The step of a training run or a chain.
pub const TRAIN: &str = "train";

/// A submission.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The command whose parts were submitted.
    pub command: String,
    /// The command that submitted them: given again, it submits what is missing then.
    #[serde(default)]
    pub again: String,
    /// Into how many slices the build is cut; none of a training run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<usize>,
    /// Those that were submitted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slices: Vec<usize>,
    /// Elements of the array that does them: element E does the slices E, E + elements ... of the list.
    #[serde(default)]
    pub elements: usize,
    /// Processes that join the slices together, if more than one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<usize>,
    /// The job of each step, as Slurm numbers them; none of what was only written.
    #[serde(default)]
    pub jobs: BTreeMap<String, String>,
}

impl Record {
    /// The slices that an element of the array does, from 1.
    pub fn slices_of(&self, element: usize) -> impl Iterator<Item = usize> {
        self.slices.iter().skip(element.saturating_sub(1)).step_by(self.elements.max(1)).copied()
    }

    /// The element of the array that does a slice, if one does.
    pub fn element_of(&self, slice: usize) -> Option<usize> {
        let place = self.slices.iter().position(|number| *number == slice)?;
        Some(place % self.elements.max(1) + 1)
    }
}

/// A submission and the folder of its scripts.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The folder.
    pub folder: PathBuf,
    /// What was submitted.
    pub record: Record,
}

impl Submission {
    /// The log of a step: of an array, that of one of its elements.
    pub fn log(&self, step: &str, element: Option<usize>) -> PathBuf {
        let name = element.map_or_else(|| format!("{step}.log"), |element| format!("{step}-{element}.log"));
        self.folder.join(script::LOGS).join(name)
    }

    /// Write what was submitted so far.
    pub fn write(&self) -> Result<()> {
        let json = serde_json::to_vec_pretty(&self.record)?;
        Ok(atomic::write(&self.folder.join(RECORD), &json)?)
    }

    /// When it was made, by the clock of the file system.
    pub fn made(&self) -> Option<SystemTime> {
        fs::metadata(self.folder.join(RECORD)).and_then(|found| found.modified()).ok()
    }
}

fn home(out: &Path) -> PathBuf {
    out.join(hidden::HIDDEN).join(SUBMITTED)
}

/// Whether what is made in `out` was submitted.
#[cfg(feature = "train")]
pub fn is_of(out: &Path) -> bool {
    home(out).is_dir()
}

/// Keep others from submitting for the same folder meanwhile.
pub fn lock(out: &Path) -> Result<LockFile> {
    fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    let home = hidden_folder(out)?.join(SUBMITTED);
    fs::create_dir_all(&home).with_context(|| format!("cannot create {}", home.display()))?;
    LockFile::acquire(&home.join("lock"), Mode::Exclusive).map_err(|error| match error {
        setaccio_base::Error::Busy(_) => setaccio_base::Error::Busy(out.to_owned()).into(),
        other => other.into(),
    })
}

/// All submissions for a folder, the oldest first.
pub fn all(out: &Path) -> Result<Vec<Submission>> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(home(out)) else { return Ok(found) };
    for entry in entries {
        let folder = entry?.path();
        if !folder.is_dir() {
            continue;
        }
        // One that was killed before it submitted anything left none.
        let Ok(json) = fs::read(folder.join(RECORD)) else { continue };
        let record = serde_json::from_slice(&json)
            .with_context(|| format!("{} is not what `setaccio submit` wrote", folder.join(RECORD).display()))?;
        found.push(Submission { folder, record });
    }
    found.sort_by(|a, b| a.folder.cmp(&b.folder));
    Ok(found)
}

/// The folder of the next submission, with one for its logs.
pub fn next(out: &Path, record: Record) -> Result<Submission> {
    let home = home(out);
    let mut number = 1;
    while home.join(format!("{number:04}")).exists() {
        number += 1;
    }
    let folder = home.join(format!("{number:04}"));
    let logs = folder.join(script::LOGS);
    fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
    Ok(Submission { folder, record })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slice_is_of_one_element() {
        let record = Record { slices: vec![2, 3, 5, 8, 13], elements: 2, ..Record::default() };
        assert_eq!(record.slices_of(1).collect::<Vec<_>>(), [2, 5, 13]);
        assert_eq!(record.slices_of(2).collect::<Vec<_>>(), [3, 8]);
        for element in 1..=2 {
            assert!(record.slices_of(element).all(|slice| record.element_of(slice) == Some(element)));
        }
        assert_eq!(record.element_of(1), None);
    }

    #[test]
    fn submissions_are_numbered_and_found_again() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let _lock = lock(dir.path())?;
        assert!(lock(dir.path()).is_err());
        for command in ["one", "two"] {
            next(dir.path(), Record { command: command.into(), ..Record::default() })?.write()?;
        }
        let found = all(dir.path())?;
        assert_eq!(found.iter().map(|s| s.record.command.as_str()).collect::<Vec<_>>(), ["one", "two"]);
        assert!(found[1].folder.ends_with(".setaccio/submit/0002") && found[1].made().is_some());
        assert_eq!(found[0].log(SLICES, Some(3)), found[0].folder.join("logs/slices-3.log"));
        Ok(())
    }
}
