//! A base model, and what was made of it, each a model of its own beside it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use setaccio_base::progress::Progress;

use crate::{
    artifacts::finished_run::FinishedRun,
    askable::{self, Askable},
    error::{Error, Result},
    formats::peft,
    generate::load_model,
    model::{config::Config, llama::Llama},
    recipe,
    report::lock::FileHash,
    tokenizer::Tokens,
};

/// The folder that a run is merged to.
const MERGED: &str = "merged";

/// A model that can be asked.
#[derive(Clone, Debug)]
pub struct Served {
    /// What it is called.
    pub id: String,
    /// What makes tokens of texts.
    pub tokens: Arc<Tokens>,
    /// Rows of its embedding.
    pub vocab: usize,
    /// Bytes of its longest token, as the tokenizer writes it.
    pub longest: usize,
    /// The model that it was made of.
    pub parent: Option<String>,
}

/// What was loaded, and the models of an engine in the same order.
pub struct Loaded {
    /// What each is.
    pub served: Vec<Served>,
    /// What computes.
    pub models: Vec<Arc<Llama>>,
    /// Tokens that a model can look at.
    pub positions: usize,
}

/// Models whose weights are not in memory yet.
pub struct Opened {
    /// What each is.
    pub served: Vec<Served>,
    /// Tokens that a model can look at.
    pub positions: usize,
    asked: Vec<(Askable, askable::Opened)>,
}

/// Open `model`, a folder, a GGUF file, a run of `setaccio train` or a chain, and `adapters`, folders in PEFT's format or runs, upon
/// its first model. Without `base`, what a run or a chain began with is left out.
///
/// # Errors
/// One of them cannot be read, an adapter is another model's, or two models go by one name.
pub fn open(model: &Path, adapters: &[PathBuf], base: bool) -> Result<Opened> {
    let mut all = Askable::all(model)?;
    let first = all[0].clone();
    for path in adapters {
        let made = Askable::last(path)?;
        if made.adapter.is_none() && FinishedRun::is_in(path) {
            return Err(Error::Other(format!(
                "{} trained every weight: it is a model, and no adapter",
                path.display()
            )));
        }
        let dir = made.adapter.as_ref().unwrap_or(path);
        all.push(Askable::adapter(path, &first.model, dir));
    }
    if !base && all.len() > 1 {
        all.remove(0);
    }
    let (mut served, mut asked): (Vec<Served>, Vec<(Askable, askable::Opened)>) = (Vec::new(), Vec::new());
    for askable in all {
        let id = name(&askable.named);
        if served.iter().any(|other| other.id == id) {
            return Err(Error::Other(format!("two models would be called `{id}`: rename one of their folders")));
        }
        let opened = askable.open()?;
        if let Some((first, one)) = asked.first() {
            let [config, other] = [one.files.config(), opened.files.config()];
            if rows(config) != rows(other) || other.max_position_embeddings != config.max_position_embeddings {
                let why = format!("its layers are not those of {}: name it by itself", first.named.display());
                return Err(Error::model(&askable.named, why));
            }
        }
        let parent = served.first().filter(|_| base).map(|first| first.id.clone());
        let (tokens, longest) = (Arc::new(opened.tokens.clone()), longest(&opened.tokens));
        served.push(Served { id, tokens, vocab: opened.vocab, longest, parent });
        asked.push((askable, opened));
    }
    let positions = asked[0].1.files.config().max_position_embeddings;
    Ok(Opened { served, positions, asked })
}

impl Opened {
    /// Read the weights.
    ///
    /// # Errors
    /// They cannot be read, or there is no memory for them.
    pub fn load(self, device: recipe::Device, progress: &dyn Progress) -> Result<Loaded> {
        let Self { served, positions, asked } = self;
        let mut models = Vec::new();
        let mut loaded: Vec<(&Path, Llama)> = Vec::new();
        // Weights that others share are found before others are loaded.
        for (askable, one) in &asked {
            let shared = loaded.iter().find(|(path, _)| *path == askable.model).map(|(_, model)| model.clone());
            let mut model = if let Some(model) = shared {
                model
            } else {
                let model = load_model(&one.files, device, progress)?;
                loaded.push((&askable.model, model.clone()));
                model
            };
            one.attach(&mut model)?;
            models.push(Arc::new(model));
        }
        Ok(Loaded { served, models, positions })
    }

    /// The files of each model, an adapter's behind those that it is on. Reads all of them, each once.
    ///
    /// # Errors
    /// Reading fails, or it was stopped.
    pub fn hashes(&self, cancelled: &dyn Fn() -> bool) -> Result<Vec<Vec<FileHash>>> {
        let mut read: Vec<(&Path, Vec<FileHash>)> = Vec::new();
        let mut all = Vec::new();
        for (askable, one) in &self.asked {
            let known = read.iter().find(|(path, _)| *path == askable.model).map(|(_, files)| files.clone());
            let mut files = if let Some(files) = known {
                files
            } else {
                let files = one.files.hashes(cancelled)?;
                read.push((&askable.model, files.clone()));
                files
            };
            for (dir, name) in askable.adapter.iter().flat_map(|dir| [(dir, peft::CONFIG), (dir, peft::WEIGHTS)]) {
                files.push(FileHash::of(&dir.join(name), name, cancelled)?);
            }
            all.push(files);
        }
        Ok(all)
    }
}

/// What a row of the KV cache consists of.
fn rows(config: &Config) -> (usize, usize, usize) {
    (config.layers, config.kv_heads, config.head_dim)
}

fn longest(tokens: &Tokens) -> usize {
    tokens.tokenizer.get_vocab(true).keys().map(String::len).max().unwrap_or(1)
}

/// The last part of a path, without what says that it is GGUF. What a run was merged to is called `merged` like every other: before it
/// stands the run.
pub fn name(path: &Path) -> String {
    let real = path.canonicalize();
    let part = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let real = real.as_deref().unwrap_or(path);
    let last = part(real);
    match real.parent().map(part).filter(|run| last == MERGED && !run.is_empty()) {
        Some(run) => format!("{run}-{last}"),
        None => last.strip_suffix(".gguf").map_or(last.clone(), str::to_owned),
    }
}
