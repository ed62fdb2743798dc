//! geglu.cu over tensors.

#![allow(unsafe_code, reason = "launches")]

use candle_core::Tensor;

use crate::{
    error::Result,
    kernels::launch::{Launch, Module, Scalar::I64, THREADS, empty, i64_of, module, pieces, suffix},
};

const MODULE: Module = module!("geglu");

pub fn geglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    let (n, dtype) = (gate.elem_count(), gate.dtype());
    let out = empty(gate.shape(), dtype, gate.device())?;
    let launch = Launch::new(&MODULE, format!("geglu_{}", suffix(dtype)?))
        .write(&out, dtype, n)?
        .read(gate, dtype, n)?
        .read(up, dtype, n)?
        .values(&[I64(i64_of(n))]);
    // SAFETY: reads and writes n elements.
    unsafe { launch.run((pieces(n), 1), THREADS, 0) }?;
    Ok(out)
}

pub fn geglu_grad_(gate: &Tensor, up: &Tensor, d: &Tensor) -> Result<()> {
    let (n, dtype) = (gate.elem_count(), gate.dtype());
    let launch = Launch::new(&MODULE, format!("geglu_grad_{}", suffix(dtype)?))
        .write(gate, dtype, n)?
        .write(up, dtype, n)?
        .write(d, dtype, n)?
        .values(&[I64(i64_of(n))]);
    // SAFETY: reads and writes n elements.
    Ok(unsafe { launch.run((pieces(n), 1), THREADS, 0) }?)
}
