//! Rotary embedding on the CPU.

use candle_core::Tensor;
use rayon::prelude::*;

use crate::{
    error::{Error, Result},
    kernels::{
        float::{Float, with_float},
        simd::simd,
        storage::{Elements, same_size, update},
    },
};

/// Which way heads turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// By the angle of the position.
    Forward,
    /// Back by it, which is the gradient.
    Backward,
}

pub fn rope_(x: &Tensor, cos: &Tensor, sin: &Tensor, heads: usize, dim: usize, direction: Direction) -> Result<()> {
    same_size("rope", &[cos, sin])?;
    let half = pairs(cos, dim)?;
    let (cos, sin) = (Elements::of(cos), Elements::of(sin));
    with_float!(x, T => {
        let (cos, sin) = (cos.slice()?, sin.slice()?);
        update::<T, _>(x, |x| rope(x, (cos, sin, half), heads, dim, direction))
    })
}

/// R / 2, pairs of a head that turn.
///
/// # Errors
/// There are more than a head has.
pub fn pairs(cos: &Tensor, dim: usize) -> Result<usize> {
    match cos.dim(1)? {
        half if half > 0 && 2 * half <= dim => Ok(half),
        half => Err(Error::Other(format!("rope: {half} pairs in heads of {dim}"))),
    }
}

fn rope<T: Float>(x: &mut [T], (cos, sin, half): (&[T], &[T], usize), heads: usize, dim: usize, direction: Direction) {
    x.par_chunks_mut(heads * dim).zip(cos.par_chunks(half)).zip(sin.par_chunks(half)).for_each(|((x, cos), sin)| {
        simd(
            #[inline(always)]
            || {
                let sign = if direction == Direction::Backward { -T::ONE } else { T::ONE };
                for head in x.chunks_exact_mut(dim) {
                    let (a, b) = head[..2 * half].split_at_mut(half);
                    for i in 0..half {
                        let (s, u, v) = (sign * sin[i], a[i], b[i]);
                        a[i] = u * cos[i] - v * s;
                        b[i] = v * cos[i] + u * s;
                    }
                }
            },
        );
    });
}
