//! Dropout on the CPU.

use candle_core::Tensor;
use rayon::prelude::*;

use crate::{
    error::Result,
    kernels::{
        float::{Float, with_float},
        output::Output,
        simd::{CHUNK, simd},
        storage::{Elements, same_size, update},
    },
    random::mask_bits,
};

/// The share `p` as a threshold for 32 random bits.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "p is in [0, 1)")]
pub fn threshold(p: f64) -> u32 {
    (p * 4_294_967_296.0) as u32
}

pub fn dropout_(dst: &Tensor, x: &Tensor, key: u64, p: f64, output: Output) -> Result<()> {
    same_size("dropout", &[dst, x])?;
    let x = Elements::of(x);
    with_float!(dst, T => {
        let x = x.slice()?;
        update::<T, _>(dst, |dst| dropout(dst, x, key, p, output))
    })
}

fn dropout<T: Float>(dst: &mut [T], x: &[T], key: u64, p: f64, output: Output) {
    let (limit, scale, add) = (threshold(p), T::from_f64(1.0 / (1.0 - p)), output == Output::Accumulate);
    dst.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).enumerate().for_each(|(chunk, (dst, x))| {
        #[allow(clippy::cast_possible_truncation, reason = "a micro-batch has fewer than 2^32 elements")]
        let first = (chunk * CHUNK) as u32;
        simd(
            #[inline(always)]
            || {
                for (i, (d, x)) in (0_u32..).zip(dst.iter_mut().zip(x)) {
                    let kept = if mask_bits(key, first.wrapping_add(i)) >= limit { *x * scale } else { T::ZERO };
                    *d = if add { *d + kept } else { kept };
                }
            },
        );
    });
}
