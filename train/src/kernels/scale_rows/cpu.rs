//! Rows times a number each on the CPU.

use candle_core::Tensor;
use rayon::prelude::*;

use crate::{
    error::Result,
    kernels::{
        float::{Float, with_float},
        storage::update,
    },
};

pub fn scale_rows_(x: &Tensor, weights: &[f64]) -> Result<()> {
    let width = x.dim(1)?;
    with_float!(x, T => update::<T, _>(x, |x| scale(x, width, weights)))
}

fn scale<T: Float>(x: &mut [T], width: usize, weights: &[f64]) {
    x.par_chunks_mut(width.max(1)).zip(weights).for_each(|(row, weight)| {
        let weight = T::from_f64(*weight);
        for x in row {
            *x *= weight;
        }
    });
}
