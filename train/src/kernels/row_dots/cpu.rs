//! Products of rows on the CPU.

use candle_core::{Tensor, WithDType};
use rayon::prelude::*;

use crate::{
    error::Result,
    kernels::{
        float::{Float, with_float},
        simd::{dot, simd},
        storage::Elements,
    },
};

pub fn row_dots(a: &Tensor, b: &Tensor) -> Result<Vec<f64>> {
    let (x, y, width) = (Elements::of(a), Elements::of(b), a.dim(1)?);
    with_float!(a, T => Ok(dots::<T>(x.slice()?, y.slice()?, width)))
}

fn dots<T: Float + WithDType>(a: &[T], b: &[T], width: usize) -> Vec<f64> {
    let rows = a.par_chunks(width.max(1)).zip(b.par_chunks(width.max(1)));
    rows.map(|(a, b)| {
        let sum = simd(
            #[inline(always)]
            || dot(a, b),
        );
        WithDType::to_f64(sum)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::random::{key, uniform_vec};

    #[test]
    fn equals_the_definition() {
        for (rows, width) in [(1, 1), (3, 16), (5, 577)] {
            let [a, b] = ["a", "b"].map(|name| uniform_vec(key(1, name), rows * width, 1.0));
            let tensor = |x: &[f32]| Tensor::from_slice(x, (rows, width), &Device::Cpu).unwrap();
            let got = row_dots(&tensor(&a), &tensor(&b)).unwrap();
            let want = a
                .chunks(width)
                .zip(b.chunks(width))
                .map(|(a, b)| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>());
            assert_eq!(got.len(), rows);
            assert!(got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-5), "{rows} by {width}");
        }
        let a = Tensor::ones((2, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
        assert!(super::super::row_dots(&a, &a.t().unwrap().contiguous().unwrap()).is_err());
    }
}
