//! `run.lock.toml`: the recipe as it was resolved and the hash of everything that went in. The same run
//! gives the same bytes; files are named as the recipe names them, never by a path of the machine.

use std::{collections::BTreeMap, fs::File, path::Path};

use serde::{Deserialize, Serialize};
use setaccio_base::{card::strictest, sha256::digest_reader};
use setaccio_filters::hash::sha256;

use crate::{
    data::shards::Build,
    error::{Error, Result},
    recipe::Recipe,
};

mod compare;

/// Name of the file.
pub const NAME: &str = "run.lock.toml";

/// Program and version of the arithmetic: raised whenever the same inputs would give other numbers.
pub const ENGINE: &str = concat!("setaccio ", env!("CARGO_PKG_VERSION"), " trainer 2");

/// The candle of Cargo.lock, which a test compares.
const CANDLE: &str = "0.11.1";

/// What was resolved.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunLock {
    /// [`ENGINE`].
    pub engine: String,
    /// The command that makes the run again, from the recipe's folder up.
    pub command: String,
    /// What computes, and in which type: `f32 on cpu`, `bf16 on cuda`.
    pub compute: String,
    /// Of the tokenizer's file, or of what stands for it in a GGUF; SHA-256, hex.
    pub tokenizer_sha256: String,
    /// Of the chat template's text; SHA-256, hex.
    pub template_sha256: String,
    /// Libraries that take part in the arithmetic.
    pub versions: BTreeMap<String, String>,
    /// Every file of the base model.
    pub base: Vec<FileHash>,
    /// Every folder of data, in the recipe's order.
    pub data: Vec<Data>,
    /// Every file of the adapter that was gone on with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub start: Vec<FileHash>,
    /// Every file of the adapter, or of the model that was trained whole; none while the run goes on.
    #[serde(default, alias = "adapter")]
    pub made: Vec<FileHash>,
    /// The recipe with all overrides and defaults in place.
    pub recipe: Recipe,
}

/// A file and what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileHash {
    /// Its name below the folder it belongs to, `/` between parts.
    pub file: String,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256, hex.
    pub sha256: String,
}

/// The name of a file that only one of two models has, or that differs between them.
pub fn differing<'a>(a: &'a [FileHash], b: &'a [FileHash]) -> Option<&'a str> {
    let lacks = |of: &'a [FileHash], all: &[FileHash]| of.iter().find(|file| !all.contains(file));
    lacks(a, b).or_else(|| lacks(b, a)).map(|file| file.file.as_str())
}

/// A folder that `setaccio build` wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// The name of its recipe.
    pub name: String,
    /// The title of its card.
    pub title: String,
    /// Where it lies, as the recipe says.
    pub folder: String,
    /// Of its `recipe.lock.toml`; SHA-256, hex.
    pub recipe_lock_sha256: String,
    /// The strictest licence of its sources, as its card says.
    pub license: String,
    /// Languages its card states.
    pub languages: Vec<String>,
    /// Hub repositories that its rows came from.
    pub repos: Vec<String>,
    /// Rows of each split.
    pub rows: BTreeMap<String, u64>,
    /// Its shards, as they are now.
    pub files: Vec<FileHash>,
}

impl FileHash {
    /// Read `path` to its end; the lock calls it `file`.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn of(path: &Path, file: &str) -> Result<Self> {
        Self::unless(path, file, &|| false)
    }

    /// As [`Self::of`], but for `cancelled`: files of data can take minutes.
    ///
    /// # Errors
    /// It cannot be read; [`Error::Interrupted`].
    pub fn unless(path: &Path, file: &str, cancelled: &dyn Fn() -> bool) -> Result<Self> {
        let open = File::open(path).map_err(Error::io("open", path))?;
        let (bytes, sha256) = digest_reader(open, cancelled).map_err(Error::io("read", path))?;
        if cancelled() {
            return Err(Error::Interrupted);
        }
        Ok(Self { file: file.to_owned(), bytes, sha256 })
    }
}

