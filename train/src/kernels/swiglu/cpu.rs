//! SwiGLU on the CPU.

use candle_core::Tensor;
use rayon::prelude::*;

use crate::{
    error::Result,
    kernels::{
        float::{Float, with_float},
        simd::{CHUNK, simd},
        storage::{Elements, same_size, tensor},
    },
};

pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    same_size("swiglu", &[gate, up])?;
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
                    *o = *g / (T::ONE + (-*g).exp()) * *u;
                }
            },
        );
    });
    out
}

pub fn swiglu_grad(gate: &Tensor, up: &Tensor, dout: &Tensor) -> Result<(Tensor, Tensor)> {
    same_size("swiglu_grad", &[gate, up, dout])?;
    let (g, u, d) = (Elements::of(gate), Elements::of(up), Elements::of(dout));
    with_float!(gate, T => {
        let (dgate, dup) = backward::<T>(g.slice()?, u.slice()?, d.slice()?);
        Ok((tensor(dgate, gate.shape())?, tensor(dup, gate.shape())?))
    })
}

fn backward<T: Float>(gate: &[T], up: &[T], dout: &[T]) -> (Vec<T>, Vec<T>) {
    let (mut dgate, mut dup) = (vec![T::ZERO; gate.len()], vec![T::ZERO; gate.len()]);
    let outputs = dgate.par_chunks_mut(CHUNK).zip(dup.par_chunks_mut(CHUNK));
    let inputs = gate.par_chunks(CHUNK).zip(up.par_chunks(CHUNK)).zip(dout.par_chunks(CHUNK));
    outputs.zip(inputs).for_each(|((dgate, dup), ((gate, up), d))| {
        simd(
            #[inline(always)]
            || {
                for i in 0..gate.len() {
                    let (g, u) = (gate[i], up[i]);
                    let p = T::ONE / (T::ONE + (-g).exp());
                    dup[i] = d[i] * g * p;
                    dgate[i] = d[i] * u * p * (T::ONE + g * (T::ONE - p));
                }
            },
        );
    });
    (dgate, dup)
}
