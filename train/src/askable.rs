//! What a path names that can be asked: a model, what a run made and its base, what a chain made and its base. Whoever asks loads it
//! here, so that all find the same models, tokenizers and templates behind one path.

use std::path::{Path, PathBuf};

use setaccio_base::progress::Progress;

use crate::{
    artifacts::finished_run::FinishedRun,
    chain::finished::Finished,
    error::{Error, Result},
    formats::{
        model_files::ModelFiles,
        peft::{self, AdapterFile},
    },
    generate::load_model,
    model::llama::Llama,
    recipe::{self, Method},
    tokenizer::Tokens,
};

/// Something that can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Askable {
    /// The path that it goes by: a model's, a run's, a chain's, an adapter's.
    pub named: PathBuf,
    /// The folder or GGUF file with the weights.
    pub model: PathBuf,
    /// The folder of an adapter on them.
    pub adapter: Option<PathBuf>,
    /// What has the tokenizer and the template.
    pub tokens: PathBuf,
}

impl Askable {
    /// A model by itself.
    pub fn model(path: &Path) -> Self {
        Self { named: path.to_owned(), model: path.to_owned(), adapter: None, tokens: path.to_owned() }
    }

    /// An adapter in PEFT's format on the model in `base`.
    pub fn adapter(named: &Path, base: &Path, adapter: &Path) -> Self {
        // What an adapter was trained with lies beside it.
        let tokens = if adapter.join("tokenizer.json").exists() { adapter } else { base };
        let [named, model, tokens] = [named, base, tokens].map(Path::to_owned);
        Self { named, model, adapter: Some(adapter.to_owned()), tokens }
    }

    /// All that `path` names: of a run or a chain the base first, then what was made of it; of a folder or a GGUF file the model in it.
    ///
    /// # Errors
    /// A run or a chain is not finished, or what it made was changed since.
    pub fn all(path: &Path) -> Result<Vec<Self>> {
        if Finished::is_in(path) {
            let Finished { base, result, asks, .. } = Finished::open(path)?;
            let before = Self { tokens: asks.clone(), ..Self::model(&base) };
            return Ok(vec![before, Self { named: path.to_owned(), model: result, adapter: None, tokens: asks }]);
        }
        if !FinishedRun::is_in(path) {
            return Ok(vec![Self::model(path)]);
        }
        let FinishedRun { base, made, method, .. } = FinishedRun::open(path)?;
        let after = match method {
            Method::Lora => Self::adapter(path, &base, &made),
            Method::Full => Self { named: path.to_owned(), ..Self::model(&made) },
        };
        Ok(vec![Self::model(&base), after])
    }

    /// What `path` names, after training.
    ///
    /// # Errors
    /// As of [`Self::all`].
    pub fn last(path: &Path) -> Result<Self> {
        Self::all(path)?.pop().ok_or_else(|| Error::model(path, "names nothing that can be asked"))
    }

    /// Open its files and check that they fit each other, before any weight is read.
    ///
    /// # Errors
    /// One of them cannot be read, or the adapter is another model's.
    pub fn open(&self) -> Result<Opened> {
        let files = ModelFiles::open(&self.model)?;
        files.check()?;
        let tokens = Tokens::open(&self.tokens)?;
        let adapter = self.adapter.as_ref().map(|dir| {
            let file = peft::load(dir)?;
            file.fits(files.config(), dir)?;
            Ok::<_, Error>(file)
        });
        let adapter = adapter.transpose()?;
        let config = adapter.as_ref().map_or_else(|| files.config().clone(), |file| file.applied(files.config()));
        Ok(Opened { files, tokens, adapter, vocab: config.vocab_size })
    }
}

/// Something that can be asked, with its files open.
pub struct Opened {
    /// The weights.
    pub files: ModelFiles,
    /// What makes tokens of texts.
    pub tokens: Tokens,
    /// On the weights.
    pub adapter: Option<AdapterFile>,
    /// Rows of the embedding, those that the adapter adds too.
    pub vocab: usize,
}

impl Opened {
    /// The weights and what is on them, in the memory of what computes.
    ///
    /// # Errors
    /// Reading fails, there is no memory, or it was stopped.
    pub fn load(&self, device: recipe::Device, progress: &dyn Progress) -> Result<Llama> {
        let mut model = load_model(&self.files, device, progress)?;
        self.attach(&mut model)?;
        Ok(model)
    }

    /// Put the adapter, if there is one, on weights that are loaded.
    ///
    /// # Errors
    /// It does not fit.
    pub fn attach(&self, model: &mut Llama) -> Result<()> {
        self.adapter.as_ref().map_or(Ok(()), |file| file.attach(model))
    }
}
