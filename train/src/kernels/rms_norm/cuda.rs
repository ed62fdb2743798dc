//! norm.cu and cross_entropy.cu over tensors.

#![allow(unsafe_code, reason = "launches")]

use candle_core::{DType, Tensor, bail};

use super::launch::{
    CROSS_ENTROPY, Call, NORM, THREADS,
    Value::{F32, I32, I64},
    blocks, empty, f32_of, i32_of, i64_of, suffix,
};
use crate::{error::Result, kernels::RowLoss};

/// Rows of `x` [.., width], one block each.
fn rows(x: &Tensor, width: usize) -> candle_core::Result<u32> {
    if width == 0 || !x.elem_count().is_multiple_of(width) {
        bail!("{:?} has no rows of {width}", x.shape());
    }
    Ok(i32_of(x.elem_count() / width)?.unsigned_abs())
}

/// RMSNorm of every row of `x` [T, H] with weight `w` [H].
///
/// # Errors
/// Shapes or types that do not fit.
pub fn rms_norm(x: &Tensor, w: &Tensor, eps: f64) -> Result<Tensor> {
    let (n, width, dtype) = (x.elem_count(), w.elem_count(), x.dtype());
    let y = empty(x.shape(), dtype, x.device())?;
    let call = Call::new(&NORM, format!("rms_norm_{}", suffix(dtype)?))
        .write(&y, dtype, n)?
        .read(x, dtype, n)?
        .read(w, dtype, width)?
        .values(&[F32(f32_of(eps)), I32(i32_of(width)?)]);
    // SAFETY: `rows` blocks of `width` elements are the n elements.
    unsafe { call.run((rows(x, width)?, 1), THREADS, 0) }?;
    Ok(y)
}

/// Add to `dx` the gradient of [`rms_norm`] with respect to `x`.
///
/// # Errors
/// Shapes or types that do not fit.
pub fn rms_norm_grad(dx: &Tensor, x: &Tensor, w: &Tensor, dy: &Tensor, eps: f64) -> Result<()> {
    let (n, width, dtype) = (dx.elem_count(), w.elem_count(), dx.dtype());
    let call = Call::new(&NORM, format!("rms_norm_grad_{}", suffix(dtype)?))
        .write(dx, dtype, n)?
        .read(x, dtype, n)?
        .read(w, dtype, width)?
        .read(dy, dtype, n)?
        .values(&[F32(f32_of(eps)), I32(i32_of(width)?)]);
    // SAFETY: `rows` blocks of `width` elements are the n elements.
    Ok(unsafe { call.run((rows(x, width)?, 1), THREADS, 0) }?)
}

/// Turn the heads of `x` [T, heads x dim] in place; `cos` and `sin` are [T, dim / 2], in f32 or bf16 whatever `x` is
/// in. `back` is the gradient.
///
/// # Errors
/// Shapes or types that do not fit.
pub fn rope(x: &Tensor, cos: &Tensor, sin: &Tensor, heads: usize, dim: usize, back: bool) -> Result<()> {
    let (n, half, tokens) = (x.elem_count() / 2, dim / 2, x.dim(0)?);
    if half * 2 != dim || x.elem_count() != tokens * heads * dim {
        return Err(candle_core::Error::Msg(format!("rope: {:?} for {heads} heads of {dim}", x.shape())).into());
    }
    let call = Call::new(&NORM, format!("rope_{}_{}", suffix(x.dtype())?, suffix(cos.dtype())?))
        .write(x, x.dtype(), 2 * n)?
        .read(cos, cos.dtype(), tokens * half)?
        .read(sin, cos.dtype(), tokens * half)?
        .values(&[I32(i32_of(heads)?), I32(i32_of(half)?), F32(if back { -1.0 } else { 1.0 }), I64(i64_of(n))]);
    // SAFETY: thread i of n turns a pair of its own, with angle `i / half / heads * half + i % half`, below T half.
    Ok(unsafe { call.run((blocks(n), 1), THREADS, 0) }?)
}

/// Cross-entropy of `logits` [C, V] against `targets` [C]; the logits become `scale (softmax - onehot)`. Waits for the
/// GPU.
///
/// # Errors
/// Shapes or types that do not fit, a target outside the vocabulary.
pub fn cross_entropy(logits: &Tensor, targets: &[u32], scale: f64) -> Result<Vec<RowLoss>> {
    const WIDE: u32 = 1024;
    let ((rows, vocab), dtype) = (logits.dims2()?, logits.dtype());
    if rows != targets.len() {
        return Err(candle_core::Error::Msg(format!("{rows} rows of logits for {} targets", targets.len())).into());
    }
    if let Some(target) = targets.iter().find(|t| **t as usize >= vocab) {
        return Err(candle_core::Error::Msg(format!("target {target} is outside the vocabulary of {vocab}")).into());
    }
    if rows == 0 {
        return Ok(Vec::new());
    }
    let targets = Tensor::new(targets, logits.device())?;
    let said = empty((rows, 4), DType::F64, logits.device())?;
    let call = Call::new(&CROSS_ENTROPY, format!("cross_entropy_{}", suffix(dtype)?))
        .write(logits, dtype, rows * vocab)?
        .write(&said, DType::F64, rows * 4)?
        .read(&targets, DType::U32, rows)?
        .values(&[F32(f32_of(scale)), I64(i64_of(vocab))]);
    // SAFETY: block i of `rows` has row i of all three, and its target is in the row.
    unsafe { call.run((i32_of(rows)?.unsigned_abs(), 1), WIDE, 0) }?;
    let said = said.to_vec2::<f64>()?;
    Ok(said.iter().map(|r| RowLoss { nll: r[0], entropy: r[1], logit: r[2], correct: r[3] > 0.5 }).collect())
}
