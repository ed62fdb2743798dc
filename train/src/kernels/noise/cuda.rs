//! noise.cu over tensors.

#![allow(unsafe_code, reason = "launches")]

use candle_core::{DType, Tensor};

use crate::{
    error::{Error, Result},
    kernels::launch::{
        Launch, Module,
        Scalar::{I64, U64},
        THREADS, blocks, i64_of, module, suffix,
    },
};

const MODULE: Module = module!("noise");

pub fn noise_(x: &Tensor, magnitude: &[f32], key: u64) -> Result<()> {
    let (n, rows, dtype) = (x.elem_count(), magnitude.len(), x.dtype());
    if rows == 0 || !n.is_multiple_of(rows) {
        return Err(Error::Other(format!("noise: {rows} magnitudes for {:?}", x.shape())));
    }
    let magnitude = Tensor::new(magnitude, x.device())?;
    let launch = Launch::new(&MODULE, format!("noise_{}", suffix(dtype)?))
        .write(x, dtype, n)?
        .read(&magnitude, DType::F32, rows)?
        .values(&[U64(key), I64(i64_of(n)), I64(i64_of(n / rows))]);
    // SAFETY: writes n elements, reads magnitude `i / (n / rows)`.
    Ok(unsafe { launch.run((blocks(n), 1), THREADS, 0) }?)
}
