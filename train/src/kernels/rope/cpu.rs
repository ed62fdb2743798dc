//! Rotary embedding on the CPU.

use candle_core::Tensor;
use rayon::prelude::*;

use crate::{
    error::Result,
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
    let (cos, sin) = (Elements::of(cos), Elements::of(sin));
    with_float!(x, T => {
        let (cos, sin) = (cos.slice()?, sin.slice()?);
        update::<T, _>(x, |x| rope(x, cos, sin, heads, dim, direction))
    })
}

fn rope<T: Float>(x: &mut [T], cos: &[T], sin: &[T], heads: usize, dim: usize, direction: Direction) {
    let half = dim / 2;
    x.par_chunks_mut(heads * dim).zip(cos.par_chunks(half)).zip(sin.par_chunks(half)).for_each(|((x, cos), sin)| {
        simd(
            #[inline(always)]
            || {
                let sign = if direction == Direction::Backward { -T::ONE } else { T::ONE };
                for head in x.chunks_exact_mut(dim) {
                    let (a, b) = head.split_at_mut(half);
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
