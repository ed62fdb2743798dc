//! Columns on the CPU.

use candle_core::Tensor;

use crate::error::Result;

pub fn take_columns(x: &Tensor, start: usize, width: usize) -> Result<Tensor> {
    Ok(x.narrow(1, start, width)?.force_contiguous()?)
}

pub fn put_columns_(x: &Tensor, start: usize, part: &Tensor) -> Result<()> {
    Ok(x.slice_set(part, 1, start)?)
}
