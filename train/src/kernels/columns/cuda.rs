//! columns.cu over tensors.

#![allow(unsafe_code, reason = "launches")]

use candle_core::Tensor;

use crate::{
    error::Result,
    kernels::launch::{Launch, Module, Scalar::I32, empty, i32_of, module, suffix},
};

const MODULE: Module = module!("columns");

/// Threads of a block, which has a row: enough for 1024 elements at a time.
const WIDE: u32 = 128;

/// `width` columns of `from`, beginning with one, into `to`, beginning with another. Both are [T, W], of one type, and have them.
fn copy((to, to_start): (&Tensor, usize), (from, from_start): (&Tensor, usize), width: usize) -> Result<()> {
    let ((rows, to_width), from_width, dtype) = (to.dims2()?, from.dim(1)?, to.dtype());
    let sizes = [width, to_start, to_width, from_start, from_width];
    let sizes = sizes.map(|size| i32_of(size).map(I32)).into_iter().collect::<candle_core::Result<Vec<_>>>()?;
    let launch = Launch::new(&MODULE, format!("copy_columns_{}", suffix(dtype)?))
        .write(to, dtype, rows * to_width)?
        .read(from, dtype, rows * from_width)?
        .values(&sizes);
    // SAFETY: block i of `rows` has row i of both, and `width` columns from those on that were found to be within them.
    Ok(unsafe { launch.run((i32_of(rows)?.unsigned_abs(), 1), WIDE, 0) }?)
}

pub fn take_columns(x: &Tensor, start: usize, width: usize) -> Result<Tensor> {
    let part = empty((x.dim(0)?, width), x.dtype(), x.device())?;
    copy((&part, 0), (x, start), width)?;
    Ok(part)
}

pub fn put_columns_(x: &Tensor, start: usize, part: &Tensor) -> Result<()> {
    copy((x, start), (part, 0), part.dim(1)?)
}
