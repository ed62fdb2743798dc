//! Matrix products: the crate `gemm` on a CPU, cuBLAS on a GPU.

pub mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
pub mod gpu_check;

use candle_core::Tensor;

use super::storage::empty;
use crate::error::Result;

/// `dst = alpha a b + beta dst` for matrices `a` [m, k], `b` [k, n], which may be transposed views, and `dst` [m, n]. With
/// `beta` 0 what is in `dst` does not count. On a GPU sums are in f32, whatever `dst` is in; f32 is multiplied as such, not
/// as TF32, unless candle was told otherwise.
pub fn gemm_(dst: &Tensor, a: &Tensor, b: &Tensor, alpha: f64, beta: f64) -> Result<()> {
    by_device!(dst, gemm_(dst, a, b, alpha, beta))
}

/// `x w^T`: [T, in] and [out, in] -> [T, out].
pub fn linear(x: &Tensor, w: &Tensor) -> Result<Tensor> {
    let y = empty((x.dim(0)?, w.dim(0)?), x.dtype(), x.device())?;
    gemm_(&y, x, &w.t()?, 1.0, 0.0)?;
    Ok(y)
}
