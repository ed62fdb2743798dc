//! Products of the rows of two matrices, each with its own.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
pub mod gpu_check;

use candle_core::Tensor;

use crate::error::{Error, Result};

/// The sum over c of `a[t, c] b[t, c]` for `a` and `b` [T, C]: T numbers, in an order that depends on C alone. On a GPU each is
/// added up in f32.
pub fn row_dots(a: &Tensor, b: &Tensor) -> Result<Vec<f64>> {
    if a.dims2()? != b.dims2()? {
        return Err(Error::Other(format!("row_dots: {:?} beside {:?}", a.shape(), b.shape())));
    }
    by_device!(a, row_dots(a, b))
}
