//! What a chain has finished, and from what: a step whose inputs are the same and whose files are there is not done
//! again.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use setaccio_base::atomic;

use crate::{
    checkpoint::ownership::CHAIN as NAME,
    error::{Error, Result},
};

/// `chain.lock.toml`: the finished steps of a chain.
#[derive(Clone, Debug)]
pub struct ChainLock {
    path: PathBuf,
    said: Said,
    /// Whether a step was finished since it was read.
    changed: bool,
}

/// What the file says.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Said {
    /// The stages of the chain, in their order.
    #[serde(default)]
    stages: Vec<String>,
    /// The finished steps, by name.
    #[serde(flatten)]
    steps: BTreeMap<String, Step>,
}

/// A finished step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    /// SHA-256 of all that decided its files, hex.
    inputs: String,
    /// Its files below the chain's folder, `/` between parts, and their lengths in bytes.
    files: BTreeMap<String, u64>,
}

impl ChainLock {
    /// Read what the chain in `folder` has finished; nothing if it has not begun.
    ///
    /// # Errors
    /// The file cannot be read, or is of another version.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(NAME);
        if !path.exists() {
            return Ok(Self { path, said: Said::default(), changed: false });
        }
        let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let said = toml::from_str(&text).map_err(|e| {
            let why = e.message();
            Error::damaged(&path, format!("is not of this version ({why}); remove it, and its steps are done again"))
        })?;
        Ok(Self { path, said, changed: false })
    }

    /// The stages of the chain, in their order; none before it has begun.
    pub fn stages(&self) -> &[String] {
        &self.said.stages
    }

    /// Remember the stages of the chain.
    pub fn set_stages(&mut self, stages: Vec<String>) {
        self.said.stages = stages;
    }

    /// Whether `step` was finished from these inputs, left its files in `made`, and they are as long as they were; and
    /// no other step has put its own there since.
    pub fn has(&self, step: &str, inputs: &str, made: &Path) -> bool {
        let root = self.root();
        let there = |(name, bytes): (&String, &u64)| {
            let path = root.join(name);
            path.starts_with(made) && fs::metadata(path).is_ok_and(|m| m.len() == *bytes)
        };
        self.said.steps.get(step).is_some_and(|step| step.inputs == inputs && step.files.iter().all(there))
    }

    /// Whether a step of this chain made what is at `place`.
    pub fn made(&self, place: &Path) -> bool {
        let root = self.root();
        self.said.steps.values().flat_map(|step| step.files.keys()).any(|name| root.join(name).starts_with(place))
    }

    /// Whether a step was finished since the lock was read.
    pub fn changed(&self) -> bool {
        self.changed
    }

    /// Files of all steps, below the chain's folder.
    pub fn files(&self) -> impl Iterator<Item = &String> {
        self.said.steps.values().flat_map(|step| step.files.keys())
    }

    fn root(&self) -> &Path {
        atomic::parent(&self.path)
    }

    /// Remember that `step` was finished and left `made`: a file, or the files of a folder.
    pub fn add(&mut self, step: &str, inputs: &str, made: &Path) -> Result<()> {
        let root = self.root().to_owned();
        let mut paths = vec![made.to_owned()];
        // Those of folders in it, too.
        let mut at = 0;
        while let Some(folder) = paths.get(at).cloned() {
            if folder.is_dir() {
                let entries = fs::read_dir(&folder).map_err(Error::io("list", &folder))?;
                let found = entries.map(|e| e.map(|e| e.path())).collect::<std::io::Result<Vec<PathBuf>>>();
                paths.extend(found.map_err(Error::io("list", &folder))?);
            }
            at += 1;
        }
        let mut files = BTreeMap::new();
        for path in paths.iter().filter(|path| path.is_file()) {
            let bytes = fs::metadata(path).map_err(Error::io("read", path))?.len();
            let below = path.strip_prefix(&root).unwrap_or(path);
            let parts: Vec<_> = below.components().map(|part| part.as_os_str().to_string_lossy()).collect();
            files.insert(parts.join("/"), bytes);
        }
        // Whatever a step left in these files before is not there any more.
        self.said.steps.retain(|_, step| !step.files.keys().any(|name| files.contains_key(name)));
        self.changed = true;
        self.said.steps.insert(step.to_owned(), Step { inputs: inputs.to_owned(), files });
        self.write()
    }

    /// Write it, be it empty: the folder is a chain's from its first step on.
    pub fn write(&self) -> Result<()> {
        let text = toml::to_string(&self.said).map_err(|e| Error::Other(format!("{NAME}: {e}")))?;
        Ok(atomic::write(&self.path, format!("# Written by `setaccio train-all`. Do not edit.\n{text}").as_bytes())?)
    }
}
