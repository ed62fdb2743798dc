//! Cross-entropy on the CPU.

use candle_core::Tensor;
use rayon::prelude::*;

use crate::{
    error::{Error, Result},
    kernels::{
        float::{Float, with_float},
        simd::{dot, simd},
        storage::update,
    },
};

/// What one row of logits says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RowLoss {
    /// -log p(target), in nats.
    pub nll: f64,
    /// Entropy of the distribution, in nats.
    pub entropy: f64,
    /// Mean of the row's logits.
    pub logit: f64,
    /// Whether the target is the most probable token (the first of equals).
    pub correct: bool,
}

/// (C, V) of `logits` [C, V] with a target for each row.
///
/// # Errors
/// Another number of targets, or one outside the vocabulary.
pub fn dims(logits: &Tensor, targets: &[u32]) -> Result<(usize, usize)> {
    let (rows, vocab) = logits.dims2()?;
    if rows != targets.len() {
        return Err(Error::Other(format!("{rows} rows of logits for {} targets", targets.len())));
    }
    match targets.iter().find(|t| **t as usize >= vocab) {
        Some(target) => Err(Error::Other(format!("target {target} is outside the vocabulary of {vocab}"))),
        None => Ok((rows, vocab)),
    }
}

pub fn cross_entropy_(logits: &Tensor, targets: &[u32], scale: f64, cap: Option<f64>) -> Result<Vec<RowLoss>> {
    let (_, vocab) = dims(logits, targets)?;
    with_float!(logits, T => update::<T, _>(logits, |logits| {
        let rows = logits.par_chunks_mut(vocab.max(1)).zip(targets);
        rows.map(|(row, target)| row_loss(row, *target as usize, scale, cap)).collect()
    }))
}

fn row_loss<T: Float>(row: &mut [T], target: usize, scale: f64, cap: Option<f64>) -> RowLoss {
    const LANES: usize = 16;
    let (scale, cap) = (T::from_f64(scale), cap.map(T::from_f64));
    simd(
        #[inline(always)]
        || {
            if let Some(cap) = cap {
                for x in row.iter_mut() {
                    *x = cap * (*x / cap).tanh();
                }
            }
            let mut tops = [T::NEG_INFINITY; LANES];
            let lanes = row.chunks_exact(LANES);
            let rest = lanes.remainder().iter().fold(T::NEG_INFINITY, |m, x| m.maximum(*x));
            for x in lanes {
                for i in 0..LANES {
                    tops[i] = tops[i].maximum(x[i]);
                }
            }
            let top = tops.iter().fold(rest, |m, x| m.maximum(*x));
            let hit = row[target];
            // A NaN is never the larger of two, so look for one in the sum below.
            let correct = hit == top && row[..target].iter().all(|x| *x < top);
            let mut weights = vec![T::ZERO; row.len()];
            for (w, x) in weights.iter_mut().zip(row.iter()) {
                *w = (*x - top).exp();
            }
            // The sum in f64 of partial sums: 128k terms in f32 would cost three digits.
            let ones = [T::ONE; 1024];
            let total: f64 = weights.chunks(1024).map(|c| dot(c, &ones[..c.len()]).to_f64()).sum();
            let mean: f64 =
                weights.chunks(1024).zip(row.chunks(1024)).map(|(w, x)| dot(w, x).to_f64()).sum::<f64>() / total;
            let logit = row.chunks(1024).map(|x| dot(x, &ones[..x.len()]).to_f64()).sum::<f64>();
            #[allow(clippy::cast_precision_loss, reason = "a vocabulary is small")]
            let logit = logit / row.len() as f64;
            let lse = top.to_f64() + total.ln();
            let factor = scale * T::from_f64(1.0 / total);
            for w in &mut weights {
                *w *= factor;
            }
            weights[target] -= scale;
            match cap {
                None => row.copy_from_slice(&weights),
                Some(cap) => {
                    for (x, w) in row.iter_mut().zip(&weights) {
                        let t = *x / cap;
                        *x = *w * (T::ONE - t * t);
                    }
                }
            }
            RowLoss { nll: lse - hit.to_f64(), entropy: lse - mean, logit, correct }
        },
    )
}
