//! Checkpoints: each a folder that is written under a hidden name, flushed, and renamed when it is whole. Its manifest
//! has the hash of every file, so that a torn one is known for what it is and the one before it is used.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io::Write,
    path::{Path, PathBuf},
};

use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use setaccio_curate::folder::{remove, sync_dir};

use crate::{
    error::{Error, Result},
    model::safetensors::{Safetensors, to_bytes},
    report::lock::FileHash,
};

const FOLDER: &str = "checkpoints";
const TENSORS: &str = "tensors.safetensors";
const STATE: &str = "state.json";
const MANIFEST: &str = "manifest.json";
const WRITING: &str = ".writing-";

/// Where a run stands beside its tensors. The position in the data and the state of every random stream are
/// functions of the step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Steps taken.
    pub step: u64,
    /// Tokens seen.
    pub tokens: u64,
    /// Loss of the last step.
    pub loss: f64,
    /// Loss of the last evaluation.
    pub eval_loss: Option<f64>,
    /// Length of metrics.jsonl.
    pub metrics_bytes: u64,
    /// Of the run's lock: everything that decides the numbers.
    pub fingerprint: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    files: Vec<FileHash>,
}

/// A checkpoint that was read back whole.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Its folder.
    pub path: PathBuf,
    /// Where the run stood.
    pub state: State,
    /// By name.
    pub tensors: BTreeMap<String, Tensor>,
}

/// A checkpoint that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// Its folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

impl std::fmt::Display for Torn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is torn ({}); the checkpoint before it is used", self.path.display(), self.why)
    }
}

/// The checkpoints of a run, held by this process alone.
#[derive(Debug)]
pub struct Store {
    run: PathBuf,
    keep: usize,
    last: Option<u64>,
    _lock: File,
}

impl Store {
    /// Create or open the run folder `run` and hold it. The last `keep` checkpoints stay, and the best.
    ///
    /// # Errors
    /// Another process trains in it, or the file system refuses.
    pub fn open(run: &Path, keep: usize) -> Result<Self> {
        let folder = run.join(FOLDER);
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let path = folder.join(".lock");
        let lock =
            File::options().create(true).truncate(false).write(true).open(&path).map_err(Error::io("open", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message = "another setaccio trains in it: wait for it to end, or give this run its own --out";
                return Err(Error::Damaged { path: run.to_owned(), message: message.into() });
            }
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
        }
        let mut store = Self { run: run.to_owned(), keep, last: None, _lock: lock };
        store.last = store.steps()?.last().copied();
        Ok(store)
    }

    /// Step of the newest checkpoint.
    pub fn last_step(&self) -> Option<u64> {
        self.last
    }

