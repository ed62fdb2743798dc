//! row_dots.cu over tensors.

#![allow(unsafe_code, reason = "launches")]

use candle_core::{DType, Tensor};

use crate::{
    error::Result,
    kernels::launch::{Launch, Module, Scalar::I32, empty, i32_of, module, suffix, to_host},
};

const MODULE: Module = module!("row_dots");

/// Threads of a block, which has a row.
const WIDE: u32 = 128;

pub fn row_dots(a: &Tensor, b: &Tensor) -> Result<Vec<f64>> {
    let ((rows, width), dtype) = (a.dims2()?, a.dtype());
    let sums = empty(rows, DType::F32, a.device())?;
    let launch = Launch::new(&MODULE, format!("row_dots_{}", suffix(dtype)?))
        .write(&sums, DType::F32, rows)?
        .read(a, dtype, rows * width)?
        .read(b, dtype, rows * width)?
        .values(&[I32(i32_of(width)?)]);
    // SAFETY: block i of `rows` has row i of both, and writes number i.
    unsafe { launch.run((i32_of(rows)?.unsigned_abs(), 1), WIDE, 0) }?;
    Ok(to_host::<f32>(&sums)?.into_iter().map(f64::from).collect())
}
