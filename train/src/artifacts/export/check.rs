//! The check run of a GGUF file: read back, it cuts texts and answers them as the model does that it was made of.
//!
//! What packing to few bits does to the logits depends on the model. So the model is asked a second time, with its weights packed
//! and unpacked in memory: from that the file may differ by what sums in f32 do, whatever the bits.

use std::{collections::BTreeMap, path::Path};

use candle_core::{Tensor, quantized::GgmlDType};
use setaccio_base::progress::Progress;

use crate::{
    artifacts::{
        merge::{self, Base},
        side_by_side::{self, Asked, apart, largest},
    },
    error::{Error, Result},
    formats::{
        gguf::{vocab::Exported, write},
        model_files::ModelFiles,
    },
    model::load::Source,
    tokenizer::Tokens,
};

/// Sums in f32 in another order, and constants of the model in f32: this share of the largest logit.
const SINGLE: f64 = 1e-4;

/// How near a file comes to its model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExportCheck {
    /// Texts that are cut into the same tokens.
    pub texts: usize,
    /// Tokens that were asked.
    pub tokens: usize,
    /// Largest difference of a logit from the model's.
    pub largest: f64,
    /// And from that of the model with its weights packed as in the file.
    pub unexplained: f64,
}

/// The model with its weights packed and unpacked.
struct Packed<'a> {
    base: &'a Base<'a>,
    /// By Hugging Face's name.
    kinds: &'a BTreeMap<String, GgmlDType>,
}

impl Source for Packed<'_> {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        // A head that the file does not have is its embedding.
        let kind = self.kinds.get(name).or_else(|| self.kinds.get("model.embed_tokens.weight"));
        write::rounded(&self.base.tensor(name, shape)?, kind.copied().unwrap_or(GgmlDType::F32))
    }
}

/// Read `file` back and hold it against the model that it was made of.
///
/// # Errors
/// It cannot be read, cuts a text otherwise or says something else; or it was stopped.
pub(super) fn check(
    (base, tokens): (&Base<'_>, &Tokens),
    kinds: &BTreeMap<String, GgmlDType>,
    (file, vocab): (&Path, &Exported),
    progress: &dyn Progress,
) -> Result<ExportCheck> {
    let written = ModelFiles::open_gguf(file)?;
    written.check()?;
    let gguf = written.gguf().ok_or_else(|| Error::model(file, "is no GGUF file"))?;
    let texts = vocab.check(tokens, gguf.all_metadata())?;
    let config = base.files.config();
    let packed = Packed { base, kinds };
    progress.stage("check", config.layers as u64);
    let prompts = merge::prompts(Some(tokens), config)?;
    let models = [
        Asked { config, source: base, adapter: None },
        Asked { config, source: &packed, adapter: None },
        Asked { config: written.config(), source: &written, adapter: None },
    ];
    let logits = side_by_side::logits(&models, &prompts, &|| {
        progress.advance(1, "layers");
        !progress.cancelled()
    })?;
    let [model, packed, found] = [0, 1, 2].map(|i| &logits[i]);
    let check = ExportCheck {
        texts,
        tokens: prompts.iter().map(Vec::len).sum(),
        largest: apart(model, found),
        unexplained: apart(packed, found),
    };
    // What is no number is near nothing.
    let near = check.unexplained <= SINGLE * largest(packed) && found.iter().all(|x| x.is_finite());
    if !near {
        return Err(Error::Other(format!(
            "the check run: logits of the file are up to {:.3e} from those of the model with its weights packed alike, which \
             sums in another order do not explain; nothing was put in place. Tell us of it, with the model's config.json",
            check.unexplained
        )));
    }
    Ok(check)
}
