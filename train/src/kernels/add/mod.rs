//! Sums in place, element by element and row by row.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
pub mod gpu_check;

use candle_core::Tensor;

use crate::error::Result;

/// `dst += s src`, element by element. On a GPU the two may be of different types.
pub fn add_(dst: &Tensor, src: &Tensor, s: f64) -> Result<()> {
    by_device!(dst, add_(dst, src, s))
}

/// `dst[t, c] += bias[c]` for `dst` [T, C] and `bias` [C].
pub fn add_bias_(dst: &Tensor, bias: &Tensor) -> Result<()> {
    by_device!(dst, add_bias_(dst, bias))
}
