//! elementwise.cu over tensors.

#![allow(unsafe_code, reason = "launches")]

use candle_core::{DType, Tensor};

use super::launch::{
    Call, ELEMENTWISE, THREADS,
    Value::{F32, I64, U32, U64},
    blocks, empty, f32_of, i64_of, suffix,
};
use crate::{error::Result, kernels::cpu::elementwise::threshold};

/// `dst += s src`; the two may be of different types.
///
/// # Errors
/// Shapes or types that do not fit.
pub fn add(dst: &Tensor, src: &Tensor, s: f64) -> Result<()> {
    let n = dst.elem_count();
    let call = Call::new(&ELEMENTWISE, format!("add_{}_{}", suffix(dst.dtype())?, suffix(src.dtype())?))
        .write(dst, dst.dtype(), n)?
        .read(src, src.dtype(), n)?
        .values(&[F32(f32_of(s)), I64(i64_of(n))]);
    // SAFETY: reads and writes n elements.
    Ok(unsafe { call.run((blocks(n), 1), THREADS, 0) }?)
}

/// `dst[t, c] += bias[c]`.
///
/// # Errors
/// Shapes or types that do not fit.
pub fn add_bias(dst: &Tensor, bias: &Tensor) -> Result<()> {
    let (n, (_, width), dtype) = (dst.elem_count(), dst.dims2()?, dst.dtype());
    let call = Call::new(&ELEMENTWISE, format!("add_bias_{}", suffix(dtype)?))
        .write(dst, dtype, n)?
        .read(bias, dtype, width)?
        .values(&[I64(i64_of(n)), I64(i64_of(width))]);
    // SAFETY: writes n elements, reads element `i % width` of the bias.
    Ok(unsafe { call.run((blocks(n), 1), THREADS, 0) }?)
}

/// `silu(gate) up`.
///
/// # Errors
/// Shapes or types that do not fit.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    let (n, dtype) = (gate.elem_count(), gate.dtype());
    let out = empty(gate.shape(), dtype, gate.device())?;
    let call = Call::new(&ELEMENTWISE, format!("swiglu_{}", suffix(dtype)?))
        .write(&out, dtype, n)?
        .read(gate, dtype, n)?
        .read(up, dtype, n)?
        .values(&[I64(i64_of(n))]);
    // SAFETY: reads and writes n elements.
    unsafe { call.run((blocks(n), 1), THREADS, 0) }?;
    Ok(out)
}

/// Gradients of [`swiglu`] with respect to `gate` and `up`.
///
/// # Errors
/// Shapes or types that do not fit.
pub fn swiglu_grad(gate: &Tensor, up: &Tensor, d: &Tensor) -> Result<(Tensor, Tensor)> {
    let (n, dtype) = (gate.elem_count(), gate.dtype());
    let (dgate, dup) = (empty(gate.shape(), dtype, gate.device())?, empty(gate.shape(), dtype, gate.device())?);
    let call = Call::new(&ELEMENTWISE, format!("swiglu_grad_{}", suffix(dtype)?))
        .write(&dgate, dtype, n)?
        .write(&dup, dtype, n)?
        .read(gate, dtype, n)?
        .read(up, dtype, n)?
        .read(d, dtype, n)?
        .values(&[I64(i64_of(n))]);
    // SAFETY: reads and writes n elements.
    unsafe { call.run((blocks(n), 1), THREADS, 0) }?;
    Ok((dgate, dup))
}

/// `dst = x mask / (1 - p)`, or `dst +=` with `add`; the mask is the CPU's, bit for bit.
///
/// # Errors
/// Shapes or types that do not fit.
pub fn dropout(dst: &Tensor, x: &Tensor, key: u64, p: f64, add: bool) -> Result<()> {
    let (n, dtype) = (dst.elem_count(), dst.dtype());
    let values = [U64(key), U32(threshold(p)), F32(f32_of(1.0 / (1.0 - p))), U32(u32::from(add)), I64(i64_of(n))];
    let call = Call::new(&ELEMENTWISE, format!("dropout_{}", suffix(dtype)?))
        .write(dst, dtype, n)?
        .read(x, dtype, n)?
        .values(&values);
    // SAFETY: reads and writes n elements.
    Ok(unsafe { call.run((blocks(n), 1), THREADS, 0) }?)
}

/// Add to row t of `x` noise uniform in plus or minus `magnitude[t]`, the CPU's numbers.
///
/// # Errors
/// Shapes or types that do not fit.
pub fn noise(x: &Tensor, magnitude: &[f32], key: u64) -> Result<()> {
    let (n, rows, dtype) = (x.elem_count(), magnitude.len(), x.dtype());
    if rows == 0 || !n.is_multiple_of(rows) {
        return Err(candle_core::Error::Msg(format!("noise: {rows} magnitudes for {:?}", x.shape())).into());
    }
    let magnitude = Tensor::new(magnitude, x.device())?;
    let call = Call::new(&ELEMENTWISE, format!("noise_{}", suffix(dtype)?))
        .write(x, dtype, n)?
        .read(&magnitude, DType::F32, rows)?
        .values(&[U64(key), I64(i64_of(n)), I64(i64_of(n / rows))]);
    // SAFETY: writes n elements, reads magnitude `i / (n / rows)`.
    Ok(unsafe { call.run((blocks(n), 1), THREADS, 0) }?)
}

/// The sum of squares of each tensor, in f64 and in an order that depends on its size alone. One copy back for all.
///
/// # Errors
/// Types that do not fit.
pub fn sum_squares(tensors: &[&Tensor]) -> Result<Vec<f64>> {
    const PARTS: usize = 64;
    let Some(first) = tensors.first() else { return Ok(Vec::new()) };
    let partial = Tensor::zeros((tensors.len(), PARTS), DType::F64, first.device())?;
    for (i, tensor) in tensors.iter().enumerate() {
        let (n, row) = (tensor.elem_count(), partial.narrow(0, i, 1)?);
        let call = Call::new(&ELEMENTWISE, format!("squares_{}", suffix(tensor.dtype())?))
            .write(&row, DType::F64, PARTS)?
            .read(tensor, tensor.dtype(), n)?
            .values(&[I64(i64_of(n))]);
        let parts = blocks(n).min(64);
        // SAFETY: reads n elements, writes one for each of at most PARTS blocks.
        unsafe { call.run((parts, 1), THREADS, 0) }?;
    }
    Ok(partial.to_vec2::<f64>()?.iter().map(|parts| parts.iter().sum()).collect())
}
