//! Products of a few rows with a weight, each row by itself: the texts that are written beside each other, one token each. The weight
//! is read once, in the type that it is held in: a row or two wait for memory, eight and more for arithmetic.

#[cfg(target_arch = "x86_64")]
mod vectors;

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
/// Elements of the weight that a thread takes at a time, about.
const BLOCK: usize = 1 << 14;
/// Products that are not worth the waking of a thread.
const FEW: usize = 1 << 16;

/// `dst = alpha x w^T + beta dst` for `x` [T, k], `w` [n, k] in any float type and `dst` [T, n]. An element is a sum whose order
/// depends on k alone: a row's result is the same whatever rows are beside it and however many, and for any number of threads. It is
/// also the same with AVX-512 as with AVX2 and FMA; processors without these round products before they add them up.
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

    /// `out[j][i]` becomes `finish` of what is there and the product of row j of `x` with row i of `w`, rows of `k` elements.
    fn block(out: &mut [&mut [T]], x: &[T], w: &[Self], k: usize, finish: impl Fn(&mut T, T));
}

impl Held<f64> for f64 {
    #[inline(always)]
    fn get(self) -> f64 {
        self
    }

    fn block(out: &mut [&mut [f64]], x: &[f64], w: &[f64], k: usize, finish: impl Fn(&mut f64, f64)) {
        portable(out, x, w, k, finish);
    }
}

macro_rules! held {
    ($t:ty) => {
        impl Held<f32> for $t {
            #[inline(always)]
            fn get(self) -> f32 {
                self.to_f32()
            }

            fn block(out: &mut [&mut [f32]], x: &[f32], w: &[Self], k: usize, finish: impl Fn(&mut f32, f32)) {
                #[cfg(target_arch = "x86_64")]
                if let Some(best) = vectors::Vectors::all().next() {
                    return best.block(out, x, w, k, finish);
                }
                portable(out, x, w, k, finish);
            }
        }
    };
}

held!(f32);
held!(bf16);
held!(f16);

fn with_weight<T: Float, E: Held<T>>(
    dst: &Tensor,
    x: &[T],
    w: &[E],
    k: usize,
    (alpha, beta): (f64, f64),
) -> Result<()> {
    let (t, n) = dst.dims2()?;
    let (alpha, beta) = (T::from_f64(alpha), T::from_f64(beta));
    update::<T, _>(dst, |out| {
        if t == 0 || n == 0 {
            return;
        }
        let finish = |out: &mut T, sum: T| {
            let sum = alpha * sum;
            *out = if beta == T::ZERO { sum } else { beta * *out + sum };
        };
        if k == 0 {
            for out in out {
                finish(out, T::ZERO);
            }
            return;
        }
        let few = t * n * k <= FEW;
        let rows = if few { n } else { (BLOCK / k).next_multiple_of(4).clamp(4, n.next_multiple_of(4)) };
        // Each block of the weight, with its columns of every row.
        let mut blocks: Vec<_> = w.chunks(rows * k).map(|w| (w, Vec::with_capacity(t))).collect();
        for row in out.chunks_exact_mut(n) {
            for ((_, columns), part) in blocks.iter_mut().zip(row.chunks_mut(rows)) {
                columns.push(part);
            }
        }
        if few {
            for (w, mut out) in blocks {
                E::block(&mut out, x, w, k, finish);
            }
        } else {
            blocks.into_par_iter().for_each(|(w, mut out)| E::block(&mut out, x, w, k, finish));
        }
    })
}

/// The same on processors without the instructions, and in f64.
fn portable<T: Float, E: Held<T>>(out: &mut [&mut [T]], x: &[T], w: &[E], k: usize, finish: impl Fn(&mut T, T)) {
    simd(
        #[inline(always)]
        || {
            for (i, w) in w.chunks_exact(k).enumerate() {
                for (x, out) in x.chunks_exact(k).zip(out.iter_mut()) {
                    let (ws, xs) = (w.as_chunks::<LANES>(), x.as_chunks::<LANES>());
                    let mut lanes = [T::ZERO; LANES];
                    for (w, x) in ws.0.iter().zip(xs.0) {
                        for l in 0..LANES {
                            lanes[l] += w[l].get() * x[l];
                        }
                    }
                    for (lane, (w, x)) in lanes.iter_mut().zip(ws.1.iter().zip(xs.1)) {
                        *lane += w.get() * *x;
                    }
                    for apart in [8, 4, 2, 1] {
                        for l in 0..apart {
                            lanes[l] += lanes[l + apart];
                        }
                    }
                    finish(&mut out[i], lanes[0]);
                }
            }
        },
    );
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
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn instructions_with_fused_products_give_the_same_bits() {
        fn sums<E: vectors::Held>(by: vectors::Vectors, x: &[f32], w: &[E], k: usize) -> Vec<f32> {
            let n = w.len() / k;
            let mut out = vec![0.0; x.len() / k * n];
            by.block(&mut out.chunks_mut(n).collect::<Vec<_>>(), x, w, k, |out, sum| *out = sum);
            out
        }
        let all: Vec<_> = vectors::Vectors::all().collect();
        for (k, n) in [(1, 1), (15, 5), (64, 13), (100, 66), (576, 64)] {
            let (x, w) = (uniform_vec(key(1, "x"), 13 * k, 1.0), uniform_vec(key(1, "w"), n * k, 1.0));
            let (w16, wb): (Vec<f16>, Vec<bf16>) = w.iter().map(|w| (f16::from_f32(*w), bf16::from_f32(*w))).unzip();
            for pair in all.windows(2) {
                let [a, b] = [pair[0], pair[1]];
                assert!(sums(a, &x, &w, k) == sums(b, &x, &w, k), "{a:?} {b:?} {k} by {n}");
                assert!(sums(a, &x, &wb, k) == sums(b, &x, &wb, k), "{a:?} {b:?} {k} by {n}, bf16");
                assert!(sums(a, &x, &w16, k) == sums(b, &x, &w16, k), "{a:?} {b:?} {k} by {n}, f16");
            }
        }
    }

    #[test]
    fn portable_sums_equal_the_definition() {
        for (k, n) in [(1, 1), (15, 5), (100, 66)] {
            let (x, w) = (uniform_vec(key(1, "x"), 3 * k, 1.0), uniform_vec(key(1, "w"), n * k, 1.0));
            let mut out = vec![0.0; 3 * n];
            portable(&mut out.chunks_mut(n).collect::<Vec<_>>(), &x, &w, k, |out: &mut f32, sum| *out = sum);
            for (i, got) in out.iter().enumerate() {
                let products =
                    w[i % n * k..][..k].iter().zip(&x[i / n * k..]).map(|(w, x)| f64::from(*w) * f64::from(*x));
                assert!((f64::from(*got) - products.sum::<f64>()).abs() < 1e-4, "{k} by {n}");
            }
        }
    }
}
