//! What an adapter has to do with the embedding and the head, which in many models are one matrix.
//!
//! PEFT takes a tied head apart where either has an adapter or is saved whole: the head stays what the embedding was. With
//! `ensure_weight_tying` both stay one, and its files hold both, equal. What is written here for such models is the second.

use std::{collections::BTreeMap, path::Path};

use candle_core::{DType, Device, Tensor};

use super::{AdapterConfig, AdapterFile};
use crate::{
    error::{Error, Result},
    model::{
        config::Config, embedding::Embedding, head::Head, llama::Llama, lora::LoraLayer, maybe_trained::MaybeTrained,
    },
    recipe::{EMBEDDING, HEAD},
};

impl AdapterFile {
    /// What a model has trained. Of one matrix that is embedding and head PEFT looks for both names.
    /// With `grown`, the model has more rows of both than its base, and they are saved whatever is trained, as PEFT does.
    pub fn of(config: AdapterConfig, model: &Llama, grown: bool) -> Result<Self> {
        let (mut tensors, mut saved) = (model.adapters()?, model.saved()?);
        if grown {
            for (module, weight) in [(EMBEDDING, &model.embedding.weight), (HEAD, &model.head.weight)] {
                let one = module == HEAD && model.tied();
                if !one && !saved.contains_key(module) {
                    saved.insert(module.to_owned(), weight.tensor().copy()?.to_device(&Device::Cpu)?);
                }
            }
        }
        if config.beside.tied {
            let (pair, whole) = (tensors.get(EMBEDDING).cloned(), saved.get(EMBEDDING).cloned());
            tensors.extend(pair.map(|pair| (HEAD.to_owned(), pair)));
            saved.extend(whole.map(|whole| (HEAD.to_owned(), whole)));
        }
        Ok(Self { config, tensors, saved, magnitudes: model.magnitudes()? })
    }

    /// Whether embedding and head of this base are one matrix with the adapter on, too.
    pub(super) fn is_tied(&self, base: &Config) -> bool {
        base.tie_word_embeddings && self.config.beside.tied
    }

    /// What a base is with the adapter on or merged: its head may be another matrix than its embedding, and its vocabulary may have
    /// grown.
    pub fn applied(&self, base: &Config) -> Config {
        let touched = [EMBEDDING, HEAD].iter().any(|m| self.tensors.contains_key(*m) || self.saved.contains_key(*m));
        let apart = touched && !self.config.beside.tied;
        let rows = self.saved.get(EMBEDDING).and_then(|saved| saved.dims().first().copied());
        Config {
            tie_word_embeddings: base.tie_word_embeddings && !apart,
            vocab_size: rows.unwrap_or(base.vocab_size),
            ..base.clone()
        }
    }

    /// The same as [`Self::applied`] but for the head.
    ///
    /// # Errors
    /// Only one of two tables has grown.
    pub(super) fn applied_within(&self, base: &Config, file: &Path) -> Result<Config> {
        let vocab_size = self.applied(base).vocab_size;
        let without =
            (vocab_size > base.vocab_size && !self.is_tied(base) && !self.saved.contains_key(HEAD)).then_some(HEAD);
        let short = (vocab_size < base.vocab_size).then_some(EMBEDDING);
        match without.or(short) {
            None => Ok(Config { vocab_size, ..base.clone() }),
            Some(module) => {
                let why = format!(
                    "the embedding has {vocab_size} rows, the base {}, and the head is not the adapter's",
                    base.vocab_size
                );
                Err(Error::tensor(file, module, format!("{why}: it belongs to another model")))
            }
        }
    }

