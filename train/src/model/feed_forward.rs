//! The feed-forward part of a layer: one MLP, or experts, of which a router chooses some for each token, y = sum of w_e MLP_e(x) over
//! those. T tokens, hidden width H.
//!
//! Tokens are grouped by expert, so that each expert is used once for all of its tokens, and what it gives is added to their rows, one
//! expert after the other: neither the grouping nor the order of the sums depends on threads.

use candle_core::Tensor;

use super::{
    context::{Mode, Pass},
    linear::{self, Linear},
    mlp::{Mlp, SavedMlp},
    router::{Router, Share},
};
use crate::{
    error::{Error, Result},
    kernels::{self, RowIndex},
};

/// The feed-forward part of one layer.
#[derive(Clone, Debug)]
pub struct FeedForward {
    /// The MLP, or the experts.
    pub mlps: Vec<Mlp>,
    /// What chooses among experts.
    pub router: Option<Router>,
}

/// Saved for the backward pass: what each MLP saves, and of experts which tokens go through each. Made again: the normed input.
pub struct SavedFeedForward {
    mlps: Vec<Option<SavedMlp>>,
    shares: Vec<Share>,
}

impl FeedForward {
    /// `normed` [T, H] -> [T, H].
    pub fn forward(&self, normed: Tensor, mode: Mode) -> Result<(Tensor, SavedFeedForward)> {
        let Some(router) = &self.router else {
            let (y, saved) = self.only()?.forward(normed, None, mode)?;
            return Ok((y, SavedFeedForward { mlps: vec![Some(saved)], shares: Vec::new() }));
        };
        let shares = router.shares(&normed)?;
        let y = normed.zeros_like()?;
        let mut mlps = Vec::with_capacity(shares.len());
        for (mlp, share) in self.mlps.iter().zip(&shares) {
            mlps.push(if share.tokens.is_empty() { None } else { Some(pass_through(mlp, share, &normed, &y, mode)?) });
        }
        Ok((y, SavedFeedForward { mlps, shares }))
    }

    /// Given the gradient `d` [T, H] of the output, add to the gradients of what is trained; gives the gradient of the
    /// normed input, [T, H]. `normed` makes that input again.
    pub fn backward(
        &self,
        saved: SavedFeedForward,
        d: &Tensor,
        normed: impl FnOnce() -> Result<Tensor>,
        pass: Option<Pass>,
    ) -> Result<Tensor> {
        let SavedFeedForward { mut mlps, shares } = saved;
        let Some(router) = &self.router else {
            let saved = mlps.pop().flatten().ok_or_else(|| Error::Other("an MLP saved nothing".into()))?;
            return self.only()?.backward(saved, d, normed, None, pass);
        };
        let normed = normed()?;
        let dnormed = normed.zeros_like()?;
        let mut dweights = vec![Vec::new(); shares.len()];
        for (((mlp, saved), share), dweights) in self.mlps.iter().zip(mlps).zip(&shares).zip(&mut dweights) {
            let Some(saved) = saved else { continue };
            let index = RowIndex::new(share.tokens.clone(), normed.dim(0)?, normed.device())?;
            let rows = |of: &Tensor| kernels::gather_rows(of, &index, of.dtype());
            let weighed = Some((&share.weights[..], dweights));
            let dx = mlp.backward(saved, &rows(d)?, || rows(&normed), weighed, pass)?;
            kernels::add_rows_(&dnormed, &index, &dx)?;
        }
        router.backward(&shares, &dweights, &normed, &dnormed)?;
        Ok(dnormed)
    }

    fn only(&self) -> Result<&Mlp> {
        match &self.mlps[..] {
            [only] => Ok(only),
            several => Err(Error::Other(format!("{} experts without a router", several.len()))),
        }
    }

    /// The linear layers of the MLP, or of one expert after the other.
    pub fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.mlps.iter().flat_map(Mlp::linears)
    }

    /// The same, to be changed.
    pub fn linears_mut(&mut self) -> impl Iterator<Item = &mut Linear> {
        self.mlps.iter_mut().flat_map(Mlp::linears_mut)
    }
}

