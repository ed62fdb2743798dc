//! The check run: what the merged model says beside what the base says with the adapter on.
//!
//! Rounding to a narrow type moves the logits, and how far depends on the model. So that is measured too: the base
//! with the adapter on, each weight moved by what rounding did to the merged weight, but the other way. To first
//! order this moves the logits exactly as far. What goes beyond three times that, and beyond what sums in f32 differ
//! by, is no rounding.
//!
//! Layers are read one at a time and pass through all models at once, so that a model of any size is checked in the
//! memory of its largest layer or of its embedding.

use candle_core::{DType, Device, Tensor};

use super::weights::{Base, Sum};
use crate::{
    data::{Batch, Example},
    error::{Error, Result},
    formats::{model_files::ModelFiles, peft::AdapterFile},
    model::{
        config::Config,
        context::{Context, Mode},
        head::Head,
        layer::Layer,
        load::{self, LoadOptions, Source},
        rope::Rotary,
    },
};

/// Sums in f32 in another order: this share of the largest logit.
const SINGLE: f64 = 1e-4;
/// Rounding and its mirror image move the logits as far to first order, but not at the same token.
const MARGIN: f64 = 3.0;

/// How near the merged model comes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Check {
    /// Tokens that were asked.
    pub tokens: usize,
    /// Largest difference of a logit from that with the adapter on.
    pub largest: f64,
    /// What the type of the merged weights explains.
    pub explained: f64,
    /// Largest difference that the adapter makes to a logit of the base.
    pub effect: f64,
}

impl Check {
    /// Whether the merged model is the base with the adapter.
    pub fn good(&self) -> bool {
        self.largest <= self.explained
    }
}

/// The base with each weight moved by what rounding to `dtype` did to the merged one, the other way.
struct Mirror<'a> {
    sum: &'a Sum<'a>,
    dtype: DType,
}

impl Source for Mirror<'_> {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let single = |t: Tensor| t.to_dtype(DType::F32);
        let merged = single(self.sum.tensor(name, shape)?)?;
        let moved = (single(merged.to_dtype(self.dtype)?)? - merged)?;
        Ok((single(self.sum.base.tensor(name, shape)?)? - moved)?)
    }
}

/// Ask all of them the same. `each` is called after every layer, and stops it by `false`.
///
/// # Errors
/// Reading fails, logits are not numbers, or it was stopped.
pub(super) fn check(
    (base, adapter): (&Base, &AdapterFile),
    (merged, dtype): (&ModelFiles, DType),
    prompts: &[Vec<u32>],
    each: &dyn Fn() -> bool,
) -> Result<Check> {
    let config = base.files.config();
    let sum = Sum { base, adapter };
    let mirror = Mirror { sum: &sum, dtype };
    // Whose weights, and whether the adapter is put on them.
    let models: [(&dyn Source, bool); 4] = [(base, false), (base, true), (&mirror, true), (merged, false)];
    let mut batch = Batch::default();
    for (row, ids) in (0..).zip(prompts) {
        batch.push(&Example { ids: ids.clone(), trained: vec![false; ids.len()] }, row);
    }
    let (spans, keys) = (batch.spans().0, None);
    let (cos, sin) = Rotary::new(&config.inv_freq()).angles(&batch.positions, DType::F32, &Device::Cpu)?;
    let context = Context { cos, sin, spans: &spans, keys, mode: Mode::Eval };
    let ids = Tensor::new(&batch.ids[..], &Device::Cpu)?;
    let embed = |(source, _): &(&dyn Source, bool)| -> Result<Tensor> {
        let embedding = source.tensor("model.embed_tokens.weight", &[config.vocab_size, config.hidden_size])?;
        Ok(embedding.index_select(&ids, 0)?.to_dtype(DType::F32)?)
    };
    let mut states = models.iter().map(embed).collect::<Result<Vec<_>>>()?;
    for i in 0..config.layers {
        for ((source, with), x) in models.iter().zip(&mut states) {
            let mut layer = load::layer(config, *source, &LoadOptions::default(), i)?;
            if *with {
                put(&mut layer, adapter)?;
            }
            *x = layer.forward(x, &context, None)?.0;
        }
        if !each() {
            return Err(Error::Stopped);
        }
    }
    let mut logits = Vec::new();
    for ((source, _), x) in models.iter().zip(&states) {
        logits.push(head(config, *source)?.logits(x)?.flatten_all()?.to_vec1::<f32>()?);
    }
    let [plain, on, mirrored, merged] = [0, 1, 2, 3].map(|i| &logits[i]);
    if on.iter().chain(merged).any(|x| !x.is_finite()) {
        return Err(Error::model(base.files.path(), "with this adapter the logits are not numbers: it is spoilt"));
    }
    let top = on.iter().fold(1.0, |top, x| f64::from(x.abs()).max(top));
    Ok(Check {
        tokens: batch.tokens(),
        largest: apart(on, merged),
        explained: MARGIN * apart(on, mirrored) + SINGLE * top,
        effect: apart(on, plain),
    })
}

fn apart(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max)
}

fn put(layer: &mut Layer, adapter: &AdapterFile) -> Result<()> {
    layer.linears_mut().into_iter().try_for_each(|linear| adapter.attach_to(linear, DType::F32, &Device::Cpu))
}

/// What the files hold as the head, and the embedding only where they hold none.
fn head(config: &Config, source: &dyn Source) -> Result<Head> {
    let (hidden, vocab) = (config.hidden_size, config.vocab_size);
    Ok(Head {
        norm: source.tensor("model.norm.weight", &[hidden])?.to_dtype(DType::F32)?.into(),
        weight: source.tensor("lm_head.weight", &[vocab, hidden])?.into(),
        eps: config.rms_norm_eps,
    })
}
