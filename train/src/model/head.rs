//! The language-model head and its cross-entropy, a few rows at a time: all logits of a batch are never there at
//! once, and rows whose label is ignored get none at all. Loss and gradient are made in one go.

use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};

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
    pub norm: Tensor,
    /// [V, H], as it was stored; with tied embeddings the embedding itself.
    pub weight: Tensor,
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
    /// Tokens that count.
    pub targets: u64,
}

impl Losses {
    fn count(&mut self, rows: &[RowLoss]) {
        for row in rows {
            self.nll += row.nll;
            self.entropy += row.entropy;
            self.correct += u64::from(row.correct);
            self.targets += 1;
        }
    }

    /// Add another micro-batch's.
    pub fn add(&mut self, other: Self) {
        self.nll += other.nll;
        self.entropy += other.entropy;
        self.correct += other.correct;
        self.targets += other.targets;
    }
}

/// Rows of logits in a chunk.
pub fn chunk_rows(vocab: usize, dtype: DType) -> usize {
    (CHUNK_BYTES / (vocab * dtype.size_in_bytes())).max(1)
}

impl Head {
    /// Losses of hidden states `x` [T, H] against the batch's labels and, if there is a `scale`, the gradient of
    /// `scale` times the summed loss with respect to `x`, [T, H].
    ///
    /// # Errors
    /// A label outside the vocabulary; out of memory.
    pub fn loss(&self, x: &Tensor, batch: &Batch, scale: Option<f64>) -> Result<(Losses, Option<Tensor>)> {
        let rows: Vec<u32> = (0_u32..).zip(&batch.labels).filter(|(_, l)| **l != IGNORE).map(|(t, _)| t).collect();
        let labels: Vec<u32> = batch.labels.iter().copied().filter(|l| *l != IGNORE).collect();
        let mut losses = Losses::default();
        if rows.is_empty() {
            return Ok((losses, scale.map(|_| x.zeros_like()).transpose()?));
        }
        let index = Tensor::from_vec(rows, labels.len(), x.device())?;
        let chosen = x.index_select(&index, 0)?;
        let normed = kernels::rms_norm(&chosen, &self.norm, self.eps)?;
        let weight = self.weight.to_dtype(x.dtype())?;
        let (n, vocab) = (labels.len(), weight.dim(0)?);
        let step = chunk_rows(vocab, x.dtype()).min(n);
        let buffer = Tensor::zeros((step, vocab), x.dtype(), x.device())?;
        let dnormed = scale.map(|_| normed.zeros_like()).transpose()?;
        for start in (0..n).step_by(step) {
            let len = step.min(n - start);
            let logits = buffer.narrow(0, 0, len)?;
            kernels::gemm(&logits, &normed.narrow(0, start, len)?, &weight.t()?, 1.0, 0.0)?;
            losses.count(&kernels::cross_entropy(&logits, &labels[start..start + len], scale.unwrap_or(0.0))?);
            if let Some(dnormed) = &dnormed {
                kernels::gemm(&dnormed.narrow(0, start, len)?, &logits, &weight, 1.0, 0.0)?;
            }
        }
        let Some(dnormed) = dnormed else { return Ok((losses, None)) };
        let dchosen = chosen.zeros_like()?;
        kernels::rms_norm_grad(&dchosen, &chosen, &self.norm, &dnormed, self.eps)?;
        Ok((losses, Some(x.zeros_like()?.index_add(&index, &dchosen, 0)?)))
    }

    /// Logits [T, V] of hidden states `x` [T, H].
    ///
    /// # Errors
    /// Out of memory.
    pub fn logits(&self, x: &Tensor) -> Result<Tensor> {
        let normed = kernels::rms_norm(x, &self.norm, self.eps)?;
        kernels::linear(&normed, &self.weight.to_dtype(x.dtype())?)
    }
}
