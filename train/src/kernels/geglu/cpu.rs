//! GEGLU on the CPU.

use candle_core::Tensor;
use rayon::prelude::*;

use crate::{
    error::Result,
    kernels::{
        float::{Float, with_float},
        simd::{CHUNK, simd},
        storage::{Elements, same_size, tensor, update, update2},
    },
};

/// 2 sqrt(2 / pi)
const TWICE: f64 = 1.595_769_121_605_730_8;
const CUBIC: f64 = 0.044_715;

/// p, and the derivative of gelu.
#[inline(always)]
fn gelu<T: Float>(x: T) -> (T, T) {
    let (twice, cubic, three) = (T::from_f64(TWICE), T::from_f64(CUBIC), T::from_f64(3.0));
    let square = x * x;
    let p = T::ONE / (T::ONE + (-(twice * x * (T::ONE + cubic * square))).exp());
    (p, p + x * p * (T::ONE - p) * twice * (T::ONE + three * cubic * square))
}

pub fn geglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    same_size("geglu", &[gate, up])?;
    let (g, u) = (Elements::of(gate), Elements::of(up));
    with_float!(gate, T => tensor(forward::<T>(g.slice()?, u.slice()?), gate.shape()))
}

fn forward<T: Float>(gate: &[T], up: &[T]) -> Vec<T> {
    let mut out = vec![T::ZERO; gate.len()];
    out.par_chunks_mut(CHUNK).zip(gate.par_chunks(CHUNK)).zip(up.par_chunks(CHUNK)).for_each(|((out, gate), up)| {
        simd(
            #[inline(always)]
            || {
                for ((o, g), u) in out.iter_mut().zip(gate).zip(up) {
                    *o = *g * gelu(*g).0 * *u;
                }
            },
        );
    });
    out
}

pub fn geglu_grad_(gate: &Tensor, up: &Tensor, d: &Tensor) -> Result<()> {
    same_size("geglu_grad", &[gate, up, d])?;
    with_float!(gate, T => update::<T, _>(gate, |gate| update2::<T, T, _>(up, d, |up, d| backward(gate, up, d)))?)
}

fn backward<T: Float>(gate: &mut [T], up: &mut [T], d: &mut [T]) {
    let all = gate.par_chunks_mut(CHUNK).zip(up.par_chunks_mut(CHUNK)).zip(d.par_chunks_mut(CHUNK));
    all.for_each(|((gate, up), d)| {
        simd(
            #[inline(always)]
            || {
                for ((gate, up), d) in gate.iter_mut().zip(up).zip(d) {
                    let (g, u, dout) = (*gate, *up, *d);
                    let (p, slope) = gelu(g);
                    *d = g * p * u;
                    *up = dout * g * p;
                    *gate = dout * u * slope;
                }
            },
        );
    });
}