/// Add to `y` [T, H] what an expert makes of its share of `normed` [T, H].
fn pass_through(mlp: &Mlp, share: &Share, normed: &Tensor, y: &Tensor, mode: Mode) -> Result<SavedMlp> {
    let (all, own) = (normed.dim(0)?, share.tokens.len());
    // Without a backward pass a token's result is the same whatever others go through the expert: products of too few rows, which
    // are added up otherwise, get rows of nobody's.
    let padded = mode == Mode::Eval && normed.device().is_cpu();
    let least = if padded { kernels::rows_alike(linear::narrowest(mlp.linears())) } else { own };
    let (mut tokens, mut weights) = (share.tokens.clone(), share.weights.clone());
    tokens.resize(own.max(least), 0);
    weights.resize(own.max(least), 0.0);
    let index = |tokens| RowIndex::new(tokens, all, normed.device());
    let x = kernels::gather_rows(normed, &index(tokens)?, normed.dtype())?;
    let (part, saved) = mlp.forward(x, Some(&weights), mode)?;
    kernels::add_rows_(y, &index(share.tokens.clone())?, &part.narrow(0, 0, own)?)?;
    Ok(saved)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::{
        model::{
            config::Config,
            load::{self, LoadOptions, Source},
        },
        random::{key, uniform_vec},
    };

    const HIDDEN: usize = 48;

    struct Random;

    impl Source for Random {
        fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
            Ok(Tensor::from_vec(uniform_vec(key(0, name), shape.iter().product(), 0.3), shape, &Device::Cpu)?)
        }
    }

    fn experts(family: &str) -> FeedForward {
        let json = serde_json::json!({
            "model_type": family, "vocab_size": 8, "hidden_size": HIDDEN, "intermediate_size": 24, "num_hidden_layers": 1,
            "num_attention_heads": 4, "num_local_experts": 5, "num_experts": 9, "num_experts_per_tok": 3,
            "moe_intermediate_size": 24,
        });
        let config = Config::from_json(std::path::Path::new("config.json"), json.as_object().unwrap()).unwrap();
        load::layer(&config, &Random, &LoadOptions::default(), 0).unwrap().feed_forward
    }

    fn rows(n: usize) -> Tensor {
        Tensor::from_vec(uniform_vec(key(1, "x"), n * HIDDEN, 2.0), (n, HIDDEN), &Device::Cpu).unwrap()
    }

    fn bits(t: &Tensor) -> Vec<u32> {
        t.to_dtype(DType::F32)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1::<f32>()
            .unwrap()
            .iter()
            .map(|x| x.to_bits())
            .collect()
    }

    /// What texts that are written beside each other rest on.
    #[test]
    fn a_token_is_the_same_whatever_others_there_are() {
        for family in ["mixtral", "qwen3_moe"] {
            let part = experts(family);
            let x = rows(70);
            for mode in [Mode::Eval, Mode::Tokens] {
                let all = bits(&part.forward(x.clone(), mode).unwrap().0);
                for (start, len) in [(0, 1), (3, 2), (7, 33), (69, 1)] {
                    let some = part.forward(x.narrow(0, start, len).unwrap().contiguous().unwrap(), mode).unwrap().0;
                    assert!(
                        bits(&some) == all[start * HIDDEN..][..len * HIDDEN],
                        "{family}, {mode:?}: {start} and {len}"
                    );
                }
            }
        }
    }

    #[test]
    fn threads_change_nothing() {
        let pass = Pass { seed: 1, step: 0, micro: 0 };
        for family in ["mixtral", "qwen3_moe"] {
            let (part, x, d) = (experts(family), rows(300), rows(300));
            let mut got = Vec::new();
            for threads in [1, 2, 3] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                got.push(pool.install(|| {
                    let (y, saved) = part.forward(x.clone(), Mode::Train(pass)).unwrap();
                    (bits(&y), bits(&part.backward(saved, &d, || Ok(x.clone()), Some(pass)).unwrap()))
                }));
            }
            assert!(got[0] == got[1] && got[1] == got[2], "{family}");
        }
    }
}