    /// The module that the adapter has of a tensor of the base: a tied head's is the embedding.
    pub fn module_of<'a>(&self, tensor: &'a str, base: &Config) -> &'a str {
        match tensor.strip_suffix(".weight").unwrap_or(tensor) {
            HEAD if self.is_tied(base) => EMBEDDING,
            module => module,
        }
    }

    /// The adapter of the embedding or the head, for use.
    pub fn lora_of_table(
        &self,
        tensor: &str,
        base: &Config,
        dtype: DType,
        device: &Device,
    ) -> Result<Option<LoraLayer>> {
        self.for_use(self.module_of(tensor, base), dtype, device)
    }

    /// Check the modules that are saved whole, given those that a base has and their shapes.
    pub(super) fn check_saved(&self, whole: &BTreeMap<String, Vec<usize>>, file: &Path) -> Result<()> {
        if let Some(module) = [EMBEDDING, HEAD].into_iter().find(|module| self.magnitudes.contains_key(*module)) {
            return Err(Error::tensor(
                file,
                module,
                "has DoRA upon embedding or head: only that upon linear layers is supported",
            ));
        }
        for (module, saved) in &self.saved {
            let Some(shape) = whole.get(module) else {
                let why = "is saved whole, and only embedding, head and norms of the base can be: not supported";
                return Err(Error::tensor(file, module, why));
            };
            if saved.dims() != &shape[..] {
                let why = format!("is {:?}, and the base model's is {shape:?}", saved.dims());
                return Err(Error::tensor(file, module, format!("{why}: it belongs to another model")));
            }
        }
        let named = whole.keys().find(|module| {
            // The one matrix is there under one name or both.
            let twin = self.config.beside.tied && module.as_str() == HEAD && self.saved.contains_key(EMBEDDING);
            self.config.saves(module) && !self.saved.contains_key(*module) && !twin
        });
        match named {
            Some(module) => {
                Err(Error::tensor(file, module, "`modules_to_save` names it, but the adapter has no weights for it"))
            }
            None => Ok(()),
        }
    }

    /// Check that what is said of both names of one matrix is the same.
    pub(super) fn check_tied(&self, base: &Config, file: &Path) -> Result<()> {
        if !self.is_tied(base) {
            return Ok(());
        }
        let values = |t: &Tensor| -> Result<Vec<f32>> { Ok(t.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?) };
        let pairs = |module: &str| self.tensors.get(module).map(|(a, b)| vec![a, b]);
        let whole = |module: &str| self.saved.get(module).map(|saved| vec![saved]);
        for (head, embedding) in [(pairs(HEAD), pairs(EMBEDDING)), (whole(HEAD), whole(EMBEDDING))] {
            let Some(head) = head else { continue };
            let same = match embedding {
                None => false,
                Some(embedding) => {
                    let mut all = head.iter().zip(&embedding);
                    all.try_fold(true, |same, (a, b)| Ok::<_, Error>(same && values(a)? == values(b)?))?
                }
            };
            if !same {
                let why = "is not the embedding's, and `ensure_weight_tying` says that both are one";
                return Err(Error::tensor(file, HEAD, why));
            }
        }
        Ok(())
    }

    /// Put what the adapter has for embedding, last norm and head on them, for use.
    pub fn attach_to_tables(&self, embedding: &mut Embedding, head: &mut Head, dtype: DType) -> Result<()> {
        let device = embedding.weight.tensor().device().clone();
        let one = head.weight.tensor().id() == embedding.weight.tensor().id();
        let saved = |module: &str| self.saved.get(module).map(|saved| held(saved, dtype, &device)).transpose();
        if let Some(saved) = saved(EMBEDDING)? {
            embedding.weight = saved;
        }
        embedding.lora = self.for_use(EMBEDDING, dtype, &device)?;
        self.attach_to_norm(&mut head.norm, dtype, &device)?;
        if one && self.config.beside.tied {
            (head.weight, head.lora) = (embedding.weight.clone(), embedding.lora.clone());
            return Ok(());
        }
        if let Some(saved) = saved(HEAD)? {
            head.weight = saved;
        }
        head.lora = self.for_use(HEAD, dtype, &device)?;
        Ok(())
    }
}

/// A GPU has no kernels for f16.
fn held(saved: &Tensor, dtype: DType, device: &Device) -> Result<MaybeTrained> {
    let narrow = saved.dtype() == DType::F16 && !device.is_cpu();
    let saved = if narrow { saved.to_dtype(dtype)? } else { saved.clone() };
    Ok(saved.to_device(device)?.into())
}
