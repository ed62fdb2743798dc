//! RMSNorm on the CPU.

use candle_core::{DType, Tensor};
use rayon::prelude::*;

use crate::{
    error::Result,
    kernels::{
        float::{Float, with_float},
        simd::{dot, simd},
        storage::{Elements, same_size, tensor, update},
    },
};

/// Rows given to a thread at a time.
const ROWS: usize = 16;

pub fn rms_norm(x: &Tensor, w: &Tensor, eps: f64, offset: f64) -> Result<Tensor> {
    let (xs, ws) = (Elements::of(x), Elements::of(w));
    with_float!(x, T => tensor(forward::<T>(xs.slice()?, ws.slice()?, eps, offset), x.shape()))
}

pub fn rms_norm_grad_(dx: &Tensor, x: &Tensor, w: &Tensor, dy: &Tensor, eps: f64, offset: f64) -> Result<()> {
    same_size("rms_norm_grad", &[dx, x, dy])?;
    let (x, w, dy) = (Elements::of(x), Elements::of(w), Elements::of(dy));
    with_float!(dx, T => {
        let (x, w, dy) = (x.slice()?, w.slice()?, dy.slice()?);
        update::<T, _>(dx, |dx| backward(dx, x, w, dy, (eps, offset)))
    })
}

pub fn rms_norm_products(x: &Tensor, dy: &Tensor, dtype: DType, eps: f64) -> Result<Tensor> {
    let one = Tensor::ones(x.dim(1)?, x.dtype(), x.device())?;
    Ok((rms_norm(x, &one, eps, 0.0)?.to_dtype(dtype)? * dy.to_dtype(dtype)?)?)
}

/// Reciprocal of the root mean square of a row.
#[inline(always)]
fn reciprocal<T: Float>(x: &[T], eps: f64) -> T {
    let n = T::from_f64(f64::from(u32::try_from(x.len()).unwrap_or(u32::MAX)));
    T::ONE / (dot(x, x) / n + T::from_f64(eps)).sqrt()
}

fn forward<T: Float>(x: &[T], w: &[T], eps: f64, offset: f64) -> Vec<T> {
    let (h, offset) = (w.len(), T::from_f64(offset));
    let mut y = vec![T::ZERO; x.len()];
    y.par_chunks_mut(h * ROWS).zip(x.par_chunks(h * ROWS)).for_each(|(y, x)| {
        simd(
            #[inline(always)]
            || {
                for (y, x) in y.chunks_exact_mut(h).zip(x.chunks_exact(h)) {
                    let r = reciprocal(x, eps);
                    for i in 0..h {
                        y[i] = (w[i] + offset) * (x[i] * r);
                    }
                }
            },
        );
    });
    y
}

fn backward<T: Float>(dx: &mut [T], x: &[T], w: &[T], dy: &[T], (eps, offset): (f64, f64)) {
    let (h, offset) = (w.len(), T::from_f64(offset));
    let n = T::from_f64(f64::from(u32::try_from(h).unwrap_or(u32::MAX)));
    dx.par_chunks_mut(h * ROWS).zip(x.par_chunks(h * ROWS)).zip(dy.par_chunks(h * ROWS)).for_each(|((dx, x), dy)| {
        simd(
            #[inline(always)]
            || {
                let mut g = vec![T::ZERO; h];
                for ((dx, x), dy) in dx.chunks_exact_mut(h).zip(x.chunks_exact(h)).zip(dy.chunks_exact(h)) {
                    let r = reciprocal(x, eps);
                    for i in 0..h {
                        g[i] = (w[i] + offset) * dy[i];
                    }
                    let pull = r * r * r * dot(&g, x) / n;
                    for i in 0..h {
                        dx[i] += r * g[i] - pull * x[i];
                    }
                }
            },
        );
    });
}
