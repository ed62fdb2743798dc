//! Noise on the CPU.

use candle_core::Tensor;
use rayon::prelude::*;

use crate::{
    error::Result,
    kernels::{
        float::{Float, with_float},
        storage::update,
    },
    random::uniform,
};

pub fn noise_(x: &Tensor, magnitude: &[f32], key: u64) -> Result<()> {
    with_float!(x, T => update::<T, _>(x, |x| noise(x, magnitude, key)))
}

fn noise<T: Float>(x: &mut [T], magnitude: &[f32], key: u64) {
    let h = x.len() / magnitude.len().max(1);
    x.par_chunks_mut(h).zip(magnitude).enumerate().for_each(|(t, (row, m))| {
        for (c, v) in row.iter_mut().enumerate() {
            *v += T::from_f32((2.0 * uniform(key, (t * h + c) as u64) - 1.0) * m);
        }
    });
}
