//! What is served: a base model, and adapters on it, each a model of its own beside it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use setaccio_base::progress::Progress;
use setaccio_train::{
    Error, Result,
    artifacts::finished_run::FinishedRun,
    formats::{model_files::ModelFiles, peft},
    generate::load_model,
    model::llama::Llama,
    recipe::{self, Method},
    tokenizer::Tokens,
};

/// A model that can be asked.
#[derive(Clone, Debug)]
pub struct Served {
    /// What requests call it.
    pub id: String,
    /// What makes tokens of texts.
    pub tokens: Arc<Tokens>,
    /// Rows of its embedding.
    pub vocab: usize,
    /// Bytes of its longest token, as the tokenizer writes it.
    pub longest: usize,
    /// The base that it is an adapter of.
    pub parent: Option<String>,
}

/// All that is served, and the models of the engine in the same order.
pub struct Loaded {
    /// What requests see.
    pub served: Vec<Served>,
    /// What computes.
    pub models: Vec<Arc<Llama>>,
    /// Tokens that a model can look at.
    pub positions: usize,
}

/// Load `model`, a folder, a GGUF file or a run of `setaccio train`, and `adapters`, folders in PEFT's format or runs.
///
/// # Errors
/// One of them cannot be read, or an adapter is another model's.
pub fn load(model: &Path, adapters: &[PathBuf], device: recipe::Device, progress: &dyn Progress) -> Result<Loaded> {
    let mut adapters: Vec<(PathBuf, PathBuf)> = adapters.iter().map(|path| adapter(path)).collect::<Result<_>>()?;
    let base = match run(model)? {
        Some(FinishedRun { made, method: Method::Full, .. }) => made,
        Some(FinishedRun { base, made, .. }) => {
            adapters.insert(0, (model.to_owned(), made));
            base
        }
        None => model.to_owned(),
    };
    let files = ModelFiles::open(&base)?;
    files.check()?;
    let tokens = Arc::new(Tokens::open(&base)?);
    // All that can be refused is, before the model is loaded.
    let adapters = adapters.into_iter().map(|(named, dir)| {
        let file = peft::load(&dir)?;
        file.fits(files.config(), &dir)?;
        // What an adapter was trained with lies beside it.
        let own = dir.join("tokenizer.json").exists();
        let tokens = if own { Arc::new(Tokens::open(&dir)?) } else { tokens.clone() };
        Ok((name(&named), file, tokens))
    });
    let adapters = adapters.collect::<Result<Vec<_>>>()?;
    let id = name(&base);
    let mut ids = vec![id.clone()];
    for (adapter, ..) in &adapters {
        if ids.contains(adapter) {
            return Err(Error::Other(format!("two models would be called `{adapter}`: rename one of their folders")));
        }
        ids.push(adapter.clone());
    }
    let config = files.config();
    let positions = config.max_position_embeddings;
    let plain = load_model(&files, device, progress)?;
    let longest = longest(&tokens);
    let mut served = vec![Served { id: id.clone(), tokens, vocab: config.vocab_size, longest, parent: None }];
    let mut models = vec![Arc::new(plain.clone())];
    for (adapter, file, tokens) in adapters {
        // The base's weights are shared.
        let mut model = plain.clone();
        file.attach(&mut model)?;
        let vocab = file.applied(config).vocab_size;
        let longest = self::longest(&tokens);
        served.push(Served { id: adapter, tokens, vocab, longest, parent: Some(id.clone()) });
        models.push(Arc::new(model));
    }
    Ok(Loaded { served, models, positions })
}

fn run(path: &Path) -> Result<Option<FinishedRun>> {
    FinishedRun::is_in(path).then(|| FinishedRun::open(path)).transpose()
}

fn longest(tokens: &Tokens) -> usize {
    tokens.tokenizer.get_vocab(true).keys().map(String::len).max().unwrap_or(1)
}

/// What an adapter is called by, and its folder.
fn adapter(path: &Path) -> Result<(PathBuf, PathBuf)> {
    match run(path)? {
        Some(FinishedRun { method: Method::Full, .. }) => {
            Err(Error::Other(format!("{} trained every weight: it is a model, and no adapter", path.display())))
        }
        Some(FinishedRun { made, .. }) => Ok((path.to_owned(), made)),
        None => Ok((path.to_owned(), path.to_owned())),
    }
}

/// The last part of a path, without what says that it is GGUF.
fn name(path: &Path) -> String {
    let real = path.canonicalize();
    let last = real.as_deref().unwrap_or(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
    last.strip_suffix(".gguf").map_or(last.clone(), str::to_owned)
}
