//! A chain of runs, each upon the last one's model: `just train-all`. The structs are the tables of its recipe.

pub mod card;
mod kept;

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use setaccio_base::bundle::Place;
use setaccio_filters::suggest;

pub use kept::Kept;

use crate::{
    error::{Error, Result},
    export::Quant,
    merge,
    recipe::{self, Loaded},
};

/// Folder of the repository that chains lie in.
pub const HOME: &str = "pipelines/train/all";

/// A whole chain.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Chain {
    /// Names it; everything is written to `runs/NAME`.
    pub name: String,
    /// A line for people.
    #[serde(default)]
    pub title: String,
    /// The model that the first stage starts from.
    pub base: Base,
    /// Type of the merged weights: `bf16`, `f16` or `f32`; empty keeps the base's.
    #[serde(default)]
    pub dtype: String,
    /// GGUF files to export, by what their matrices are packed in.
    #[serde(default)]
    pub quants: Vec<String>,
    /// What base and result are asked at the end.
    #[serde(default)]
    pub prompt: String,
    /// The runs, in order.
    pub stage: Vec<Stage>,
}

/// `[base]`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// A Hugging Face folder or a GGUF file; `tiny` is made by the program from the first stage's rows.
    pub path: String,
    /// Its name on the Hub.
    #[serde(default)]
    pub repo: String,
    /// Commit or tag of `repo`.
    #[serde(default)]
    pub revision: String,
    /// Its licence.
    #[serde(default)]
    pub license: String,
}

/// `[[stage]]`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Names it, and its folder.
    pub name: String,
    /// The recipe of its data, relative to the chain's.
    pub build: PathBuf,
    /// The recipe of its training, relative to the chain's.
    pub train: PathBuf,
    /// Values that it changes, as `--set` would.
    #[serde(default)]
    pub set: Vec<String>,
}

/// A chain and where it came from.
#[derive(Clone, Debug)]
pub struct Opened {
    /// As it is written.
    pub chain: Chain,
    /// Where it is.
    place: Place,
}

impl Chain {
    /// Read the chain in `path`, a file or the name of one that the program carries, and check it.
    ///
    /// # Errors
    /// It is missing, not TOML, says something unknown, or contradicts itself.
    pub fn open(path: &Path) -> Result<Opened> {
        let place = Place::recipe(path, HOME).map_err(Error::Other)?;
        let (file, text) = (place.name(), place.text().map_err(Error::io("read the chain", place.path()))?);
        let chain: Self = toml::from_str(&text).map_err(|e| Error::recipe(&file, suggest::explain(e.message())))?;
        chain.check().map_err(|e| Error::recipe(&file, e))?;
        Ok(Opened { chain, place })
    }

    fn check(&self) -> std::result::Result<(), String> {
        let plain =
            |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        if !plain(&self.name) {
            return Err("`name` names a folder below runs/: letters, digits, - and _".into());
        }
        if self.stage.is_empty() {
            return Err("a chain has at least one `[[stage]]`".into());
        }
        for (i, stage) in self.stage.iter().enumerate() {
            let taken = ["data", "merged", "export"].iter().any(|taken| stage.name.eq_ignore_ascii_case(taken));
            if !plain(&stage.name) || taken {
                return Err(format!(
                    "stage {}: `{}` is no name for a folder beside data, merged and export: letters, digits, - and _",
                    i + 1,
                    stage.name
                ));
            }
            if self.stage[..i].iter().any(|before| before.name == stage.name) {
                return Err(format!("two stages are called `{}`", stage.name));
            }
        }
        self.quants.iter().try_for_each(|quant| Quant::parse(quant).map(|_| ()).map_err(|e| e.to_string()))?;
        if self.dtype.is_empty() { Ok(()) } else { merge::dtype(&self.dtype).map(|_| ()).map_err(|e| e.to_string()) }
    }
}

/// Where the parts of a chain lie.
#[derive(Clone, Debug)]
pub struct Places(pub PathBuf);

impl Places {
    /// The rows of a stage.
    pub fn data(&self, stage: &Stage) -> PathBuf {
        self.0.join("data").join(&stage.name)
    }

    /// The run of a stage.
    pub fn run(&self, stage: &Stage) -> PathBuf {
        self.0.join(&stage.name)
    }

    /// The model after a stage; the last one's is the chain's.
    pub fn merged(&self, chain: &Chain, stage: &Stage) -> PathBuf {
        let last = chain.stage.last().is_some_and(|last| last.name == stage.name);
        if last { self.0.join("merged") } else { self.run(stage).join("merged") }
    }

    /// An exported file.
    pub fn export(&self, chain: &Chain, quant: &str) -> PathBuf {
        self.0.join("export").join(format!("{}-{}.gguf", chain.name, quant.to_uppercase()))
    }
}

impl Opened {
    /// The recipe of a stage's data.
    pub fn build(&self, stage: &Stage) -> PathBuf {
        self.place.beside(&stage.build).argument()
    }

    /// The recipe file of a stage's training.
    pub fn recipe(&self, stage: &Stage) -> PathBuf {
        self.place.beside(&stage.train).argument()
    }

    /// The recipe of stage number `i`, upon the model that is there then.
    ///
    /// # Errors
    /// As [`recipe::load`].
    pub fn stage(&self, i: usize, places: &Places) -> Result<Loaded> {
        let (chain, stage) = (&self.chain, &self.chain.stage[i]);
        let text = |value: &str| toml::Value::String(value.to_owned()).to_string();
        let path = |path: &Path| text(&path.to_string_lossy());
        let base = &chain.base;
        let mut sets = vec![format!("data.train=[{}]", path(&places.data(stage)))];
        match i.checked_sub(1).map(|before| places.merged(chain, &chain.stage[before])) {
            None => {
                sets.push(format!("model.path={}", text(&base.path)));
                sets.push(format!("model.repo={}", text(&base.repo)));
                sets.push(format!("model.revision={}", text(&base.revision)));
            }
            // What an earlier stage made has no name on the Hub.
            Some(merged) => {
                sets.push(format!("model.path={}", path(&merged)));
                sets.extend(["model.repo=\"\"".to_owned(), "model.revision=\"\"".to_owned()]);
            }
        }
        sets.push(format!("model.license={}", text(&base.license)));
        sets.extend(stage.set.iter().cloned());
        recipe::load(&self.recipe(stage), &sets)
    }
}

#[cfg(test)]
mod tests;
