//! cast.cu over tensors.

#![allow(unsafe_code, reason = "launches")]

use candle_core::{DType, Tensor};

use crate::{
    error::Result,
    kernels::launch::{Launch, Module, Scalar::I64, THREADS, empty, i64_of, module, pieces, suffix},
};

const MODULE: Module = module!("cast");

pub fn cast(x: &Tensor, dtype: DType) -> Result<Tensor> {
    let (n, from) = (x.elem_count(), x.dtype());
    let y = empty(x.shape(), dtype, x.device())?;
    let launch = Launch::new(&MODULE, format!("cast_{}_{}", suffix(dtype)?, suffix(from)?))
        .write(&y, dtype, n)?
        .read(x, from, n)?
        .values(&[I64(i64_of(n))]);
    // SAFETY: reads and writes n elements.
    unsafe { launch.run((pieces(n), 1), THREADS, 0) }?;
    Ok(y)
}
