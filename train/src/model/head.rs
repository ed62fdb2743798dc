//! The language-model head and its cross-entropy, a few rows at a time: all logits of a batch are never there at
//! once, and rows whose label is ignored get none at all. Each target's loss and its gradient are made in one go; what a
//! target weighs may depend on all of them, and is multiplied in afterwards.

use candle_core::{DType, Tensor};

use super::{context::Grad, layer::scaled, maybe_trained::MaybeTrained, norm::Norm};
use crate::{
    data::{Batch, IGNORE},
    error::Result,
    kernels::{self, RowIndex, RowLoss, RowLosses},
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
    /// What logits are multiplied by.
    pub scale: f64,
    /// c of the soft cap c tanh(x / c) that a logit x goes through after that.
    pub cap: Option<f64>,
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
    /// The loss of each of the batch's targets, in their order, given hidden states `x` [T, H]; and what the backward pass
    /// needs, if there is one.
    pub fn forward(&self, x: &Tensor, batch: &Batch, grad: Grad) -> Result<(Vec<RowLoss>, Option<SavedHead>)> {
        let asked = grad == Grad::Needed;
        let rows: Vec<u32> = (0_u32..).zip(&batch.labels).filter(|(_, l)| **l != IGNORE).map(|(t, _)| t).collect();
        let labels: Vec<u32> = batch.labels.iter().copied().filter(|l| *l != IGNORE).collect();
        if rows.is_empty() {
            return Ok((Vec::new(), None));
        }
        let index = RowIndex::new(rows, x.dim(0)?, x.device())?;
        let chosen = kernels::gather_rows(x, &index, x.dtype())?;
        let normed = self.norm.forward(&chosen)?;
        let weight = self.weight.to_dtype(x.dtype())?;
        let (n, vocab) = (labels.len(), weight.dim(0)?);
        let step = chunk_rows(vocab, x.dtype()).min(n);
        let buffer = kernels::empty((step, vocab), x.dtype(), x.device())?;
        let dnormed = asked.then(|| kernels::empty(normed.shape(), x.dtype(), x.device())).transpose()?;
        let mut losses = RowLosses::new(labels.clone(), self.cap, x.device())?;
        for start in (0..n).step_by(step) {
            let len = step.min(n - start);
            let logits = buffer.narrow(0, 0, len)?;
            kernels::gemm_(&logits, &normed.narrow(0, start, len)?, &weight.t()?, self.scale, 0.0)?;
            let scale = if asked { 1.0 } else { 0.0 };
            losses.add_(&logits, start, scale)?;
            if let Some(dnormed) = &dnormed {
                kernels::gemm_(&dnormed.narrow(0, start, len)?, &logits, &weight, self.scale, 0.0)?;
            }
        }
        Ok((losses.finish()?, dnormed.map(|dnormed| SavedHead { index, labels, chosen, dnormed })))
    }

    /// The gradient with respect to the hidden states [T, H] of a loss whose derivative by each target's -log p
    /// is `weights` [N]. Adds to the gradients of norm and head where they are trained.
    pub fn backward(&self, saved: SavedHead, weights: &[f64]) -> Result<Tensor> {
        let SavedHead { index, labels, chosen, dnormed } = saved;
        if self.weight.param().is_some() {
            self.add_weight_grad(&chosen, &labels, weights)?;
        }
        kernels::scale_rows_(&dnormed, weights)?;
        let dchosen = chosen.zeros_like()?;
        self.norm.backward(&dchosen, &chosen, &dnormed)?;
        kernels::sum_rows(&index, &dchosen)
    }

    /// Add to the gradient of the head. What each target weighs was not known when its logits were there, so they are
    /// made again, chunk by chunk.
    fn add_weight_grad(&self, chosen: &Tensor, labels: &[u32], weights: &[f64]) -> Result<()> {
        let Some(param) = self.weight.param() else { return Ok(()) };
        let dtype = chosen.dtype();
        let normed = self.norm.forward(chosen)?;
        let weighed = normed.copy()?;
        kernels::scale_rows_(&weighed, weights)?;
        let weight = self.weight.to_dtype(dtype)?.t()?;
        let (n, vocab) = (labels.len(), weight.dim(1)?);
        let step = chunk_rows(vocab, dtype).min(n);
        let buffer = kernels::empty((step, vocab), dtype, chosen.device())?;
        let mut losses = RowLosses::new(labels.to_vec(), self.cap, chosen.device())?;
        for start in (0..n).step_by(step) {
            let len = step.min(n - start);
            let logits = buffer.narrow(0, 0, len)?;
            kernels::gemm_(&logits, &normed.narrow(0, start, len)?, &weight, self.scale, 0.0)?;
            losses.add_(&logits, start, 1.0)?;
            kernels::gemm_(&param.grad, &logits.t()?, &weighed.narrow(0, start, len)?, self.scale, 1.0)?;
        }
        Ok(())
    }

    /// Logits [T, V] of hidden states `x` [T, H].
    pub fn logits(&self, x: &Tensor) -> Result<Tensor> {
        let logits = scaled(kernels::linear(&self.norm.forward(x)?, &self.weight.to_dtype(x.dtype())?)?, self.scale)?;
        Ok(match self.cap {
            None => logits,
            Some(cap) => ((logits / cap)?.tanh()? * cap)?,
        })
    }
}
