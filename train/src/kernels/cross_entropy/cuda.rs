//! cross_entropy.cu over tensors.

#![allow(unsafe_code, reason = "launches")]

use candle_core::{DType, Tensor};

use super::cpu::{RowLoss, dims};
use crate::{
    error::Result,
    kernels::launch::{
        Launch, Module,
        Scalar::{F32, I64},
        empty, f32_of, i32_of, i64_of, module, suffix, to_host,
    },
};

const MODULE: Module = module!("cross_entropy");

pub fn cross_entropy_(logits: &Tensor, targets: &[u32], scale: f64) -> Result<Vec<RowLoss>> {
    const WIDE: u32 = 1024;
    let ((rows, vocab), dtype) = (dims(logits, targets)?, logits.dtype());
    if rows == 0 {
        return Ok(Vec::new());
    }
    let targets = Tensor::new(targets, logits.device())?;
    let results = empty((rows, 4), DType::F64, logits.device())?;
    let launch = Launch::new(&MODULE, format!("cross_entropy_{}", suffix(dtype)?))
        .write(logits, dtype, rows * vocab)?
        .write(&results, DType::F64, rows * 4)?
        .read(&targets, DType::U32, rows)?
        .values(&[F32(f32_of(scale)), I64(i64_of(vocab))]);
    // SAFETY: block i of `rows` has row i of all three, and its target is in the row.
    unsafe { launch.run((i32_of(rows)?.unsigned_abs(), 1), WIDE, 0) }?;
    let results = to_host::<f64>(&results)?;
    Ok(results.chunks(4).map(|r| RowLoss { nll: r[0], entropy: r[1], logit: r[2], correct: r[3] > 0.5 }).collect())
}
