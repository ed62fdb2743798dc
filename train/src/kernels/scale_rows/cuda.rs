//! scale_rows.cu over tensors.

#![allow(unsafe_code, reason = "launches")]

use candle_core::{DType, Tensor};

use crate::{
    error::Result,
    kernels::launch::{Launch, Module, Scalar::I32, f32_of, i32_of, module, suffix},
};

const MODULE: Module = module!("scale_rows");

/// Threads of a block, which has a row.
const WIDE: u32 = 128;

pub fn scale_rows_(x: &Tensor, weights: &[f64]) -> Result<()> {
    let ((rows, width), dtype) = (x.dims2()?, x.dtype());
    let weights: Vec<f32> = weights.iter().map(|w| f32_of(*w)).collect();
    let weights = Tensor::from_vec(weights, rows, x.device())?;
    let launch = Launch::new(&MODULE, format!("scale_rows_{}", suffix(dtype)?))
        .write(x, dtype, rows * width)?
        .read(&weights, DType::F32, rows)?
        .values(&[I32(i32_of(width)?)]);
    // SAFETY: block i of `rows` has row i and its weight.
    Ok(unsafe { launch.run((i32_of(rows)?.unsigned_abs(), 1), WIDE, 0) }?)
}
