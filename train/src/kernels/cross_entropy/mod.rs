//! Softmax cross-entropy of a few rows of logits, and its gradient in their place.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
pub mod gpu_check;

pub use cpu::RowLoss;

use candle_core::Tensor;

use crate::error::Result;

/// Cross-entropy of `logits` [C, V] against `targets` [C]; the logits become `scale (softmax - onehot(target))`. With
/// `scale` 0 they are spent all the same. Waits for the GPU.
///
/// # Errors
/// A target outside the vocabulary; shapes or types that do not fit.
pub fn cross_entropy_(logits: &Tensor, targets: &[u32], scale: f64) -> Result<Vec<RowLoss>> {
    by_device!(logits, cross_entropy_(logits, targets, scale))
}
