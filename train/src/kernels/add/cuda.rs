//! add.cu over tensors.

#![allow(unsafe_code, reason = "launches")]

use candle_core::Tensor;

use crate::{
    error::Result,
    kernels::launch::{
        Launch, Module,
        Scalar::{F32, I32, I64},
        THREADS, f32_of, i32_of, i64_of, module, pieces, suffix,
    },
};

const MODULE: Module = module!("add");

pub fn add_(dst: &Tensor, src: &Tensor, s: f64) -> Result<()> {
    let n = dst.elem_count();
    let launch = Launch::new(&MODULE, format!("add_{}_{}", suffix(dst.dtype())?, suffix(src.dtype())?))
        .write(dst, dst.dtype(), n)?
        .read(src, src.dtype(), n)?
        .values(&[F32(f32_of(s)), I64(i64_of(n))]);
    // SAFETY: reads and writes n elements.
    Ok(unsafe { launch.run((pieces(n), 1), THREADS, 0) }?)
}

pub fn add_bias_(dst: &Tensor, bias: &Tensor) -> Result<()> {
    let ((rows, width), dtype) = (dst.dims2()?, dst.dtype());
    let launch = Launch::new(&MODULE, format!("add_bias_{}", suffix(dtype)?))
        .write(dst, dtype, rows * width)?
        .read(bias, dtype, width)?
        .values(&[I32(i32_of(width)?)]);
    // SAFETY: block i of `rows` has row i, and all of the bias.
    Ok(unsafe { launch.run((i32_of(rows)?.unsigned_abs(), 1), THREADS, 0) }?)
}
