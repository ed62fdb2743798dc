//! The same on the CPU.

use candle_core::Tensor;

use crate::error::Result;

pub fn scale(x: &Tensor, s: f64) -> Result<Tensor> {
    Ok((x * s)?)
}

pub fn soft_cap(x: &Tensor, cap: f64) -> Result<Tensor> {
    Ok(((x / cap)?.tanh()? * cap)?)
}
