//! `recipe.lock.toml`: the recipe as it was resolved, and the hash of everything that went in. The same
//! lock gives the same bytes. It names files as the recipe does, never by a path of the machine.

use serde::{Deserialize, Serialize};
use setaccio_filters::{context::ListUse, hash::sha256};

use crate::{
    error::{Error, Result},
    origin::Origin,
    plan::{ENGINE, Plan},
    recipe::Recipe,
};

/// Name of the file.
pub const NAME: &str = "recipe.lock.toml";

/// What was resolved.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lock {
    /// Program and engine version.
    pub engine: String,
    /// The command that builds it; where the inputs lie is for its reader to say.
    pub command: String,
    /// `samples`, `folder` or `hub`.
    pub from: String,
    /// As in the ledger.
    pub fingerprint: String,
    /// SHA-256 of the template and the tokenizer, if there are any.
    pub assets: Vec<Asset>,
    /// Every word list that a rule used.
    #[serde(default)]
    pub list: Vec<ListUse>,
    /// Every input file.
    pub input: Vec<Input>,
    /// The recipe with all overrides and defaults in place.
    pub recipe: Recipe,
}

/// A file that `[output]` names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asset {
    /// The key that names it.
    pub key: String,
    /// SHA-256, hex.
    pub sha256: String,
}

/// An input file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// The source it belongs to.
    pub source: String,
    /// Its name below the source.
    pub file: String,
    /// Hub repository that the recipe names.
    pub repo: String,
    /// Revision that the recipe names.
    pub revision: String,
    /// The commit that it stood for, where the Hub was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256, hex.
    pub sha256: String,
}

impl Lock {
    /// SHA-256 of all that decides the bytes: everything here but itself and the command.
    pub fn digest(&self) -> String {
        let bare = Self { fingerprint: String::new(), command: String::new(), ..self.clone() };
        sha256(&serde_json::to_vec(&bare).unwrap_or_default())
    }

    /// Of a plan.
    pub fn new(plan: &Plan) -> Self {
        let input = plan.files.iter().map(|file| {
            let source = plan.source(file);
            Input {
                source: source.name.clone(),
                file: file.input.name.clone(),
                repo: source.repo.clone(),
                revision: source.revision.clone(),
                commit: plan.commit(&source.name).map(str::to_owned),
                bytes: file.input.bytes,
                sha256: file.input.sha256.clone(),
            }
        });
        Self {
            engine: ENGINE.into(),
            command: command(plan),
            from: plan.origin.kind().into(),
            fingerprint: plan.fingerprint.clone(),
            assets: plan
                .assets
                .iter()
                .map(|(key, sha256)| Asset { key: key.clone(), sha256: sha256.clone() })
                .collect(),
            list: plan.lists.clone(),
            input: input.collect(),
            recipe: plan.loaded.recipe.clone(),
        }
    }

    /// As the file's text.
    ///
    /// # Errors
    /// Never, but for a fault of ours.
    pub fn to_toml(&self) -> Result<String> {
        let text = toml::to_string(self).map_err(Error::encode(NAME))?;
        Ok(format!("# Written by `setaccio build`; `setaccio verify` checks it. Do not edit.\n{text}"))
    }
}

fn command(plan: &Plan) -> String {
    let loaded = &plan.loaded;
    let folder = if loaded.folder.ends_with("pipelines") { "pipelines/" } else { "" };
    let from = match plan.origin {
        Origin::Samples => "",
        Origin::Hub(_) => " --from hub",
        Origin::Dir(_) => " --from DIR",
    };
    let mut words = vec![format!("setaccio build {folder}{}{from}", loaded.file)];
    words.extend(loaded.changes.iter().cloned());
    words.join(" ")
}
