//! sum_squares.cu over tensors.

#![allow(unsafe_code, reason = "launches")]

use candle_core::{DType, Tensor};

use crate::{
    error::Result,
    kernels::launch::{Launch, Module, Scalar::I64, THREADS, blocks, i64_of, module, suffix, to_host},
};

/// Partial sums of a tensor.
const PARTS: usize = 64;

const MODULE: Module = module!("sum_squares");

pub fn sum_squares(tensors: &[&Tensor]) -> Result<Vec<f64>> {
    let partial = Tensor::zeros((tensors.len(), PARTS), DType::F64, tensors[0].device())?;
    for (i, tensor) in tensors.iter().enumerate() {
        let (n, row) = (tensor.elem_count(), partial.narrow(0, i, 1)?);
        let launch = Launch::new(&MODULE, format!("squares_{}", suffix(tensor.dtype())?))
            .write(&row, DType::F64, PARTS)?
            .read(tensor, tensor.dtype(), n)?
            .values(&[I64(i64_of(n))]);
        // SAFETY: reads n elements, writes one for each of at most PARTS blocks.
        unsafe { launch.run((blocks(n).min(64), 1), THREADS, 0) }?;
    }
    // One copy back for all.
    Ok(to_host::<f64>(&partial)?.chunks(PARTS).map(|parts| parts.iter().sum()).collect())
}
