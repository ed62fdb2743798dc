//! scale.cu over tensors.

#![allow(unsafe_code, reason = "launches")]

use candle_core::Tensor;

use crate::{
    error::Result,
    kernels::launch::{
        Launch, Module,
        Scalar::{F32, I64},
        THREADS, empty, f32_of, i64_of, module, pieces, suffix,
    },
};

const MODULE: Module = module!("scale");

/// What `kernel` makes of each element of `x` and `by`.
fn each(kernel: &str, x: &Tensor, by: f64) -> Result<Tensor> {
    let (n, dtype) = (x.elem_count(), x.dtype());
    let y = empty(x.shape(), dtype, x.device())?;
    let launch = Launch::new(&MODULE, format!("{kernel}_{}", suffix(dtype)?))
        .write(&y, dtype, n)?
        .read(x, dtype, n)?
        .values(&[F32(f32_of(by)), I64(i64_of(n))]);
    // SAFETY: reads and writes n elements.
    unsafe { launch.run((pieces(n), 1), THREADS, 0) }?;
    Ok(y)
}

pub fn scale(x: &Tensor, s: f64) -> Result<Tensor> {
    each("scale", x, s)
}

pub fn soft_cap(x: &Tensor, cap: f64) -> Result<Tensor> {
    each("soft_cap", x, cap)
}
