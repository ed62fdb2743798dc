//! AdamW (Loshchilov and Hutter, arXiv 1711.05101), one step over one tensor: as PyTorch does it, as
//! bitsandbytes does it in 32 bits, and with moments in 8 bits.
//!
//! All three: p *= 1 - lr wd, m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, c1 = 1 - b1^t, c2 = sqrt(1 - b2^t),
//! p -= lr / c1 * m / (sqrt(v) / c2 + eps). They round differently, and so does this: moments are equal bit for
//! bit; parameters are within the rounding of PyTorch's square root, which is not always the nearest.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
pub mod gpu_check;

pub use cpu::{BLOCK, Hyper, Moments8bit};

use candle_core::Tensor;

use crate::error::Result;

/// One step as `torch.optim.AdamW` takes it: parameter `p` (f32 or bf16), gradient `g` and moments `m`, `v` (f32), all of
/// one size.
pub fn adamw_(p: &Tensor, g: &Tensor, m: &Tensor, v: &Tensor, h: &Hyper) -> Result<()> {
    by_device!(p, adamw_(p, g, m, v, h))
}

/// One step as bitsandbytes takes it for tensors too small for 8 bits; arguments as for [`adamw_`].
pub fn adamw_32bit_(p: &Tensor, g: &Tensor, m: &Tensor, v: &Tensor, h: &Hyper) -> Result<()> {
    by_device!(p, adamw_32bit_(p, g, m, v, h))
}

/// One step as bitsandbytes takes it on a CPU, block by block of 256. Where a gradient is not finite the moments become
/// zero and the parameter stays, as on its GPU.
pub fn adamw_8bit_(p: &Tensor, g: &Tensor, moments: Moments8bit<'_>, h: &Hyper) -> Result<()> {
    by_device!(p, adamw_8bit_(p, g, moments, h))
}
