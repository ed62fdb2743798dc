//! The noise that NEFTune adds to embeddings in training (Jain et al. 2023).

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
pub mod gpu_check;

use candle_core::Tensor;

use crate::error::Result;

/// Add to row t of `x` [T, H] noise uniform in [-m, m) with `m = magnitude[t]`, a function of `key` and the element's
/// number: the same on every device.
pub fn noise_(x: &Tensor, magnitude: &[f32], key: u64) -> Result<()> {
    by_device!(x, noise_(x, magnitude, key))
}
