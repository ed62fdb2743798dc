//! RMSNorm, `y = (w + offset) x / sqrt(mean(x^2) + eps)` (Zhang and Sennrich 2019). `offset` is 1 where a weight is stored as its
//! difference from 1, and 0 elsewhere.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
pub mod gpu_check;

use candle_core::{DType, Tensor};

use crate::error::Result;

/// RMSNorm of every row of `x` with weight `w` [H]; a row are H elements, whatever the shape of `x`.
pub fn rms_norm(x: &Tensor, w: &Tensor, eps: f64, offset: f64) -> Result<Tensor> {
    by_device!(x, rms_norm(x, w, eps, offset))
}

/// Add to `dx` the gradient of [`rms_norm`] with respect to `x`: with r the reciprocal root mean square of a row
/// and g = (w + offset) dy, `dx += r g - x r^3 mean(g x)`.
pub fn rms_norm_grad_(dx: &Tensor, x: &Tensor, w: &Tensor, dy: &Tensor, eps: f64, offset: f64) -> Result<()> {
    by_device!(dx, rms_norm_grad_(dx, x, w, dy, eps, offset))
}

/// What the gradient of [`rms_norm`] with respect to its weight is the sum of, over the rows: `dy x / rms(x)`, [T, H], in
/// the type `dtype`.
pub fn rms_norm_products(x: &Tensor, dy: &Tensor, dtype: DType, eps: f64) -> Result<Tensor> {
    by_device!(x, rms_norm_products(x, dy, dtype, eps))
}
