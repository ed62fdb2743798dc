//! What the kernels of gated activations share: f(gate) up of two tensors of one shape, and the gradients in place.

#[cfg(feature = "cuda")]
pub mod cuda;

use candle_core::Tensor;
use rayon::prelude::*;

use super::{
    float::{Float, with_float},
    simd::{CHUNK, simd},
    storage::{Elements, same_size, tensor, update, update2},
};
use crate::error::Result;

/// An activation, element by element.
pub trait Gated {
    /// What errors call it.
    const NAME: &'static str;

    /// f(gate) up
    fn product<T: Float>(gate: T, up: T) -> T;

    /// The gradients of gate and up, given that of the product, `d`, and the product.
    fn grads<T: Float>(gate: T, up: T, d: T) -> [T; 3];
}

/// f(gate) up, on the CPU.
pub fn forward<A: Gated>(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    same_size(A::NAME, &[gate, up])?;
    let (g, u) = (Elements::of(gate), Elements::of(up));
    with_float!(gate, T => tensor(products::<A, T>(g.slice()?, u.slice()?), gate.shape()))
}

fn products<A: Gated, T: Float>(gate: &[T], up: &[T]) -> Vec<T> {
    let mut out = vec![T::ZERO; gate.len()];
    out.par_chunks_mut(CHUNK).zip(gate.par_chunks(CHUNK)).zip(up.par_chunks(CHUNK)).for_each(|((out, gate), up)| {
        simd(
            #[inline(always)]
            || {
                for ((o, g), u) in out.iter_mut().zip(gate).zip(up) {
                    *o = A::product(*g, *u);
                }
            },
        );
    });
    out
}

/// Turn gate, up and `d` into the gradients of gate and up and the product, on the CPU.
pub fn backward_<A: Gated>(gate: &Tensor, up: &Tensor, d: &Tensor) -> Result<()> {
    same_size(A::NAME, &[gate, up, d])?;
    with_float!(gate, T => update::<T, _>(gate, |gate| update2::<T, T, _>(up, d, |up, d| grads::<A, T>(gate, up, d)))?)
}

fn grads<A: Gated, T: Float>(gate: &mut [T], up: &mut [T], d: &mut [T]) {
    let all = gate.par_chunks_mut(CHUNK).zip(up.par_chunks_mut(CHUNK)).zip(d.par_chunks_mut(CHUNK));
    all.for_each(|((gate, up), d)| {
        simd(
            #[inline(always)]
            || {
                for ((gate, up), d) in gate.iter_mut().zip(up).zip(d) {
                    [*gate, *up, *d] = A::grads(*gate, *up, *d);
                }
            },
        );
    });
}
