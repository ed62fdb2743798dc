//! Rows times a number each.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
pub mod gpu_check;

use candle_core::Tensor;

use crate::error::{Error, Result};

/// `x[t, c] *= weights[t]` for `x` [T, C]. On a GPU the weights are f32, whatever `x` is in.
pub fn scale_rows_(x: &Tensor, weights: &[f64]) -> Result<()> {
    if x.dim(0)? != weights.len() {
        return Err(Error::Other(format!("{} weights for {:?}", weights.len(), x.shape())));
    }
    by_device!(x, scale_rows_(x, weights))
}
