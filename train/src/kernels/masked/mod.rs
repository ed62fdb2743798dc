//! The products of an adapter whose input is masked: dropout (`dropout/`) and the product in one pass, so that on a GPU what
//! is masked is never written. D is the mask over [T, in] times 1 / (1 - p), `*` is element by element, r the rank.
//!
//! In bf16 and for ranks of 16, 32 and 64 a GPU has kernels; everything else is done in two passes.

#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
pub mod gpu_check;

use candle_core::Tensor;

use super::{dropout_, empty, gemm_, linear, output::Output};
use crate::error::Result;

/// A mask: where its bits come from, and the share of zeros.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mask {
    /// Of the stream.
    pub key: u64,
    /// In [0, 1).
    pub p: f64,
}

impl Mask {
    /// D * x.
    fn of(self, x: &Tensor) -> Result<Tensor> {
        let masked = empty(x.shape(), x.dtype(), x.device())?;
        dropout_(&masked, x, self.key, self.p, Output::Overwrite)?;
        Ok(masked)
    }
}

/// `(D * x) a^T`: `x` [T, in], `a` [r, in] -> [T, r].
pub fn masked_linear(x: &Tensor, a: &Tensor, mask: Mask) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if cuda::supports(x, a)? {
        return cuda::masked_linear(x, a, mask);
    }
    linear(&mask.of(x)?, a)
}

/// Put `D * (u a)` into `dx` [T, in], for `u` [T, r] and `a` [r, in].
pub fn masked_product_(dx: &Tensor, u: &Tensor, a: &Tensor, mask: Mask, output: Output) -> Result<()> {
    #[cfg(feature = "cuda")]
    if cuda::supports(dx, a)? {
        return cuda::masked_product_(dx, u, a, mask, output);
    }
    let ua = empty(dx.shape(), dx.dtype(), dx.device())?;
    gemm_(&ua, u, a, 1.0, 0.0)?;
    dropout_(dx, &ua, mask.key, mask.p, output)
}

/// `grad += u^T (D * x)` for `grad` [r, in] (f32), `u` [T, r] and `x` [T, in].
pub fn masked_grad_(grad: &Tensor, u: &Tensor, x: &Tensor, mask: Mask) -> Result<()> {
    #[cfg(feature = "cuda")]
    if cuda::supports(x, grad)? {
        return cuda::masked_grad_(grad, u, x, mask);
    }
    gemm_(grad, &u.t()?, &mask.of(x)?, 1.0, 1.0)
}
