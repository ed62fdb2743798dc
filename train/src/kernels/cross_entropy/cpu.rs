//! Softmax cross-entropy of a few rows of logits, and its gradient in their place.

use rayon::prelude::*;

use super::{
    norm::dot,
    real::{Real, simd},
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

/// `logits` [C, V] become their gradient, `scale (softmax - onehot(target))`, unless `scale` is 0: then they
/// are spent all the same.
pub fn cross_entropy<T: Real>(logits: &mut [T], targets: &[u32], scale: f64) -> Vec<RowLoss> {
    let v = logits.len() / targets.len().max(1);
    logits.par_chunks_mut(v).zip(targets).map(|(row, target)| one(row, *target as usize, T::of(scale))).collect()
}

fn one<T: Real>(row: &mut [T], target: usize, scale: T) -> RowLoss {
    const LANES: usize = 16;
    simd(
        #[inline(always)]
        || {
            let mut tops = [T::LEAST; LANES];
            let lanes = row.chunks_exact(LANES);
            let rest = lanes.remainder().iter().fold(T::LEAST, |m, x| m.larger(*x));
            for x in lanes {
                for i in 0..LANES {
                    tops[i] = tops[i].larger(x[i]);
                }
            }
            let top = tops.iter().fold(rest, |m, x| m.larger(*x));
            let hit = row[target];
            // A NaN is never the larger of two, so look for one in the sum below.
            let correct = hit == top && row[..target].iter().all(|x| *x < top);
            let mut weights = vec![T::ZERO; row.len()];
            for (w, x) in weights.iter_mut().zip(row.iter()) {
                *w = (*x - top).power();
            }
            // The sum in f64 of partial sums: 128k terms in f32 would cost three digits.
            let ones = [T::ONE; 1024];
            let total: f64 = weights.chunks(1024).map(|c| dot(c, &ones[..c.len()]).wide()).sum();
            let mean: f64 =
                weights.chunks(1024).zip(row.chunks(1024)).map(|(w, x)| dot(w, x).wide()).sum::<f64>() / total;
            let logit = row.chunks(1024).map(|x| dot(x, &ones[..x.len()]).wide()).sum::<f64>();
            #[allow(clippy::cast_precision_loss, reason = "a vocabulary is small")]
            let logit = logit / row.len() as f64;
            let lse = top.wide() + total.ln();
            let factor = scale * T::of(1.0 / total);
            for (x, w) in row.iter_mut().zip(&weights) {
                *x = factor * *w;
            }
            row[target] -= scale;
            RowLoss { nll: lse - hit.wide(), entropy: lse - mean, logit, correct }
        },
    )
}
