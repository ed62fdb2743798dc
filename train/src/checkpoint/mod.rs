//! Checkpoints: written whole, found whole, or recognised as torn.
//!
//! `checkpoints/step-000500/` holds `tensors.safetensors`, `state.toml`, the `run.lock.toml` it was made
//! under, and `manifest.toml` with the hash of each. It is put together under a hidden name and renamed, so a
//! crash leaves either the whole checkpoint or a hidden folder that the next one clears away.
//! TOML, because it keeps every bit of a float; JSON, as it is read here, does not.

use std::{
    collections::BTreeSet,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use candle_core::Tensor;
use setaccio_base::{
    atomic::{remove, sync_dir},
    lock_file::LockFile,
};

use crate::{
    error::{Error, Result},
    formats::safetensors::Safetensors,
    report::lock::{self, RunLock},
};

pub(crate) mod ownership;
mod reading;
mod state;
mod writing;

pub use ownership::check as check_folder;
pub use state::{Evaluation, State, Window};

/// A checkpoint that was found whole.
#[derive(Debug)]
pub struct Checkpoint {
    /// Its folder.
    pub path: PathBuf,
    /// What was given to [`Store::save`]: headers are read, values are not.
    pub tensors: Safetensors,
    /// As it was then.
    pub state: State,
    /// Of the run that it was taken in.
    pub lock: RunLock,
}

/// A checkpoint that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Its folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.message)
    }
}

/// The checkpoints of a run. While it lives, no other process can have the run's folder.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    keep: usize,
    lock: RunLock,
    /// Steps whose checkpoints were found torn.
    torn: BTreeSet<u64>,
    _lock_file: LockFile,
}

/// Prefix of a checkpoint being written.
const WRITING: &str = ".writing-";
/// Prefix of one that another of the same step is about to replace.
const ASIDE: &str = ".aside-";
/// Prefix of one being removed.
const GONE: &str = ".gone-";

impl Store {
    /// Take the folder `run` for the run that `lock` describes. The last `keep` checkpoints are kept, and the
    /// best by evaluation loss.
    ///
    /// # Errors
    /// Another process has it, it holds what no run wrote, or the file system refuses.
    pub fn open(run: &Path, keep: usize, lock: &RunLock) -> Result<Self> {
        let lock_file = ownership::acquire(run)?;
        let root = run.join("checkpoints");
        fs::create_dir_all(&root).map_err(Error::io("create", &root))?;
        // A crash between moving the old one aside and putting the new one in its place.
        for (name, path) in hidden(&root)? {
            if let Some(place) = name.strip_prefix(ASIDE).map(|n| root.join(n)).filter(|p| !p.exists()) {
                fs::rename(&path, &place).map_err(Error::io("put back", &place))?;
            }
        }
        sync_dir(&root)?;
        sync_dir(run)?;
        Ok(Self { root, keep: keep.max(1), lock: lock.clone(), torn: BTreeSet::new(), _lock_file: lock_file })
    }

    /// From here on checkpoints are of the run of this lock.
    pub fn belongs_to(&mut self, lock: &RunLock) {
        self.lock = lock.clone();
    }

    /// Steps of which there is a checkpoint, whole or not, in order.
    pub fn steps(&self) -> Result<Vec<u64>> {
        let mut steps: Vec<u64> = names(&self.root)?.iter().filter_map(|n| step_of(n)).collect();
        steps.sort_unstable();
        Ok(steps)
    }

    /// Remove all checkpoints, for a run that begins anew.
    pub fn clear(&mut self) -> Result<()> {
        for step in self.steps()? {
            self.discard(step, &mut |_| Ok(()))?;
        }
        self.torn.clear();
        self.sweep()
    }

    /// Write a checkpoint of `state.step`, then remove those that are not to be kept.
    ///
    /// # Errors
    /// The file system refuses: the earlier checkpoints are as they were, and nothing is left of this one.
    pub fn save(&mut self, tensors: &[(String, Tensor)], state: &State) -> Result<PathBuf> {
        self.sweep()?;
        self.put(tensors, state, &mut |_| Ok(())).map_err(|error| {
            // The error counts; whatever cannot be removed now is swept away by the next save.
            let _ = self.sweep();
            Error::Other(format!(
                "the checkpoint of step {} was not written: {error}; earlier checkpoints are kept{}",
                state.step,
                hint(&error)
            ))
        })
    }

    /// The newest checkpoint that is whole, and what is wrong with each newer one. None, if there is none.
    ///
    /// # Errors
    /// It is of another recipe, model or data: what differs is listed.
    pub fn latest(&mut self) -> Result<(Option<Checkpoint>, Vec<Warning>)> {
        let mut warnings: Vec<Warning> = hidden(&self.root)?
            .into_iter()
            .filter(|(name, _)| name.starts_with(WRITING))
            .map(|(_, path)| Warning { path, message: "was being written when a run was cut short; not used".into() })
            .collect();
        for step in self.steps()?.into_iter().rev() {
            let path = self.path(step);
            match reading::read(&path, step) {
                Ok(whole) => return Ok((Some(self.same_run(whole)?), warnings)),
                Err(message) => {
                    self.torn.insert(step);
                    warnings.push(Warning { path, message: format!("is torn and not used: {message}") });
                }
            }
        }
        Ok((None, warnings))
    }

