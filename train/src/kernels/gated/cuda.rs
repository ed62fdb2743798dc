//! The launches of gated activations: `NAME_TYPE` and `NAME_grad_TYPE` of a module.

#![allow(unsafe_code, reason = "launches")]

use candle_core::Tensor;

use super::Gated;
use crate::{
    error::Result,
    kernels::launch::{Launch, Module, Scalar::I64, THREADS, empty, i64_of, pieces, suffix},
};

/// f(gate) up
pub fn forward<A: Gated>(module: &'static Module, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    let (n, dtype) = (gate.elem_count(), gate.dtype());
    let out = empty(gate.shape(), dtype, gate.device())?;
    let launch = Launch::new(module, format!("{}_{}", A::NAME, suffix(dtype)?))
        .write(&out, dtype, n)?
        .read(gate, dtype, n)?
        .read(up, dtype, n)?
        .values(&[I64(i64_of(n))]);
    // SAFETY: reads and writes n elements.
    unsafe { launch.run((pieces(n), 1), THREADS, 0) }?;
    Ok(out)
}

/// Turn gate, up and `d` into the gradients of gate and up and the product.
pub fn backward_<A: Gated>(module: &'static Module, gate: &Tensor, up: &Tensor, d: &Tensor) -> Result<()> {
    let (n, dtype) = (gate.elem_count(), gate.dtype());
    let launch = Launch::new(module, format!("{}_grad_{}", A::NAME, suffix(dtype)?))
        .write(gate, dtype, n)?
        .write(up, dtype, n)?
        .write(d, dtype, n)?
        .values(&[I64(i64_of(n))]);
    // SAFETY: reads and writes n elements.
    Ok(unsafe { launch.run((pieces(n), 1), THREADS, 0) }?)
}
