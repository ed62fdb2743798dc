//! Sums of squares beside sums in f64.

use candle_core::Tensor;

use crate::{
    error::Result,
    kernels::gpu_check::{Gpu, Pair, TYPES, values},
};

pub fn sum_squares(gpu: &Gpu) -> Result<()> {
    let mut tensors: Vec<Pair> = Vec::new();
    for n in [1, 7, 300, 576 * 1024 + 1] {
        for dtype in TYPES {
            tensors.push(gpu.random("x", &[n], 3.0, dtype)?);
        }
    }
    let there: Vec<&Tensor> = tensors.iter().map(|t| &t.1).collect();
    let got = super::sum_squares(&there)?;
    for (got, pair) in got.iter().zip(&tensors) {
        let want: f64 = values(&pair.0)?.iter().map(|x| f64::from(*x).powi(2)).sum();
        let name = format!("sum_squares {}", pair.1.dtype().as_str());
        gpu.say(&name, &format!("{}", pair.1.elem_count()), (got / want - 1.0).abs(), 1e-12);
    }
    gpu.same("sum_squares twice", "all", &got, &super::sum_squares(&there)?);
    Ok(())
}