    /// The checkpoint of a step, which must be whole.
    ///
    /// # Errors
    /// It is not there, is torn, or is of another run.
    pub fn at(&self, step: u64) -> Result<Checkpoint> {
        let path = self.path(step);
        let whole = reading::read(&path, step).map_err(|message| Error::damaged(&path, message))?;
        self.same_run(whole)
    }

    fn same_run(&self, whole: reading::CheckpointFiles) -> Result<Checkpoint> {
        let reading::CheckpointFiles { path, tensors, state, lock: text } = whole;
        let then = RunLock::parse(&path.join(lock::NAME), &text)?;
        let differences = lock::differences_beside_length(&then, &self.lock)?;
        if differences.is_empty() {
            return Ok(Checkpoint { path, tensors, state, lock: then });
        }
        let message = format!(
            "is of another run, and numbers of both would be mixed; give back what it was begun with, or start anew \
             with `--force`:\n  {}",
            differences.join("\n  ")
        );
        Err(Error::damaged(path, message))
    }

    fn path(&self, step: u64) -> PathBuf {
        self.root.join(name_of(step))
    }

    /// [`Store::save`] without its tidying. `after` is called with every operation on the file system that is
    /// done, and stops the rest by failing: so tests cut it short where a crash could.
    fn put(&mut self, tensors: &[(String, Tensor)], state: &State, after: writing::After) -> Result<PathBuf> {
        let name = name_of(state.step);
        let [temp, aside] = [WRITING, ASIDE].map(|prefix| self.root.join(format!("{prefix}{name}")));
        writing::write(&temp, &writing::Content { tensors, state, lock: &self.lock }, after)?;
        let path = self.path(state.step);
        if path.exists() {
            fs::rename(&path, &aside).map_err(Error::io("move aside", &path))?;
            after("move aside")?;
        }
        fs::rename(&temp, &path).map_err(Error::io("put in place", &path))?;
        after("put in place")?;
        sync_dir(&self.root)?;
        after("flush the folder")?;
        self.torn.remove(&state.step);
        self.prune(state.step, after)?;
        remove(&aside)?;
        Ok(path)
    }

    /// Remove what is whole and neither among the last, nor the best, nor `newest`. Only what is whole is
    /// counted, and what is torn is left for a person to look at.
    fn prune(&self, newest: u64, after: writing::After) -> Result<()> {
        let whole = self.whole()?;
        let mut kept: BTreeSet<u64> = whole.iter().rev().take(self.keep).map(|(step, _)| *step).collect();
        kept.insert(newest);
        kept.extend(best(&whole));
        for (step, _) in whole.iter().filter(|(step, _)| !kept.contains(step)) {
            self.discard(*step, after)?;
        }
        Ok(())
    }

    /// Steps in order and evaluation losses of the checkpoints that look whole: a manifest, and every file of
    /// the right size.
    fn whole(&self) -> Result<Vec<(u64, Option<f64>)>> {
        let steps = self.steps()?.into_iter().filter(|s| !self.torn.contains(s));
        Ok(steps.filter_map(|s| Some((s, reading::glance(&self.path(s), s).ok()?.eval_loss))).collect())
    }

    /// Out of sight first: half a folder must not look like a torn checkpoint.
    fn discard(&self, step: u64, after: writing::After) -> Result<()> {
        let (path, gone) = (self.path(step), self.root.join(format!("{GONE}{}", name_of(step))));
        remove(&gone)?;
        fs::rename(&path, &gone).map_err(Error::io("remove", &path))?;
        after("hide")?;
        remove(&gone)?;
        after("remove")
    }

    /// Clear away what a crash left.
    fn sweep(&self) -> Result<()> {
        for (name, path) in hidden(&self.root)? {
            if [WRITING, ASIDE, GONE].iter().any(|prefix| name.starts_with(prefix)) {
                remove(&path)?;
            }
        }
        Ok(())
    }
}

/// The first step of the least loss; what is not a number is never it.
fn best(whole: &[(u64, Option<f64>)]) -> Option<u64> {
    let losses = whole.iter().filter_map(|(step, loss)| Some((*step, loss.filter(|l| l.is_finite())?)));
    losses.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(step, _)| step)
}

fn name_of(step: u64) -> String {
    format!("step-{step:06}")
}

fn step_of(name: &str) -> Option<u64> {
    let step = name.strip_prefix("step-")?.parse().ok()?;
    (name_of(step) == name).then_some(step)
}

fn names(root: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(root).map_err(Error::io("list", root))?;
    let names: io::Result<Vec<String>> = entries.map(|e| Ok(e?.file_name().to_string_lossy().into_owned())).collect();
    let mut names = names.map_err(Error::io("list", root))?;
    names.sort();
    Ok(names)
}

fn hidden(root: &Path) -> Result<Vec<(String, PathBuf)>> {
    let hidden = names(root)?.into_iter().filter(|n| n.starts_with('.'));
    Ok(hidden.map(|name| (name.clone(), root.join(name))).collect())
}

pub(crate) fn hint(error: &Error) -> &'static str {
    match error {
        Error::Base(setaccio_base::Error::Io { error, .. })
            if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
        {
            "; free some space, then go on from the last one with `--resume`"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests;
