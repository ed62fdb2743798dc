//! Sums on the CPU.

use candle_core::Tensor;
use rayon::prelude::*;

use crate::{
    error::Result,
    kernels::{
        float::{Float, with_float},
        simd::{CHUNK, simd},
        storage::{Elements, same_size, update},
    },
};

pub fn add_(dst: &Tensor, src: &Tensor, s: f64) -> Result<()> {
    same_size("add", &[dst, src])?;
    let src = Elements::of(src);
    with_float!(dst, T => {
        let src = src.slice()?;
        update::<T, _>(dst, |dst| add(dst, src, s))
    })
}

fn add<T: Float>(dst: &mut [T], src: &[T], s: f64) {
    let s = T::from_f64(s);
    dst.par_chunks_mut(CHUNK).zip(src.par_chunks(CHUNK)).for_each(|(dst, src)| {
        simd(
            #[inline(always)]
            || dst.iter_mut().zip(src).for_each(|(d, x)| *d += s * *x),
        );
    });
}

pub fn add_bias_(dst: &Tensor, bias: &Tensor) -> Result<()> {
    same_size("bias", &[bias, &dst.narrow(0, 0, 1)?])?;
    let bias = Elements::of(bias);
    with_float!(dst, T => {
        let bias = bias.slice::<T>()?;
        update::<T, _>(dst, |dst| {
            dst.par_chunks_mut(bias.len()).for_each(|row| row.iter_mut().zip(bias).for_each(|(d, b)| *d += *b));
        })
    })
}
