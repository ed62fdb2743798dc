//! The language-model head and its cross-entropy, a few rows at a time: all logits of a batch are never there at
//! once, and rows whose label is ignored get none at all. Each target's loss and its gradient are made in one go; what a
//! target weighs may depend on all of them, and is multiplied in afterwards.

use candle_core::{DType, Tensor};

use super::{
    context::{Grad, Mode, Pass},
    lora::LoraLayer,
    maybe_trained::MaybeTrained,
    norm::Norm,
};
use crate::{
    data::{Batch, IGNORE},
    error::{Error, Result},
    kernels::{self, Output, Products, RowIndex, RowLoss, RowLosses},
    optim::Param,
    recipe::HEAD,
};

/// Memory for the logits of a chunk, on a CPU and on a GPU, which goes over the head's weights once a chunk.
const CHUNK_BYTES: usize = 64 << 20;
const GPU_CHUNK_BYTES: usize = 256 << 20;
/// Rows of a tile of a GPU's products: a chunk of one row more takes as long as one of twice as many.
const TILE: usize = 256;

/// Final norm and head.
#[derive(Clone, Debug)]
pub struct Head {
    /// [H]
    pub norm: Norm,
    /// [V, H], as it was stored; with tied embeddings the embedding itself.
    pub weight: MaybeTrained,
    /// The adapter, if the head has one; with tied embeddings that of the embedding.
    pub lora: Option<LoraLayer>,
    /// What logits are multiplied by.
    pub scale: f64,
    /// c of the soft cap c tanh(x / c) that a logit x goes through after that.
    pub cap: Option<f64>,
    /// How products with the weight are computed in training; the adapter's are exact.
    pub products: Products,
}

/// What an adapter adds to logits: `scale` x A^T B^T.
struct OnHead {
    /// [V, r]
    b: Tensor,
    /// x A^T, [N, r]
    xa: Tensor,
    /// What it is multiplied by, with all that logits are.
    scale: f64,
}

/// Rows of logits in a chunk. What computes in 16 bits is a GPU.
pub fn chunk_rows(vocab: usize, dtype: DType) -> usize {
    let row = vocab * dtype.size_in_bytes();
    if dtype != DType::BF16 {
        return (CHUNK_BYTES / row).max(1);
    }
    let rows = GPU_CHUNK_BYTES / row;
    if rows > TILE { rows / TILE * TILE } else { rows.max(1) }
}

/// Saved by [`Head::forward`] for [`Head::backward`], of N targets in a vocabulary of V. Made again, where the head is
/// trained: the logits, a chunk [C, V] at a time.
pub struct SavedHead {
    /// Of an adapter: x A^T [N, r], and the gradient of each target's own -log p with respect to it, [N, r].
    adapter: Option<(Tensor, Tensor)>,
    /// The training pass, if it is one.
    pass: Option<Pass>,
    /// Their places.
    index: RowIndex,
    /// Their tokens, [N].
    labels: Vec<u32>,
    /// Their hidden states, [N, H].
    chosen: Tensor,
    /// Gradient of each target's own -log p with respect to its normed hidden state, [N, H].
    dnormed: Tensor,
}

impl Head {
    /// What is trained of it beside its norm.
    pub fn params(&self) -> impl Iterator<Item = &Param> {
        self.weight.param().into_iter().chain(self.lora.iter().flat_map(|lora| [&lora.a, &lora.b]))
    }

    /// The loss of each of the batch's targets, in their order, given hidden states `x` [T, H]; and what the backward pass
    /// needs, if there is one.
    pub fn forward(
        &self,
        x: &Tensor,
        batch: &Batch,
        (mode, grad): (Mode, Grad),
    ) -> Result<(Vec<RowLoss>, Option<SavedHead>)> {
        let asked = grad == Grad::Needed;
        let rows: Vec<u32> = (0_u32..).zip(&batch.labels).filter(|(_, l)| **l != IGNORE).map(|(t, _)| t).collect();
        let labels: Vec<u32> = batch.labels.iter().copied().filter(|l| *l != IGNORE).collect();
        if rows.is_empty() {
            return Ok((Vec::new(), None));
        }
        let index = RowIndex::new(rows, x.dim(0)?, x.device())?;
        let chosen = kernels::gather_rows(x, &index, x.dtype())?;
        let normed = self.norm.forward(&chosen)?;
        let adapter = self.adapter(&normed, mode)?;
        let empty = |t: &Tensor| kernels::empty(t.shape(), x.dtype(), x.device());
        let dnormed = asked.then(|| empty(&normed)).transpose()?;
        let u = adapter.as_ref().filter(|_| asked).map(|adapter| empty(&adapter.xa)).transpose()?;
        let mut losses = RowLosses::new(labels.clone(), self.cap, x.device())?;
        self.each_chunk(&normed, adapter.as_ref(), |logits, start, weight| {
            let rows = |t: &Tensor| t.narrow(0, start, logits.dim(0)?);
            losses.add_(logits, start, if asked { 1.0 } else { 0.0 })?;
            if let Some(dnormed) = &dnormed {
                self.products.gemm_(&rows(dnormed)?, logits, weight, self.scale, 0.0)?;
            }
            match (&adapter, &u) {
                (Some(adapter), Some(u)) => kernels::gemm_(&rows(u)?, logits, &adapter.b, adapter.scale, 0.0),
                _ => Ok(()),
            }
        })?;
        if let (Some(lora), Some(u), Some(dnormed)) = (&self.lora, &u, &dnormed) {
            lora.input_grad(dnormed, u, HEAD, mode.pass(), Output::Accumulate)?;
        }
        let adapter = adapter.map(|adapter| adapter.xa).zip(u);
        let pass = mode.pass();
        let saved = dnormed.map(|dnormed| SavedHead { adapter, pass, index, labels, chosen, dnormed });
        Ok((losses.finish()?, saved))
    }