impl Data {
    /// What lies in `folder`, as [`Build::open`] finds it; its shards are those that the build wrote.
    ///
    /// # Errors
    /// There is no finished build, or something in it was changed since; [`Error::Interrupted`].
    pub fn of(folder: &Path, cancelled: &dyn Fn() -> bool) -> Result<Self> {
        let build = Build::open(folder)?;
        let mut files = Vec::new();
        for shard in build.files() {
            let path = folder.join(&shard.path);
            let found = FileHash::unless(&path, &shard.path, cancelled)?;
            if found.sha256 != shard.sha256 {
                let message = "is not what the build wrote; build the folder again".into();
                return Err(Error::Damaged { path, message });
            }
            files.push(found);
        }
        let recipe = &build.lock.recipe;
        Ok(Self {
            name: recipe.name.clone(),
            title: recipe.title.clone(),
            folder: folder.to_string_lossy().into_owned(),
            recipe_lock_sha256: build.sha256.clone(),
            license: strictest(recipe.source.iter().map(|s| s.license.as_str())).to_owned(),
            languages: recipe.card.language.clone(),
            repos: recipe.source.iter().map(|s| s.repo.clone()).collect(),
            rows: build.ledger.splits.iter().map(|s| (s.split.clone(), s.rows)).collect(),
            files,
        })
    }
}

impl RunLock {
    /// Of a run that is about to start; base, data, tokenizer and template are for the caller to fill in.
    pub fn new(recipe: Recipe, command: &str, compute: &str) -> Self {
        let versions = [("candle", CANDLE), ("setaccio", env!("CARGO_PKG_VERSION"))];
        Self {
            engine: ENGINE.into(),
            command: command.into(),
            compute: compute.into(),
            tokenizer_sha256: String::new(),
            template_sha256: String::new(),
            versions: versions.map(|(name, version)| (name.into(), version.into())).into(),
            base: Vec::new(),
            data: Vec::new(),
            start: Vec::new(),
            made: Vec::new(),
            recipe,
        }
    }

    /// SHA-256 of everything that decides the numbers of the run.
    ///
    /// # Errors
    /// Never, but for a path that is not Unicode.
    pub fn fingerprint(&self) -> Result<String> {
        let told = serde_json::to_vec(&self.deciding()?).map_err(|e| Error::Other(format!("{NAME}: {e}")))?;
        Ok(sha256(&told))
    }

    /// What decides the numbers and differs in `other`, one a line for people: `train.learning_rate: 2e-5 -> 0.0001`.
    ///
    /// # Errors
    /// As [`RunLock::fingerprint`].
    pub fn differences(&self, other: &Self) -> Result<Vec<String>> {
        let (mine, theirs) = (self.deciding()?, other.deciding()?);
        let none = || "none".to_owned();
        let shown = |v: Option<&String>| v.map_or_else(none, |v| compare::short(v));
        let mut keys: Vec<&String> = mine.keys().chain(theirs.keys()).collect();
        keys.sort();
        keys.dedup();
        // Of a run that trains no adapter there is nothing to compare one's settings with.
        let other_method = self.recipe.method != other.recipe.method;
        keys.retain(|k| !(other_method && k.starts_with("lora.")));
        let differ = keys.into_iter().filter(|k| mine.get(*k) != theirs.get(*k));
        Ok(differ.map(|k| format!("{k}: {} -> {}", shown(mine.get(k)), shown(theirs.get(k)))).collect())
    }

    /// Whether it is the same run as `other`, and as long: a constant rate lets one be extended.
    ///
    /// # Errors
    /// As [`RunLock::fingerprint`].
    pub fn is_same_and_as_long_as(&self, other: &Self) -> Result<bool> {
        let length = |lock: &Self| match lock.recipe.train.max_steps {
            0 => (0, lock.recipe.train.epochs.to_bits()),
            steps => (steps, 0),
        };
        Ok(length(self) == length(other) && self.fingerprint()? == other.fingerprint()?)
    }

    fn deciding(&self) -> Result<BTreeMap<String, String>> {
        let value = toml::Value::try_from(self).map_err(|e| Error::Other(format!("{NAME}: {e}")))?;
        Ok(compare::deciding(&value, &self.recipe))
    }

    /// As the file's text.
    ///
    /// # Errors
    /// As [`RunLock::fingerprint`].
    pub fn to_toml(&self) -> Result<String> {
        let text = toml::to_string(self).map_err(|e| Error::Other(format!("{NAME}: {e}")))?;
        Ok(format!("# Written by `setaccio train`. Do not edit.\n{text}"))
    }

    /// Read the file of a run.
    ///
    /// # Errors
    /// It cannot be read, or is of another version.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        Self::parse(path, &text)
    }

    /// Understand the text of `path`.
    ///
    /// # Errors
    /// It is of another version.
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        let other = |e: toml::de::Error| Error::Damaged {
            path: path.to_owned(),
            message: format!("is not a lock of this version ({ENGINE}): {}", e.message()),
        };
        toml::from_str(text).map_err(other)
    }
}

#[cfg(test)]
pub(crate) mod tests;
