//! Products of a few rows with a weight, each row by itself: the texts that are written beside each other, one token each. Such a
//! product is bound by the reading of the weight, which is read once, in the type that it is held in.

use candle_core::{DType, Tensor};
use half::{bf16, f16};
use rayon::prelude::*;

use super::cpu::dims;
use crate::{
    error::Result,
    kernels::{
        float::Float,
        simd::simd,
        storage::{Elements, FloatElement, update},
    },
};

/// Partial sums of an element.
const LANES: usize = 16;
/// Rows of the weight that a thread takes at a time.
const BLOCK: usize = 64;
/// Rows of the weight and of the other factor whose products are added up side by side.
const TILE: (usize, usize) = (4, 4);

/// `dst = alpha x w^T + beta dst` for `x` [T, k], `w` [n, k] in any float type and `dst` [T, n]. An element is a sum whose order
/// depends on k alone: a row's result is the same whatever rows are beside it and however many, and for any number of threads.
pub fn rows_(dst: &Tensor, x: &Tensor, w: &Tensor, alpha: f64, beta: f64) -> Result<()> {
    let (_, k, _) = dims(dst, x, &w.t()?)?;
    let (xs, ws) = (Elements::of(x), Elements::of(w));
    match (dst.dtype(), w.dtype()) {
        (DType::F64, _) => with_weight::<f64, f64>(dst, xs.slice()?, ws.slice()?, k, (alpha, beta)),
        (_, DType::BF16) => with_weight::<f32, bf16>(dst, xs.slice()?, ws.slice()?, k, (alpha, beta)),
        (_, DType::F16) => with_weight::<f32, f16>(dst, xs.slice()?, ws.slice()?, k, (alpha, beta)),
        _ => with_weight::<f32, f32>(dst, xs.slice()?, ws.slice()?, k, (alpha, beta)),
    }
}

/// What a weight is held in, as what is computed with.
trait Held<T>: Copy + Sync {
    fn get(self) -> T;
}

impl Held<f64> for f64 {
    #[inline(always)]
    fn get(self) -> f64 {
        self
    }
}

impl<E: FloatElement + Sync> Held<f32> for E {
    #[inline(always)]
    fn get(self) -> f32 {
        self.to_f32()
    }
}

fn with_weight<T: Float, E: Held<T>>(
    dst: &Tensor,
    x: &[T],
    w: &[E],
    k: usize,
    (alpha, beta): (f64, f64),
) -> Result<()> {
    let (t, n) = dst.dims2()?;
    let (alpha, beta) = (T::from_f64(alpha), T::from_f64(beta));
    // [n, T]: threads write to parts of their own.
    let mut sums = vec![T::ZERO; n * t];
    sums.par_chunks_mut((BLOCK * t).max(1)).zip(w.par_chunks((BLOCK * k).max(1))).for_each(|(sums, w)| {
        simd(
            #[inline(always)]
            || block(sums, x, w, (t, k)),
        );
    });
    update::<T, _>(dst, |out| {
        for (row, out) in out.chunks_exact_mut(n.max(1)).enumerate() {
            for (column, out) in out.iter_mut().enumerate() {
                let sum = alpha * sums[column * t + row];
                *out = if beta == T::ZERO { sum } else { beta * *out + sum };
            }
        }
    })
}

/// Sums [rows of w, T].
#[inline(always)]
fn block<T: Float, E: Held<T>>(sums: &mut [T], x: &[T], w: &[E], (t, k): (usize, usize)) {
    let rows = sums.len() / t;
    let mut row = 0;
    while row < rows {
        let whole = row + TILE.0 <= rows;
        let mut column = 0;
        while column < t {
            let step = if whole && column + TILE.1 <= t {
                tile::<T, E, { TILE.0 }, { TILE.1 }>(sums, x, w, (row, column), (t, k));
                TILE.1
            } else if whole {
                tile::<T, E, { TILE.0 }, 1>(sums, x, w, (row, column), (t, k));
                1
            } else {
                tile::<T, E, 1, 1>(sums, x, w, (row, column), (t, k));
                1
            };
            column += step;
        }
        row += if whole { TILE.0 } else { 1 };
    }
}

#[inline(always)]
fn tile<T: Float, E: Held<T>, const W: usize, const X: usize>(
    sums: &mut [T],
    x: &[T],
    w: &[E],
    (row, column): (usize, usize),
    (t, k): (usize, usize),
) {
    let whole = k / LANES * LANES;
    let mut lanes = [[[T::ZERO; LANES]; X]; W];
    for at in (0..whole).step_by(LANES) {
        let mut xs = [[T::ZERO; LANES]; X];
        for (j, xs) in xs.iter_mut().enumerate() {
            xs.copy_from_slice(&x[(column + j) * k + at..][..LANES]);
        }
        for (i, lanes) in lanes.iter_mut().enumerate() {
            let held = &w[(row + i) * k + at..][..LANES];
            let mut ws = [T::ZERO; LANES];
            for (w, held) in ws.iter_mut().zip(held) {
                *w = held.get();
            }
            for (lanes, xs) in lanes.iter_mut().zip(&xs) {
                for l in 0..LANES {
                    lanes[l] += ws[l] * xs[l];
                }
            }
        }
    }
    for (i, lanes) in lanes.iter().enumerate() {
        for (j, lanes) in lanes.iter().enumerate() {
            let mut sum = T::ZERO;
            for at in whole..k {
                sum += w[(row + i) * k + at].get() * x[(column + j) * k + at];
            }
            for lane in lanes {
                sum += *lane;
            }
            sums[(row + i) * t + column + j] = sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::random::{key, uniform_vec};

    fn product(x: &[f32], w: &Tensor, k: usize, threads: usize) -> Vec<f32> {
        let t = x.len() / k;
        let x = Tensor::from_slice(x, (t, k), &Device::Cpu).unwrap();
        let dst = Tensor::ones((t, w.dim(0).unwrap()), DType::F32, &Device::Cpu).unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| rows_(&dst, &x, w, 2.0, 0.5)).unwrap();
        dst.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn a_row_is_the_same_whatever_is_beside_it_and_equals_the_definition() {
        for (k, n) in [(1, 1), (15, 5), (64, 130), (100, 66), (576, 64)] {
            let (x, w) = (uniform_vec(key(1, "x"), 21 * k, 1.0), uniform_vec(key(1, "w"), n * k, 1.0));
            let w = Tensor::from_slice(&w, (n, k), &Device::Cpu).unwrap();
            for w in [DType::F32, DType::BF16, DType::F16].map(|dtype| w.to_dtype(dtype).unwrap()) {
                let all = product(&x, &w, k, 2);
                for t in 1..21 {
                    assert!(product(&x[..t * k], &w, k, 1) == all[..t * n], "{t} rows of {k} by {n}");
                }
                let rows: Vec<Vec<f32>> = w.to_dtype(DType::F32).unwrap().to_vec2().unwrap();
                for (i, got) in all.iter().enumerate() {
                    let (row, column) = (i / n, i % n);
                    let products = rows[column].iter().zip(&x[row * k..]).map(|(w, x)| f64::from(*w) * f64::from(*x));
                    let want = 2.0 * products.sum::<f64>() + 0.5;
                    assert!((f64::from(*got) - want).abs() < 1e-4, "{k} by {n}");
                }
            }
        }
    }
}