    /// The gradient with respect to the hidden states [T, H] of a loss whose derivative by each target's -log p
    /// is `weights` [N]. Adds to the gradients of norm and head where they are trained.
    pub fn backward(&self, saved: SavedHead, weights: &[f64]) -> Result<Tensor> {
        let SavedHead { adapter, pass, index, labels, chosen, dnormed } = saved;
        let adapter = self.lora.as_ref().zip(adapter);
        if self.weight.param().is_some() || adapter.is_some() {
            let normed = self.norm.forward(&chosen)?;
            if let Some((lora, (_, u))) = &adapter {
                kernels::scale_rows_(u, weights)?;
                lora.backward_a(&normed, u, HEAD, pass)?;
            }
            let xa = adapter.map(|(_, (xa, _))| xa);
            self.add_weight_grad(&normed, xa, &labels, weights)?;
        }
        kernels::scale_rows_(&dnormed, weights)?;
        let dchosen = chosen.zeros_like()?;
        self.norm.backward(&dchosen, &chosen, &dnormed)?;
        kernels::sum_rows(&index, &dchosen)
    }

    /// Add to the gradients of the head and of its adapter's B. What each target weighs was not known when its logits were there,
    /// so they are made again, chunk by chunk.
    fn add_weight_grad(&self, normed: &Tensor, xa: Option<Tensor>, labels: &[u32], weights: &[f64]) -> Result<()> {
        let weighed = |t: &Tensor| -> Result<Tensor> {
            let weighed = t.copy()?;
            kernels::scale_rows_(&weighed, weights)?;
            Ok(weighed)
        };
        let param = self.weight.param().map(|param| Ok::<_, Error>((param, weighed(normed)?))).transpose()?;
        let adapter = xa.zip(self.lora.as_ref()).map(|(xa, lora)| self.on(lora, xa)).transpose()?;
        let of_b = adapter.as_ref().zip(self.lora.as_ref());
        let of_b = of_b.map(|(adapter, lora)| Ok::<_, Error>((lora, weighed(&adapter.xa)?))).transpose()?;
        let mut losses = RowLosses::new(labels.to_vec(), self.cap, normed.device())?;
        self.each_chunk(normed, adapter.as_ref(), |logits, start, _| {
            let len = logits.dim(0)?;
            losses.add_(logits, start, 1.0)?;
            if let Some((param, weighed)) = &param {
                self.products.gemm_(&param.grad, &logits.t()?, &weighed.narrow(0, start, len)?, self.scale, 1.0)?;
            }
            if let Some((lora, weighed)) = &of_b {
                let scale = self.scale * lora.scale;
                kernels::gemm_(&lora.b.grad, &logits.t()?, &weighed.narrow(0, start, len)?, scale, 1.0)?;
            }
            Ok(())
        })
    }

    /// The adapter on these inputs, if there is one.
    fn adapter(&self, normed: &Tensor, mode: Mode) -> Result<Option<OnHead>> {
        self.lora.as_ref().map(|lora| self.on(lora, lora.project(normed, HEAD, mode)?)).transpose()
    }

    fn on(&self, lora: &LoraLayer, xa: Tensor) -> Result<OnHead> {
        Ok(OnHead { b: kernels::cast(&lora.b.value, xa.dtype())?, xa, scale: self.scale * lora.scale })
    }

    /// Logits of a few rows of `normed` [N, H] at a time, with the number of the first row and the head's weight.
    fn each_chunk(
        &self,
        normed: &Tensor,
        adapter: Option<&OnHead>,
        mut each: impl FnMut(&Tensor, usize, &Tensor) -> Result<()>,
    ) -> Result<()> {
        let dtype = normed.dtype();
        let weight = self.weight.to_dtype(dtype)?;
        let (n, vocab) = (normed.dim(0)?, weight.dim(0)?);
        let step = chunk_rows(vocab, dtype).min(n);
        let buffer = kernels::empty((step, vocab), dtype, normed.device())?;
        for start in (0..n).step_by(step) {
            let len = step.min(n - start);
            let logits = buffer.narrow(0, 0, len)?;
            self.products.gemm_(&logits, &normed.narrow(0, start, len)?, &weight.t()?, self.scale, 0.0)?;
            if let Some(OnHead { b, xa, scale }) = adapter {
                kernels::gemm_(&logits, &xa.narrow(0, start, len)?, &b.t()?, *scale, 1.0)?;
            }
            each(&logits, start, &weight)?;
        }
        Ok(())
    }

    /// Logits [T, V] of hidden states `x` [T, H].
    pub fn logits(&self, x: &Tensor) -> Result<Tensor> {
        self.logits_in(x, Mode::Eval)
    }

    /// The same in a mode.
    pub fn logits_in(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let normed = self.norm.forward(x)?;
        let weight = self.weight.tensor();
        let logits = kernels::empty((x.dim(0)?, weight.dim(0)?), x.dtype(), x.device())?;
        let product = |x: &Tensor, w: &Tensor, alpha, beta| match mode {
            Mode::Tokens => kernels::rows_(&logits, x, w, alpha, beta),
            _ => kernels::gemm_(&logits, x, &kernels::cast(w, x.dtype())?.t()?, alpha, beta),
        };
        product(&normed, weight, self.scale, 0.0)?;
        if let Some(OnHead { b, xa, scale }) = self.adapter(&normed, mode)? {
            product(&xa, &b, scale, 1.0)?;
        }
        match self.cap {
            None => Ok(logits),
            Some(cap) => kernels::soft_cap(&logits, cap),
        }
    }
}
