//! `recipe.lock.toml`: the recipe as it was resolved, and the hash of everything that went in. The same
//! lock gives the same bytes. It names files as the recipe does, never by a path of the machine.

use serde::{Deserialize, Serialize};
use setaccio_base::{
    Error, Result,
    filter_report::{FileUse, ListUse},
    sha256,
};

use crate::{
    names::RECIPE_LOCK,
    recipe::{Recipe, Source},
};

/// What was resolved.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RecipeLock {
    /// Program and engine version.
    pub engine: String,
    /// The command that builds it; where the inputs lie is for its reader to say.
    pub command: String,
    /// `samples`, `folder`, `hub`, or `files` if every source is of files of the recipe's own.
    pub from: String,
    /// As in the ledger.
    pub fingerprint: String,
    /// SHA-256 of the template and the tokenizer, if there are any.
    pub assets: Vec<Asset>,
    /// Every word list that a rule used.
    #[serde(default)]
    pub list: Vec<ListUse>,
    /// Every model that a rule used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub model: Vec<FileUse>,
    /// Every data set that `dedup.near.against` names: SHA-256 of the hashes of its shards, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub against: Vec<Asset>,
    /// Every repository of the Hub that the recipe names beside its sources: models, and data sets that were built before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repo: Vec<RepoUse>,
    /// Every file of the evaluation sets that rows were held against.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evaluation: Vec<Input>,
    /// Every input file.
    pub input: Vec<Input>,
    /// The recipe with all overrides and defaults in place.
    pub recipe: Recipe,
}

/// A file that `[output]` names, or another thing of which the recipe has only the name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asset {
    /// The key that names it.
    pub key: String,
    /// SHA-256, hex.
    pub sha256: String,
}

/// A repository of the Hub that is used and not read for its rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoUse {
    /// As the recipe names it, with its commit.
    pub name: String,
    /// The licence that its card states; empty if it states none.
    pub license: String,
}

/// An input file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// The source it belongs to.
    pub source: String,
    /// Its name below the source.
    pub file: String,
    /// Hub repository that the recipe names; empty for files of one's own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub repo: String,
    /// Revision that the recipe names.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// The commit that it stood for, where the Hub was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256, hex; of an object in a store that is known by its ETag, none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sha256: String,
    /// What its store calls this version of its bytes, where they were not read through for their hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
}

impl Input {
    /// What tells its bytes from any others, as it is written in tables and sentences.
    pub fn content(&self) -> String {
        match &self.etag {
            Some(etag) => format!("ETag {etag}"),
            None => self.sha256.clone(),
        }
    }
}

/// Where the rows of a source were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom<'a> {
    /// Its repository, at this commit.
    Hub(&'a str),
    /// The samples that come with the program, in place of its repository.
    Samples,
    /// Files of this machine, whatever repository the recipe names.
    Local,
}

impl RecipeLock {
    /// Where the rows of `source` were read: what a recipe names is one thing, what a build was given another.
    pub fn read_from(&self, source: &Source) -> ReadFrom<'_> {
        match self.input.iter().find(|input| input.source == source.name) {
            Some(Input { commit: Some(commit), .. }) => ReadFrom::Hub(commit),
            Some(input) if self.from == "samples" && !input.repo.is_empty() => ReadFrom::Samples,
            _ => ReadFrom::Local,
        }
    }

    /// Sources of which samples were read that stand for their repositories.
    pub fn sampled(&self) -> Vec<&str> {
        let sampled = self.recipe.source.iter().filter(|source| self.read_from(source) == ReadFrom::Samples);
        sampled.map(|source| source.name.as_str()).collect()
    }

    /// SHA-256 of all that decides the bytes: everything here but itself and the command.
    pub fn digest(&self) -> String {
        let bare = Self { fingerprint: String::new(), command: String::new(), ..self.clone() };
        sha256::hex_digest(&serde_json::to_vec(&bare).unwrap_or_default())
    }

    /// As the file's text.
    pub fn to_toml(&self) -> Result<String> {
        let text =
            toml::to_string(self).map_err(|e| Error::Damaged { path: RECIPE_LOCK.into(), message: e.to_string() })?;
        Ok(format!("# Written by `setaccio build`; `setaccio verify` checks it. Do not edit.\n{text}"))
    }
}
