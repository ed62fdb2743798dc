//! The router of a layer with experts: which ones each token goes through, and how much of each. T tokens, hidden width H, E
//! experts, of which a token goes through K: p = softmax(x W^T), the K largest of p are its weights, as they are or brought to a
//! sum of 1. Backward: with dw the gradients of the weights of the chosen ones, 0 for others, dlogit = w (dw - sum of w dw) where
//! they are brought to 1, which is a softmax over the chosen ones alone, and p (dw - sum of p dw) where they are not.

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use super::maybe_trained::MaybeTrained;
use crate::{error::Result, kernels};

/// A router. It has no adapter, as in PEFT.
#[derive(Clone, Debug)]
pub struct Router {
    /// Hugging Face name without `.weight`, e.g. `model.layers.0.mlp.gate`.
    pub name: String,
    /// [E, H]
    pub weight: MaybeTrained,
    /// K
    pub chosen: usize,
    /// Whether the weights are brought to a sum of 1.
    pub to_one: bool,
}

/// The tokens that go through one expert.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Share {
    /// Their rows among T, ascending.
    pub tokens: Vec<u32>,
    /// How much each has of the expert's output.
    pub weights: Vec<f64>,
}

impl Router {
    /// Each expert's share of `x` [T, H]. Of equal probabilities that of the first expert is the larger one.
    pub fn shares(&self, x: &Tensor) -> Result<Vec<Share>> {
        let (probabilities, experts) = self.probabilities(x)?;
        let choose = |row: &[f64]| {
            let mut order: Vec<usize> = (0..row.len()).collect();
            order.sort_by(|a, b| row[*b].total_cmp(&row[*a]));
            order.truncate(self.chosen);
            let sum = if self.to_one { order.iter().map(|e| row[*e]).sum() } else { 1.0 };
            order.into_iter().map(|e| (e, row[e] / sum)).collect::<Vec<_>>()
        };
        let chosen: Vec<Vec<(usize, f64)>> = probabilities.par_chunks(experts.max(1)).map(choose).collect();
        let mut shares = vec![Share::default(); experts];
        for (token, chosen) in (0_u32..).zip(chosen) {
            for (expert, weight) in chosen {
                shares[expert].tokens.push(token);
                shares[expert].weights.push(weight);
            }
        }
        Ok(shares)
    }

    /// Given the gradients of the weights of each share, add to that of `x`, `dx` [T, H], and to the router's own if it is trained.
    pub fn backward(&self, shares: &[Share], dweights: &[Vec<f64>], x: &Tensor, dx: &Tensor) -> Result<()> {
        let (tokens, experts) = (x.dim(0)?, shares.len());
        let each = || {
            let pairs = shares.iter().zip(dweights).enumerate();
            pairs.flat_map(|(expert, (share, dweights))| {
                let of = share.tokens.iter().zip(&share.weights).zip(dweights);
                of.map(move |((token, weight), d)| (*token as usize, expert, *weight, *d))
            })
        };
        // Those of others are 0 here.
        let mut dlogits = vec![0.0_f64; tokens * experts];
        let mut sums = vec![0.0_f64; tokens];
        for (token, _, weight, d) in each() {
            sums[token] += weight * d;
        }
        if self.to_one {
            for (token, expert, weight, d) in each() {
                dlogits[token * experts + expert] = weight * (d - sums[token]);
            }
        } else {
            for (token, expert, _, d) in each() {
                dlogits[token * experts + expert] = d;
            }
            let (probabilities, _) = self.probabilities(x)?;
            for (i, (d, p)) in dlogits.iter_mut().zip(probabilities).enumerate() {
                *d = p * (*d - sums[i / experts]);
            }
        }
        let dlogits = Tensor::from_vec(dlogits, (tokens, experts), &Device::Cpu)?.to_dtype(x.dtype())?;
        let dlogits = dlogits.to_device(x.device())?;
        kernels::gemm_(dx, &dlogits, &self.weight.to_dtype(x.dtype())?, 1.0, 1.0)?;
        match self.weight.param() {
            Some(param) => kernels::gemm_(&param.grad, &dlogits.t()?, x, 1.0, 1.0),
            None => Ok(()),
        }
    }

    /// p of every token, [T, E] in rows, and E. A token's do not depend on which others there are.
    fn probabilities(&self, x: &Tensor) -> Result<(Vec<f64>, usize)> {
        let weight = self.weight.to_dtype(x.dtype())?;
        let experts = weight.dim(0)?;
        let logits = kernels::empty((x.dim(0)?, experts), x.dtype(), x.device())?;
        kernels::rows_(&logits, x, &weight, 1.0, 0.0)?;
        let mut all = logits.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
        all.par_chunks_mut(experts.max(1)).for_each(|row| {
            let top = row.iter().fold(f64::NEG_INFINITY, |top, x| top.max(*x));
            for x in row.iter_mut() {
                *x = (*x - top).exp();
            }
            let sum: f64 = row.iter().sum();
            for x in row.iter_mut() {
                *x /= sum;
            }
        });
        Ok((all, experts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(rows: &[[f64; 2]], chosen: usize, to_one: bool) -> Router {
        let weight = Tensor::from_slice(rows.as_flattened(), (rows.len(), 2), &Device::Cpu).unwrap();
        Router { name: "gate".into(), weight: weight.into(), chosen, to_one }
    }

    /// Worked out by hand: logits ln 1, ln 2, ln 5 are probabilities of 1, 2 and 5 eighths.
    #[test]
    fn the_largest_probabilities_are_chosen_and_the_first_of_equal_ones() {
        let of = [1.0_f64, 2.0, 5.0].map(|p| [p.ln(), 0.0]);
        let x = Tensor::new(&[[1.0_f64, 7.0], [0.0, 7.0]], &Device::Cpu).unwrap();
        for (to_one, sum) in [(true, 7.0 / 8.0), (false, 1.0)] {
            let shares = router(&of, 2, to_one).shares(&x).unwrap();
            let tokens: Vec<&[u32]> = shares.iter().map(|share| &share.tokens[..]).collect();
            // All are equal to the second token.
            assert_eq!(tokens, [&[1][..], &[0, 1], &[0]]);
            let third = if to_one { 0.5 } else { 1.0 / 3.0 };
            for (got, want) in shares.iter().zip([vec![third], vec![0.25 / sum, third], vec![0.625 / sum]]) {
                assert!(got.weights.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-12), "{got:?} {want:?}");
            }
        }
    }
}
