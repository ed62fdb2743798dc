//! rms_norm.cu over tensors.

#![allow(unsafe_code, reason = "launches")]

use candle_core::{DType, Tensor, bail};

use crate::{
    error::Result,
    kernels::launch::{
        Launch, Module,
        Scalar::{F32, I32},
        THREADS, empty, f32_of, i32_of, module, suffix,
    },
};

const MODULE: Module = module!("rms_norm");

/// Rows of `x` [.., width], one block each.
fn rows(x: &Tensor, width: usize) -> candle_core::Result<u32> {
    if width == 0 || !x.elem_count().is_multiple_of(width) {
        bail!("{:?} has no rows of {width}", x.shape());
    }
    Ok(i32_of(x.elem_count() / width)?.unsigned_abs())
}

pub fn rms_norm(x: &Tensor, w: &Tensor, eps: f64, offset: f64) -> Result<Tensor> {
    let (n, width, dtype) = (x.elem_count(), w.elem_count(), x.dtype());
    let y = empty(x.shape(), dtype, x.device())?;
    let launch = Launch::new(&MODULE, format!("rms_norm_{}", suffix(dtype)?))
        .write(&y, dtype, n)?
        .read(x, dtype, n)?
        .read(w, dtype, width)?
        .values(&[F32(f32_of(eps)), F32(f32_of(offset)), I32(i32_of(width)?)]);
    // SAFETY: `rows` blocks of `width` elements are the n elements.
    unsafe { launch.run((rows(x, width)?, 1), THREADS, 0) }?;
    Ok(y)
}

pub fn rms_norm_grad_(dx: &Tensor, x: &Tensor, w: &Tensor, dy: &Tensor, eps: f64, offset: f64) -> Result<()> {
    let (n, width, dtype) = (dx.elem_count(), w.elem_count(), dx.dtype());
    let launch = Launch::new(&MODULE, format!("rms_norm_grad_{}", suffix(dtype)?))
        .write(dx, dtype, n)?
        .read(x, dtype, n)?
        .read(w, dtype, width)?
        .read(dy, dtype, n)?
        .values(&[F32(f32_of(eps)), F32(f32_of(offset)), I32(i32_of(width)?)]);
    // SAFETY: `rows` blocks of `width` elements are the n elements.
    Ok(unsafe { launch.run((rows(x, width)?, 1), THREADS, 0) }?)
}

pub fn rms_norm_products(x: &Tensor, dy: &Tensor, dtype: DType, eps: f64) -> Result<Tensor> {
    let ((n, width), from) = ((x.elem_count(), x.dim(1)?), x.dtype());
    let products = empty(x.shape(), dtype, x.device())?;
    let launch = Launch::new(&MODULE, format!("rms_norm_products_{}", suffix(from)?))
        .write(&products, DType::F32, n)?
        .read(x, from, n)?
        .read(dy, from, n)?
        .values(&[F32(f32_of(eps)), I32(i32_of(width)?)]);
    // SAFETY: `rows` blocks of `width` elements are the n elements.
    unsafe { launch.run((rows(x, width)?, 1), THREADS, 0) }?;
    Ok(products)
}
