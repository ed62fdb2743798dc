//! The language-model head and its cross-entropy, a few rows at a time: all logits of a batch are never there at
//! once, and rows whose label is ignored get none at all. Each target's loss and its gradient are made in one go; what a
//! target weighs may depend on all of them, and is multiplied in afterwards.

use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};

use super::maybe_trained::Values;
use crate::{
    data::{Batch, IGNORE},
    error::Result,
    kernels::{self, RowLoss},
};

/// Memory for the logits of a chunk.
const CHUNK_BYTES: usize = 64 << 20;

/// Final norm and head.
#[derive(Clone, Debug)]
pub struct Head {
    /// [H]
    pub norm: Values,
    /// [V, H], as it was stored; with tied embeddings the embedding itself.
    pub weight: Values,
    /// Added to the mean square in the norm.
    pub eps: f64,
}

/// Sums over the tokens that count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Losses {
    /// Sum of -log p(label), in nats.
    pub nll: f64,
    /// Sum of entropies, in nats.
    pub entropy: f64,
    /// How often the label was the most probable token.
    pub correct: u64,
    /// Of how many.
    pub guessed: u64,
    /// Tokens that count.
    pub targets: u64,
}

impl Losses {
    /// Of these tokens.
    pub fn of(rows: &[RowLoss]) -> Self {
        let mut losses = Self::default();
        for row in rows {
            losses.nll += row.nll;
            losses.entropy += row.entropy;
            losses.correct += u64::from(row.correct);
            losses.guessed += 1;
            losses.targets += 1;
        }
        losses
    }

    /// Mean -log p of a token that counts, in nats; 0 of none.
    pub fn mean(&self) -> f64 {
        crate::trainer::per(self.nll, self.targets)
    }

    /// Add another micro-batch's.
    pub fn add(&mut self, other: Self) {
        self.nll += other.nll;
        self.entropy += other.entropy;
        self.correct += other.correct;
        self.guessed += other.guessed;
        self.targets += other.targets;
    }
}

/// Rows of logits in a chunk.
pub fn chunk_rows(vocab: usize, dtype: DType) -> usize {
    (CHUNK_BYTES / (vocab * dtype.size_in_bytes())).max(1)
}

/// What [`Head::slope`] needs of [`Head::read`]: of N targets.
pub struct Read {
    /// Their places, u32 [N].
    index: Tensor,
    /// Their tokens, [N].
    labels: Vec<u32>,
    /// Their hidden states, [N, H].
    chosen: Tensor,
    /// Gradient of each target's own -log p with respect to its normed hidden state, [N, H].
    dnormed: Tensor,
}

impl Head {
    /// What hidden states `x` [T, H] say of each of the batch's targets, in their order, and what a gradient needs
    /// if one is `asked` for.
    ///
    /// # Errors
    /// A label outside the vocabulary; out of memory.
    pub fn read(&self, x: &Tensor, batch: &Batch, asked: bool) -> Result<(Vec<RowLoss>, Option<Read>)> {
        let rows: Vec<u32> = (0_u32..).zip(&batch.labels).filter(|(_, l)| **l != IGNORE).map(|(t, _)| t).collect();
        let labels: Vec<u32> = batch.labels.iter().copied().filter(|l| *l != IGNORE).collect();
        if rows.is_empty() {
            return Ok((Vec::new(), None));
        }
        let index = Tensor::from_vec(rows, labels.len(), x.device())?;
        let chosen = x.index_select(&index, 0)?;
        let normed = kernels::rms_norm(&chosen, &self.norm.to_dtype(x.dtype())?, self.eps)?;
        let weight = self.weight.to_dtype(x.dtype())?;
        let (n, vocab) = (labels.len(), weight.dim(0)?);
        let step = chunk_rows(vocab, x.dtype()).min(n);
        let buffer = kernels::room((step, vocab), x.dtype(), x.device())?;
        let dnormed = asked.then(|| kernels::room(normed.shape(), x.dtype(), x.device())).transpose()?;
        let mut losses = Vec::with_capacity(n);
        for start in (0..n).step_by(step) {
            let len = step.min(n - start);
            let logits = buffer.narrow(0, 0, len)?;
            kernels::gemm(&logits, &normed.narrow(0, start, len)?, &weight.t()?, 1.0, 0.0)?;
            let scale = if asked { 1.0 } else { 0.0 };
            losses.extend(kernels::cross_entropy(&logits, &labels[start..start + len], scale)?);
            if let Some(dnormed) = &dnormed {
                kernels::gemm(&dnormed.narrow(0, start, len)?, &logits, &weight, 1.0, 0.0)?;
            }
        }
        Ok((losses, dnormed.map(|dnormed| Read { index, labels, chosen, dnormed })))
    }

    /// The gradient with respect to the hidden states `x` [T, H] of a loss whose derivative by each target's -log p
    /// is `weights` [N]. Adds to the gradients of norm and head where they are trained.
    ///
    /// # Errors
    /// Out of memory.
    pub fn slope(&self, x: &Tensor, read: Read, weights: &[f64]) -> Result<Tensor> {
        let Read { index, labels, chosen, dnormed } = read;
        let weights = Tensor::new(weights, x.device())?.to_dtype(x.dtype())?.unsqueeze(1)?;
        if self.weight.param().is_some() {
            self.learn(&chosen, &labels, &weights)?;
        }
        let dnormed = dnormed.broadcast_mul(&weights)?;
        let dchosen = chosen.zeros_like()?;
        self.norm.add_norm(&chosen, &dnormed, self.eps)?;
        kernels::rms_norm_grad(&dchosen, &chosen, &self.norm.to_dtype(x.dtype())?, &dnormed, self.eps)?;
        Ok(x.zeros_like()?.index_add(&index, &dchosen, 0)?)
    }

    /// Add to the gradient of the head. What each target weighs was not known when its logits were there, so they are
    /// made again, chunk by chunk.
    fn learn(&self, chosen: &Tensor, labels: &[u32], weights: &Tensor) -> Result<()> {
        let Some(param) = self.weight.param() else { return Ok(()) };
        let dtype = chosen.dtype();
        let normed = kernels::rms_norm(chosen, &self.norm.to_dtype(dtype)?, self.eps)?;
        let weighed = normed.broadcast_mul(weights)?;
        let weight = self.weight.to_dtype(dtype)?.t()?;
        let (n, vocab) = (labels.len(), weight.dim(1)?);
        let step = chunk_rows(vocab, dtype).min(n);
        let buffer = Tensor::zeros((step, vocab), dtype, chosen.device())?;
        for start in (0..n).step_by(step) {
            let len = step.min(n - start);
            let logits = buffer.narrow(0, 0, len)?;
            kernels::gemm(&logits, &normed.narrow(0, start, len)?, &weight, 1.0, 0.0)?;
            kernels::cross_entropy(&logits, &labels[start..start + len], 1.0)?;
            kernels::gemm(&param.grad, &logits.t()?, &weighed.narrow(0, start, len)?, 1.0, 1.0)?;
        }
        Ok(())
    }

    /// Logits [T, V] of hidden states `x` [T, H].
    ///
    /// # Errors
    /// Out of memory.
    pub fn logits(&self, x: &Tensor) -> Result<Tensor> {
        let normed = kernels::rms_norm(x, &self.norm.to_dtype(x.dtype())?, self.eps)?;
        kernels::linear(&normed, &self.weight.to_dtype(x.dtype())?)
    }
}
