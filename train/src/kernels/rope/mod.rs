//! Rotary position embedding (Su et al. 2021) in the layout of Hugging Face: of the first R elements of a head, element i
//! turns with element i + R/2; the rest stay as they are.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
pub mod gpu_check;

pub use cpu::Direction;

use candle_core::Tensor;

use crate::error::Result;

/// Turn every head of `x` [T, heads x D] by the angle of its position: `cos`, `sin` are [T, R / 2], on a GPU in f32 or
/// bf16 whatever `x` is in. R is at most D.
pub fn rope_(x: &Tensor, cos: &Tensor, sin: &Tensor, heads: usize, dim: usize, direction: Direction) -> Result<()> {
    by_device!(x, rope_(x, cos, sin, heads, dim, direction))
}
