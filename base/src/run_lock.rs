//! `run.lock.toml`: what a training run was made from and what it made. Files are named as the recipe names them, never
//! by a path of the machine.

use std::{collections::BTreeMap, fs, fs::File, path::Path};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    error::{Error, Result},
    sha256::digest_reader,
};

/// Name of the file.
pub const NAME: &str = "run.lock.toml";

/// A run's inputs and outputs. `R` is the recipe: whole for the trainer, [`Outline`] for whoever only needs to know where
/// things are.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunLock<R> {
    /// Program and version of the arithmetic.
    pub engine: String,
    /// The command that makes the run again, from the recipe's folder up.
    pub command: String,
    /// What computes, and in which type: `f32 on cpu`, `bf16 on cuda`.
    pub compute: String,
    /// The instructions that computed products on a CPU, on which the last bits depend; several where a run went on elsewhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instructions: Vec<String>,
    /// Of the tokenizer's file, or of what stands for it in a GGUF; SHA-256, hex.
    pub tokenizer_sha256: String,
    /// Of the chat template's text; SHA-256, hex.
    pub template_sha256: String,
    /// Libraries that take part in the arithmetic.
    pub versions: BTreeMap<String, String>,
    /// Every file of the base model.
    pub base: Vec<FileHash>,
    /// Every folder of data, in the recipe's order.
    pub data: Vec<DataFolder>,
    /// Every file of the adapter that training started from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub start: Vec<FileHash>,
    /// How far it went under other lengths, in order, if it was gone on with to another one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub legs: Vec<Leg>,
    /// What became of the rows that it learned from, and how much of them is learned, by what is counted; none while the run goes on, and in runs
    /// of before.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub texts: BTreeMap<String, u64>,
    /// Every file of the adapter, or of the model that was trained whole; none while the run goes on.
    #[serde(default, alias = "adapter")]
    pub made: Vec<FileHash>,
    /// Every file of what it was evaluated by since, below the run's folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evaluations: Vec<FileHash>,
    /// The recipe with all overrides and defaults in place.
    pub recipe: R,
}

/// What is trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// An adapter upon a frozen base, in 4 bits or not.
    #[default]
    Lora,
    /// Every weight of the base.
    Full,
}

/// The part of a recipe that says where a run's model is.
#[derive(Clone, Debug, Deserialize)]
pub struct Outline {
    /// What was trained.
    #[serde(default)]
    pub method: Method,
    /// What it was trained upon.
    pub model: ModelOutline,
}

/// The base of a run.
#[derive(Clone, Debug, Deserialize)]
pub struct ModelOutline {
    /// A folder or a file, or `tiny` for the model that the run made itself, in its folder `base`.
    pub path: String,
}

/// A part of a run that was planned with another length than the recipe has now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leg {
    /// Steps that the run had taken at its end, from the beginning of the run.
    pub until: u64,
    /// Steps that the whole run was to have until then: its learning rates are those of such a run.
    pub steps: u64,
}

impl Leg {
    /// Whether the run was finished at that length before it was gone on with.
    pub fn finished(self) -> bool {
        self.until == self.steps
    }
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

/// A folder that `setaccio build` wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataFolder {
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
    /// Hub repositories that its rows were read from.
    pub repos: Vec<String>,
    /// What else they were read from: `local files`, `samples of Setaccio`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
    /// Rows of each split.
    pub rows: BTreeMap<String, u64>,
    /// Its shards, as they are now.
    pub files: Vec<FileHash>,
}

impl Method {
    /// The folder that a run of this method leaves its result in.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Lora => "adapter",
            Self::Full => "model",
        }
    }
}

impl FileHash {
    /// Read `path` to its end; the lock calls it `file`. Files of data can take minutes, so `cancelled` is asked.
    ///
    /// # Errors
    /// It cannot be read; [`Error::Interrupted`].
    pub fn of(path: &Path, file: &str, cancelled: &dyn Fn() -> bool) -> Result<Self> {
        let open = File::open(path).map_err(Error::io("open", path))?;
        let (bytes, sha256) = digest_reader(open, cancelled).map_err(Error::io("read", path))?;
        if cancelled() {
            return Err(Error::Interrupted);
        }
        Ok(Self { file: file.to_owned(), bytes, sha256 })
    }
}

/// The name of a file that only one of two models has, or that differs between them.
pub fn differing<'a>(a: &'a [FileHash], b: &'a [FileHash]) -> Option<&'a str> {
    let lacks = |of: &'a [FileHash], all: &[FileHash]| of.iter().find(|file| !all.contains(file));
    lacks(a, b).or_else(|| lacks(b, a)).map(|file| file.file.as_str())
}

impl<R: DeserializeOwned> RunLock<R> {
    /// Read the file of a run.
    ///
    /// # Errors
    /// It cannot be read, or is of another version.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        Self::parse(path, &text)
    }

    /// Understand the text of `path`.
    ///
    /// # Errors
    /// It is of another version.
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        toml::from_str(text)
            .map_err(|e| Error::damaged(path, format!("is not a lock of this version of setaccio: {}", e.message())))
    }
}

impl<R: Serialize> RunLock<R> {
    /// As the file's text.
    ///
    /// # Errors
    /// A path that is not Unicode.
    pub fn to_toml(&self) -> Result<String> {
        let text = toml::to_string(self).map_err(|e| Error::damaged(NAME, e.to_string()))?;
        Ok(format!("# Written by `setaccio train`. Do not edit.\n{text}"))
    }
}
