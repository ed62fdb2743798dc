//! add.cu over tensors.

#![allow(unsafe_code, reason = "launches")]

use candle_core::Tensor;

use crate::{
    error::Result,
    kernels::launch::{
        Launch, Module,
        Scalar::{F32, I64},
        THREADS, blocks, f32_of, i64_of, module, suffix,
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
    Ok(unsafe { launch.run((blocks(n), 1), THREADS, 0) }?)
}

pub fn add_bias_(dst: &Tensor, bias: &Tensor) -> Result<()> {
    let (n, (_, width), dtype) = (dst.elem_count(), dst.dims2()?, dst.dtype());
    let launch = Launch::new(&MODULE, format!("add_bias_{}", suffix(dtype)?))
        .write(dst, dtype, n)?
        .read(bias, dtype, width)?
        .values(&[I64(i64_of(n)), I64(i64_of(width))]);
    // SAFETY: writes n elements, reads element `i % width` of the bias.
    Ok(unsafe { launch.run((blocks(n), 1), THREADS, 0) }?)
}
