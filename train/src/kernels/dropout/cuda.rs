//! dropout.cu over tensors.

#![allow(unsafe_code, reason = "launches")]

use candle_core::Tensor;

use super::cpu::threshold;
use crate::{
    error::Result,
    kernels::{
        launch::{
            Launch, Module,
            Scalar::{F32, I64, U32, U64},
            THREADS, f32_of, i64_of, module, pieces, suffix,
        },
        output::Output,
    },
};

const MODULE: Module = module!("dropout");

pub fn dropout_(dst: &Tensor, x: &Tensor, key: u64, p: f64, output: Output) -> Result<()> {
    let (n, dtype) = (dst.elem_count(), dst.dtype());
    let values = [
        U64(key),
        U32(threshold(p)),
        F32(f32_of(1.0 / (1.0 - p))),
        U32(u32::from(output == Output::Accumulate)),
        I64(i64_of(n)),
    ];
    let launch = Launch::new(&MODULE, format!("dropout_{}", suffix(dtype)?))
        .write(dst, dtype, n)?
        .read(x, dtype, n)?
        .values(&values);
    // SAFETY: reads and writes n elements.
    Ok(unsafe { launch.run((pieces(n), 1), THREADS, 0) }?)
}
