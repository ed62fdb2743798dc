//! The recipe of a chain: the structs are its TOML tables.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use setaccio_base::{bundle::Place, suggest};

use super::places::Places;
use crate::{
    artifacts::{export::Quant, merge},
    error::{Error, Result},
    recipe::{self, RecipeFile, names},
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
    pub prompts: Vec<String>,
    /// The runs, in order.
    pub stage: Vec<Stage>,
    /// What the base and the model after each stage are evaluated by; absent: nothing.
    #[serde(default)]
    pub eval: Option<Eval>,
    /// What base and result are audited by; absent: nothing.
    #[serde(default)]
    pub audit: Option<Audit>,
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

/// `[eval]`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Eval {
    /// Tasks: names of those that the program carries, or files, relative to the chain's.
    pub tasks: Vec<PathBuf>,
    /// Only so many of the first rows of each; absent: all.
    #[serde(default)]
    pub limit: Option<usize>,
    /// The folder of the model that BERTScore asks, relative to the chain's; absent: tasks that have it go without.
    #[serde(default)]
    pub bertscore: Option<PathBuf>,
}

/// `[audit]`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// Sentences and lists of your own, relative to the chain's; absent: the bundled ones.
    #[serde(default)]
    pub suite: Option<PathBuf>,
    /// Whether models write, too: refusals and texts about people, which take most of the time.
    #[serde(default = "yes")]
    pub writing: bool,
    /// At most so many new tokens an answer.
    #[serde(default = "answer_tokens")]
    pub max_tokens: usize,
}

fn yes() -> bool {
    true
}

/// Tokens of an answer of an audit, unless it is said.
pub const fn answer_tokens() -> usize {
    96
}

/// A chain and where it came from.
#[derive(Clone, Debug)]
pub struct ChainFile {
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
    pub fn open(path: &Path) -> Result<ChainFile> {
        let place = Place::recipe(path, HOME).map_err(Error::Other)?;
        let (file, text) = (place.name(), place.text().map_err(Error::io("read the chain", place.path()))?);
        let chain: Self =
            toml::from_str(&text).map_err(|e| Error::recipe(&file, suggest::explain(&e.to_string(), e.message())))?;
        chain.check().map_err(|e| Error::recipe(&file, e))?;
        Ok(ChainFile { chain, place })
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
            let taken = ["data", "merged", "export", "eval", "audit"]
                .iter()
                .any(|taken| stage.name.eq_ignore_ascii_case(taken));
            if !plain(&stage.name) || taken {
                return Err(format!(
                    "stage {}: `{}` is no name for a folder beside data, merged, export, eval and audit: letters, digits, - and _",
                    i + 1,
                    stage.name
                ));
            }
            if self.stage[..i].iter().any(|before| before.name == stage.name) {
                return Err(format!("two stages are called `{}`", stage.name));
            }
        }
        match &self.eval {
            Some(eval) if eval.tasks.is_empty() => return Err("[eval] names no `tasks`".into()),
            Some(Eval { limit: Some(0), .. }) => return Err("eval.limit is 0".into()),
            _ => {}
        }
        if self.audit.as_ref().is_some_and(|audit| audit.max_tokens == 0) {
            return Err("audit.max_tokens is 0".into());
        }
        self.quants.iter().try_for_each(|quant| Quant::parse(quant).map(|_| ()).map_err(|e| e.to_string()))?;
        if self.dtype.is_empty() { Ok(()) } else { merge::dtype(&self.dtype).map(|_| ()).map_err(|e| e.to_string()) }
    }
}

impl ChainFile {
    /// Start from another base model than the chain says: in `path`, called `repo` on the Hub, under `license`, as far as
    /// that is known.
    pub fn set_base(&mut self, path: &str, repo: Option<&str>, license: Option<&str>) {
        let base = &mut self.chain.base;
        // What the chain says of its base is true of no other.
        if !names(path, &base.repo) && !names(path, &base.path) {
            (base.repo, base.revision, base.license) = Default::default();
            self.chain.title = format!("{}, trained by the chain {}", last(path), self.chain.name);
        }
        let base = &mut self.chain.base;
        path.clone_into(&mut base.path);
        for (given, value) in [(repo, &mut base.repo), (license, &mut base.license)] {
            if let Some(given) = given {
                given.clone_into(value);
            }
        }
    }

    /// Apply `STAGE.KEY=VALUE` to the training recipe of a stage.
    pub fn apply_set(&mut self, set: &str) -> Result<()> {
        let stages: Vec<&str> = self.chain.stage.iter().map(|s| s.name.as_str()).collect();
        let found = set
            .split_once('.')
            .and_then(|(name, rest)| Some((stages.iter().position(|s| *s == name)?, rest.to_owned())));
        let Some((i, rest)) = found else {
            let stages = stages.join(", ");
            return Err(Error::Other(format!("--set {set}: say STAGE.KEY=VALUE, where the stages are {stages}")));
        };
        self.chain.stage[i].set.push(rest);
        Ok(())
    }

    /// The tasks that models are evaluated by.
    pub fn tasks(&self) -> Vec<PathBuf> {
        let named = |task: &PathBuf| {
            let bare = task.extension().is_none() && task.components().count() == 1;
            if bare { task.clone() } else { self.place.beside(task).argument() }
        };
        self.chain.eval.iter().flat_map(|eval| &eval.tasks).map(named).collect()
    }

    /// The model that BERTScore asks.
    pub fn bertscore(&self) -> Option<PathBuf> {
        let named = self.chain.eval.as_ref()?.bertscore.as_ref()?;
        Some(self.place.beside(named).path().to_owned())
    }

    /// The sentences and lists that it is audited by, if they are not the bundled ones.
    pub fn suite(&self) -> Option<PathBuf> {
        let named = self.chain.audit.as_ref()?.suite.as_ref()?;
        Some(self.place.beside(named).path().to_owned())
    }

    /// The recipe of a stage's data.
    pub fn build(&self, stage: &Stage) -> PathBuf {
        self.place.beside(&stage.build).argument()
    }

    /// The recipe file of a stage's training.
    pub fn recipe(&self, stage: &Stage) -> PathBuf {
        self.place.beside(&stage.train).argument()
    }

    /// The recipe of stage number `i`, upon the model that is there then.
    pub fn stage(&self, i: usize, places: &Places) -> Result<RecipeFile> {
        let (chain, stage) = (&self.chain, &self.chain.stage[i]);
        let text = |value: &str| toml::Value::String(value.to_owned()).to_string();
        let path = |path: &Path| text(&path.to_string_lossy());
        let base = &chain.base;
        let mut sets = vec![format!("data.train=[{}]", path(&places.data(&stage.name)))];
        match i.checked_sub(1).map(|before| places.merged(&chain.stage[before].name)) {
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

/// The last part of a path.
fn last(path: &str) -> &str {
    path.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or_default()
}
