//! A base model, and what was made of it, each a model of its own beside it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use setaccio_base::progress::Progress;
use setaccio_train::{
    Error, Result,
    artifacts::finished_run::FinishedRun,
    askable::Askable,
    generate::load_model,
    model::{config::Config, llama::Llama},
    recipe,
    tokenizer::Tokens,
};

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

/// Load `model`, a folder, a GGUF file, a run of `setaccio train` or a chain, and `adapters`, folders in PEFT's format or runs, upon
/// its first model. Without `base`, what a run or a chain began with is not served.
///
/// # Errors
/// One of them cannot be read, an adapter is another model's, or two models go by one name.
pub fn load(
    model: &Path,
    adapters: &[PathBuf],
    base: bool,
    device: recipe::Device,
    progress: &dyn Progress,
) -> Result<Loaded> {
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
    // All that can be refused is, before a model is loaded.
    let mut ids: Vec<String> = Vec::new();
    let opened = all.iter().map(|asked| {
        let id = name(&asked.named);
        if ids.contains(&id) {
            return Err(Error::Other(format!("two models would be called `{id}`: rename one of their folders")));
        }
        ids.push(id);
        asked.open()
    });
    let opened = opened.collect::<Result<Vec<_>>>()?;
    let config = opened[0].files.config();
    for (asked, one) in all.iter().zip(&opened) {
        let (other, [a, b]) = (one.files.config(), [config, one.files.config()].map(rows));
        if a != b || other.max_position_embeddings != config.max_position_embeddings {
            let why = format!("its layers are not those of {}: serve it by itself", all[0].named.display());
            return Err(Error::model(&asked.named, why));
        }
    }
    let (mut served, mut models) = (Vec::new(), Vec::new());
    let mut loaded: Vec<(&Path, Llama)> = Vec::new();
    for ((asked, one), id) in all.iter().zip(&opened).zip(&ids) {
        // Weights are shared by all that is on them.
        let shared = loaded.iter().find(|(path, _)| *path == asked.model).map(|(_, model)| model.clone());
        let mut model = if let Some(model) = shared {
            model
        } else {
            let model = load_model(&one.files, device, progress)?;
            loaded.push((&asked.model, model.clone()));
            model
        };
        one.attach(&mut model)?;
        let parent = (base && !models.is_empty()).then(|| ids[0].clone());
        let (tokens, longest) = (Arc::new(one.tokens.clone()), longest(&one.tokens));
        served.push(Served { id: id.clone(), tokens, vocab: one.vocab, longest, parent });
        models.push(Arc::new(model));
    }
    Ok(Loaded { served, models, positions: config.max_position_embeddings })
}

/// What a row of the KV cache consists of.
fn rows(config: &Config) -> (usize, usize, usize) {
    (config.layers, config.kv_heads, config.head_dim)
}

fn longest(tokens: &Tokens) -> usize {
    tokens.tokenizer.get_vocab(true).keys().map(String::len).max().unwrap_or(1)
}

/// The last part of a path, without what says that it is GGUF.
fn name(path: &Path) -> String {
    let real = path.canonicalize();
    let last = real.as_deref().unwrap_or(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
    last.strip_suffix(".gguf").map_or(last.clone(), str::to_owned)
}
