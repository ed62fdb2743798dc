//! rope.cu over tensors.

#![allow(unsafe_code, reason = "launches")]

use candle_core::Tensor;

use super::cpu::{Direction, pairs};
use crate::{
    error::{Error, Result},
    kernels::launch::{
        Launch, Module,
        Scalar::{F32, I32},
        THREADS, i32_of, module, suffix,
    },
};

const MODULE: Module = module!("rope");

pub fn rope_(x: &Tensor, cos: &Tensor, sin: &Tensor, heads: usize, dim: usize, direction: Direction) -> Result<()> {
    let (n, half, tokens) = (x.elem_count(), pairs(cos, dim)?, x.dim(0)?);
    if n != tokens * heads * dim {
        return Err(Error::Other(format!("rope: {:?} for {heads} heads of {dim}", x.shape())));
    }
    let sign = if direction == Direction::Backward { -1.0 } else { 1.0 };
    let launch = Launch::new(&MODULE, format!("rope_{}_{}", suffix(x.dtype())?, suffix(cos.dtype())?))
        .write(x, x.dtype(), n)?
        .read(cos, cos.dtype(), tokens * half)?
        .read(sin, cos.dtype(), tokens * half)?
        .values(&[I32(i32_of(heads)?), I32(i32_of(half)?), I32(i32_of(dim)?), F32(sign)]);
    // SAFETY: block i of `tokens` has row i of all three: `heads` times two halves within dim, and one of the angles.
    Ok(unsafe { launch.run((i32_of(tokens)?.unsigned_abs(), 1), THREADS, 0) }?)
}
