//! The sums that the norm of all gradients is made of.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
pub mod gpu_check;

use candle_core::Tensor;

use crate::error::Result;

/// The sum of squares of each tensor (f32 or bf16; f64 on the CPU), in f64 and in an order that depends on its size
/// alone. All tensors are on the device of the first.
pub fn sum_squares(tensors: &[&Tensor]) -> Result<Vec<f64>> {
    let Some(first) = tensors.first() else { return Ok(Vec::new()) };
    by_device!(first, sum_squares(tensors))
}