    /// Remove every checkpoint: a run begins anew.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn clear(&mut self) -> Result<()> {
        self.leftovers()?;
        for step in self.steps()? {
            remove(&self.path(step))?;
        }
        self.last = None;
        Ok(())
    }

    /// Write a checkpoint of `state`, then remove those that are not to be kept.
    ///
    /// # Errors
    /// The file system refuses; checkpoints that were there stay.
    pub fn save(&mut self, tensors: &BTreeMap<String, Tensor>, state: &State) -> Result<()> {
        self.write(tensors, state, &mut |_| Ok(()))?;
        self.last = Some(state.step);
        self.prune()
    }

    /// The writing, step by step; `before` is told each operation's number and can end it there.
    fn write(
        &self,
        tensors: &BTreeMap<String, Tensor>,
        state: &State,
        before: &mut dyn FnMut(&str) -> Result<()>,
    ) -> Result<()> {
        before("clear")?;
        self.leftovers()?;
        let hidden = self.run.join(FOLDER).join(format!("{WRITING}{:06}", state.step));
        before("folder")?;
        fs::create_dir(&hidden).map_err(Error::io("create", &hidden))?;
        let json = |value: serde_json::Result<Vec<u8>>| value.map_err(|e| Error::Other(e.to_string()));
        let parts = [(TENSORS, to_bytes(tensors)?), (STATE, json(serde_json::to_vec_pretty(state))?)];
        let mut manifest = Manifest { files: Vec::new() };
        for (name, bytes) in parts {
            before(name)?;
            flushed(&hidden.join(name), &bytes)?;
            let sha256 = setaccio_filters::hash::sha256(&bytes);
            manifest.files.push(FileHash { file: name.into(), bytes: bytes.len() as u64, sha256 });
        }
        before(MANIFEST)?;
        flushed(&hidden.join(MANIFEST), &json(serde_json::to_vec_pretty(&manifest))?)?;
        before("flush")?;
        sync_dir(&hidden)?;
        let place = self.path(state.step);
        before("make room")?;
        // One of this step is there only if it was found torn, or is being made again.
        remove(&place)?;
        before("rename")?;
        fs::rename(&hidden, &place).map_err(Error::io("put in place", &place))?;
        before("flush the rename")?;
        sync_dir(&self.run.join(FOLDER))?;
        Ok(())
    }

    /// The newest checkpoint that is whole, and those after it that are not.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn latest(&self) -> Result<(Option<Loaded>, Vec<Torn>)> {
        let mut torn = Vec::new();
        for step in self.steps()?.into_iter().rev() {
            let path = self.path(step);
            match read(&path) {
                Ok(loaded) => return Ok((Some(loaded), torn)),
                Err(why) => torn.push(Torn { path, why }),
            }
        }
        Ok((None, torn))
    }

    fn path(&self, step: u64) -> PathBuf {
        self.run.join(FOLDER).join(format!("step-{step:06}"))
    }

    fn names(&self) -> Result<Vec<String>> {
        let folder = self.run.join(FOLDER);
        let entries = fs::read_dir(&folder).map_err(Error::io("list", &folder))?;
        let names = entries.map(|e| e.map(|e| e.file_name().to_string_lossy().into_owned()));
        names.collect::<std::io::Result<Vec<_>>>().map_err(Error::io("list", &folder))
    }

    /// Steps of which there is a checkpoint, in order.
    fn steps(&self) -> Result<Vec<u64>> {
        let mut steps: Vec<u64> = self.names()?.iter().filter_map(|n| n.strip_prefix("step-")?.parse().ok()).collect();
        steps.sort_unstable();
        Ok(steps)
    }

    /// Remove what a crash has left half written.
    fn leftovers(&self) -> Result<()> {
        let names = self.names()?;
        let half = names.iter().filter(|n| n.starts_with(WRITING));
        Ok(half.map(|n| self.run.join(FOLDER).join(n)).try_for_each(|path| remove(&path))?)
    }

    /// Only what looks whole is counted: a torn one must not push out the one that a resumption needs. What is
    /// torn stays for a person to look at, until its step is saved again.
    fn prune(&self) -> Result<()> {
        let steps: Vec<u64> = self.steps()?.into_iter().filter(|step| sizes(&self.path(*step)).is_ok()).collect();
        let best = steps
            .iter()
            .filter_map(|step| Some((state(&self.path(*step)).ok()?.eval_loss?, *step)))
            .min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)))
            .map(|(_, step)| step);
        let old = &steps[..steps.len().saturating_sub(self.keep)];
        let kept = [best, self.last];
        Ok(old.iter().filter(|step| !kept.contains(&Some(**step))).try_for_each(|step| remove(&self.path(*step)))?)
    }
}

fn flushed(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = File::create(path).map_err(Error::io("create", path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(Error::io("write", path))
}

fn state(folder: &Path) -> std::result::Result<State, String> {
    let bytes = fs::read(folder.join(STATE)).map_err(|e| format!("{STATE}: {e}"))?;
    serde_json::from_slice(&bytes).map_err(|e| format!("{STATE}: {e}"))
}

/// The manifest, if every file it has to name is there in full length.
fn sizes(folder: &Path) -> std::result::Result<Manifest, String> {
    let bytes = fs::read(folder.join(MANIFEST)).map_err(|e| format!("{MANIFEST}: {e}"))?;
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|e| format!("{MANIFEST}: {e}"))?;
    for name in [TENSORS, STATE] {
        let Some(want) = manifest.files.iter().find(|f| f.file == name) else {
            return Err(format!("{MANIFEST} does not name {name}"));
        };
        let found = fs::metadata(folder.join(name)).map_err(|e| format!("{name}: {e}"))?.len();
        if found != want.bytes {
            return Err(format!("{name} has {found} bytes of {}", want.bytes));
        }
    }
    Ok(manifest)
}

fn read(folder: &Path) -> std::result::Result<Loaded, String> {
    for want in &sizes(folder)?.files {
        if FileHash::of(&folder.join(&want.file), &want.file).map_err(|e| e.to_string())? != *want {
            return Err(format!("{} is not what was written", want.file));
        }
    }
    let told = |e: Error| e.to_string();
    let file = Safetensors::open(&folder.join(TENSORS)).map_err(told)?;
    let tensors = file.names().map(|n| Ok((n.to_owned(), file.load(n)?))).collect::<Result<_>>().map_err(told)?;
    Ok(Loaded { path: folder.to_owned(), state: state(folder)?, tensors })
}

#[cfg(test)]
mod tests;
