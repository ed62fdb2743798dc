//! RMSNorm, `y = w x / sqrt(mean(x^2) + eps)` (Zhang and Sennrich 2019).

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
pub mod gpu_check;

use candle_core::{DType, Tensor};

use crate::error::Result;

/// RMSNorm of every row of `x` [T, H] with weight `w` [H].
pub fn rms_norm(x: &Tensor, w: &Tensor, eps: f64) -> Result<Tensor> {
    by_device!(x, rms_norm(x, w, eps))
}

/// Add to `dx` [T, H] the gradient of [`rms_norm`] with respect to `x`: with r the reciprocal root mean square of a row
/// and g = w dy, `dx += r g - x r^3 mean(g x)`.
pub fn rms_norm_grad_(dx: &Tensor, x: &Tensor, w: &Tensor, dy: &Tensor, eps: f64) -> Result<()> {
    by_device!(dx, rms_norm_grad_(dx, x, w, dy, eps))
}

/// What the gradient of [`rms_norm`] with respect to its weight is the sum of, over the rows: `dy x / rms(x)`, [T, H], in
/// the type `dtype`.
pub fn rms_norm_products(x: &Tensor, dy: &Tensor, dtype: DType, eps: f64) -> Result<Tensor> {
    by_device!(x, rms_norm_products(x, dy, dtype, eps))
}
