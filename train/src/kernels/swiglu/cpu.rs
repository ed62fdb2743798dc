//! Kernels that treat each element alone: SwiGLU, dropout, noise, sums.

use rayon::prelude::*;

use super::real::{Real, simd};
use crate::random::{mask_bits, uniform};

/// Elements given to a thread at a time; a fixed number, so that sums do not depend on the threads.
const PIECE: usize = 1 << 14;

/// `dst += s src`.
pub fn add<T: Real>(dst: &mut [T], src: &[T], s: f64) {
    let s = T::of(s);
    dst.par_chunks_mut(PIECE).zip(src.par_chunks(PIECE)).for_each(|(dst, src)| {
        simd(
            #[inline(always)]
            || dst.iter_mut().zip(src).for_each(|(d, x)| *d += s * *x),
        );
    });
}

/// `dst[t, c] += bias[c]`.
pub fn add_bias<T: Real>(dst: &mut [T], bias: &[T]) {
    dst.par_chunks_mut(bias.len()).for_each(|row| row.iter_mut().zip(bias).for_each(|(d, b)| *d += *b));
}

/// `silu(gate) up` with `silu(x) = x / (1 + e^-x)` (Shazeer 2020).
pub fn swiglu<T: Real>(gate: &[T], up: &[T]) -> Vec<T> {
    let mut out = vec![T::ZERO; gate.len()];
    out.par_chunks_mut(PIECE).zip(gate.par_chunks(PIECE)).zip(up.par_chunks(PIECE)).for_each(|((out, gate), up)| {
        simd(
            #[inline(always)]
            || {
                for ((o, g), u) in out.iter_mut().zip(gate).zip(up) {
                    *o = *g / (T::ONE + (-*g).power()) * *u;
                }
            },
        );
    });
    out
}

/// Gradients of [`swiglu`] with respect to `gate` and `up`, given that of its result:
/// with p = 1 / (1 + e^-g), `dup = d g p`, `dgate = d u p (1 + g (1 - p))`.
pub fn swiglu_grad<T: Real>(gate: &[T], up: &[T], d: &[T]) -> (Vec<T>, Vec<T>) {
    let (mut dgate, mut dup) = (vec![T::ZERO; gate.len()], vec![T::ZERO; gate.len()]);
    let outputs = dgate.par_chunks_mut(PIECE).zip(dup.par_chunks_mut(PIECE));
    let inputs = gate.par_chunks(PIECE).zip(up.par_chunks(PIECE)).zip(d.par_chunks(PIECE));
    outputs.zip(inputs).for_each(|((dgate, dup), ((gate, up), d))| {
        simd(
            #[inline(always)]
            || {
                for i in 0..gate.len() {
                    let (g, u) = (gate[i], up[i]);
                    let p = T::ONE / (T::ONE + (-g).power());
                    dup[i] = d[i] * g * p;
                    dgate[i] = d[i] * u * p * (T::ONE + g * (T::ONE - p));
                }
            },
        );
    });
    (dgate, dup)
}

/// The share `p` as a threshold for 32 random bits.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "p is in [0, 1)")]
pub fn threshold(p: f64) -> u32 {
    (p * 4_294_967_296.0) as u32
}

/// `dst = beta dst + x mask / (1 - p)`, where the mask of element i is a function of `key` and i alone: the
/// forward pass uses it on activations, the backward pass on gradients.
pub fn dropout<T: Real>(dst: &mut [T], x: &[T], key: u64, p: f64, add: bool) {
    let (limit, scale) = (threshold(p), T::of(1.0 / (1.0 - p)));
    dst.par_chunks_mut(PIECE).zip(x.par_chunks(PIECE)).enumerate().for_each(|(piece, (dst, x))| {
        #[allow(clippy::cast_possible_truncation, reason = "a micro-batch has fewer than 2^32 elements")]
        let first = (piece * PIECE) as u32;
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

/// NEFTune (Jain et al. 2023): add to row t of `x` [T, H] noise uniform in [-m, m) with `m = magnitude[t]`.
pub fn noise<T: Real>(x: &mut [T], magnitude: &[f32], key: u64) {
    let h = x.len() / magnitude.len().max(1);
    x.par_chunks_mut(h).zip(magnitude).enumerate().for_each(|(t, (row, m))| {
        for (c, v) in row.iter_mut().enumerate() {
            *v += T::of32((2.0 * uniform(key, (t * h + c) as u64) - 1.0) * m);
        }
    });
}
