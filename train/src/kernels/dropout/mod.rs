//! Dropout whose mask is made again in the backward pass instead of being kept (Srivastava et al. 2014).

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
pub mod gpu_check;

#[cfg(feature = "cuda")]
pub(in crate::kernels) use cpu::threshold;

use candle_core::Tensor;

use super::output::Output;
use crate::error::Result;

/// `dst = x mask / (1 - p)`, or `dst +=` that, by `output`. The mask of element i is a function of `key` and i alone: the
/// forward pass uses it on activations, the backward pass on gradients. It is the same on every device, bit for bit.
pub fn dropout_(dst: &Tensor, x: &Tensor, key: u64, p: f64, output: Output) -> Result<()> {
    by_device!(dst, dropout_(dst, x, key, p, output))
}
