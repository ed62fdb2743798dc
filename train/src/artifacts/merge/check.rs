//! The check run: what the merged model says beside what the base says with the adapter on.
//!
//! Rounding to a narrow type moves the logits, and how far depends on the model. So that is measured too: the base
//! with the adapter on, each weight moved by what rounding did to the merged weight, but the other way. To first
//! order this moves the logits exactly as far. What goes beyond three times that, and beyond what sums in f32 differ
//! by, is no rounding.

use candle_core::{DType, Tensor};

use super::weights::{Base, Replaced, Sum};
use crate::{
    artifacts::side_by_side::{self, Asked, apart, largest},
    error::{Error, Result},
    formats::{model_files::ModelFiles, peft::AdapterFile},
    model::load::Source,
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
        Ok((single(self.sum.upon.tensor(name, shape)?)? - moved)?)
    }
}

/// The first `few` of every `all` numbers.
fn columns(logits: &[f32], all: usize, few: usize) -> Vec<f32> {
    logits.chunks(all).flat_map(|row| &row[..few.min(row.len())]).copied().collect()
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
    let sum = Sum { upon: Replaced { base, adapter } };
    let applied = adapter.applied(config);
    let mirror = Mirror { sum: &sum, dtype };
    let models = [
        Asked { config, source: base, adapter: None },
        Asked { config: &applied, source: &sum.upon, adapter: Some(adapter) },
        Asked { config: &applied, source: &mirror, adapter: Some(adapter) },
        Asked { config: merged.config(), source: merged, adapter: None },
    ];
    let logits = side_by_side::logits(&models, prompts, each)?;
    let [plain, on, mirrored, merged] = [0, 1, 2, 3].map(|i| &logits[i]);
    if on.iter().chain(merged).any(|x| !x.is_finite()) {
        return Err(Error::model(base.files.path(), "with this adapter the logits are not numbers: it is spoilt"));
    }
    // Of tokens that were added the base says nothing.
    let effect = apart(&columns(on, applied.vocab_size, config.vocab_size), plain);
    Ok(Check {
        tokens: prompts.iter().map(Vec::len).sum(),
        largest: apart(on, merged),
        explained: MARGIN * apart(on, mirrored) + SINGLE * largest(on),
        effect,
    })
}
