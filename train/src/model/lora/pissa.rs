//! PiSSA (Meng et al. 2024, arXiv 2404.02948): the adapter starts as the r principal components of the weight, which
//! leave the frozen part. They are found by subspace iteration from random vectors (Halko, Martinsson and Tropp 2011):
//! multiply by W and W^T in turn, make the columns orthonormal in between, and solve what is left, k by k, by Jacobi's
//! rotations.

use candle_core::{DType, Device, Tensor};

use crate::{
    error::Result,
    kernels::{
        gemm::cpu::{Threads, gemm},
        matrix::Mat,
        simd::dot,
    },
    random,
};

/// Vectors beyond r, so that the r-th is told well from the next.
const SPARE: usize = 8;
/// Rounds of multiplying by W and W^T; each makes the ratio of two singular values count twice more.
const ROUNDS: usize = 16;

/// A weight as an adapter and what is left of it.
pub struct Split {
    /// sqrt(S / scale) V^T, [r, in].
    pub a: Tensor,
    /// U sqrt(S / scale), [out, r].
    pub b: Tensor,
    /// W - scale B A, [out, in], in f32.
    pub residual: Tensor,
}

/// Split `weight` [out, in] for rank `r` and the adapter's `scale`. The random vectors are those of `key`.
pub fn split(weight: &Tensor, r: usize, scale: f64, key: u64) -> Result<Split> {
    let (out, input) = weight.dims2()?;
    let r = r.min(out).min(input);
    let k = (r + SPARE).min(out).min(input);
    let w: Vec<f32> = weight.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
    let mat = Mat::rows(&w, out, input, input);
    // Vectors are kept as rows, so that making them orthonormal walks memory in order.
    let mut v = random::normal_vec(key, k * input, 1.0);
    let mut u = vec![0.0_f32; k * out];
    for _ in 0..ROUNDS {
        orthonormal(&mut v, input);
        gemm(&mut u, out, Mat::rows(&v, k, input, input), mat.t(), (1.0, 0.0), Threads::All);
        orthonormal(&mut u, out);
        gemm(&mut v, input, Mat::rows(&u, k, out, out), mat, (1.0, 0.0), Threads::All);
    }
    // v = U^T W now. Its left singular vectors and values come from the k by k matrix v v^T.
    let mut square = vec![0.0_f64; k * k];
    for i in 0..k {
        for j in 0..=i {
            let product = wide_dot(&v[i * input..][..input], &v[j * input..][..input]);
            (square[i * k + j], square[j * k + i]) = (product, product);
        }
    }
    let (values, vectors) = eigen(square, k);
    let (mut a, mut b) = (vec![0.0_f32; r * input], vec![0.0_f32; out * r]);
    for (row, (value, vector)) in values.iter().zip(&vectors).take(r).enumerate() {
        let singular = value.max(0.0).sqrt();
        let size = (singular / scale).sqrt();
        for (j, weight) in vector.iter().enumerate() {
            #[allow(clippy::cast_possible_truncation, reason = "rounded to f32 on purpose")]
            let (to_a, to_b) = ((weight / singular.max(f64::MIN_POSITIVE) * size) as f32, (weight * size) as f32);
            a[row * input..][..input].iter_mut().zip(&v[j * input..]).for_each(|(x, y)| *x += to_a * y);
            for i in 0..out {
                b[i * r + row] += to_b * u[j * out + i];
            }
        }
    }
    let mut residual = w.clone();
    gemm(&mut residual, input, Mat::rows(&b, out, r, r), Mat::rows(&a, r, input, input), (-scale, 1.0), Threads::All);
    let tensor = |v: Vec<f32>, shape: (usize, usize)| Tensor::from_vec(v, shape, &Device::Cpu);
    Ok(Split { a: tensor(a, (r, input))?, b: tensor(b, (out, r))?, residual: tensor(residual, (out, input))? })
}

fn wide_dot(a: &[f32], b: &[f32]) -> f64 {
    a.chunks(256).zip(b.chunks(256)).map(|(a, b)| f64::from(dot(a, b))).sum()
}

/// Gram and Schmidt over rows of `n`, each row twice: once leaves too much of the others where rows are nearly alike.
fn orthonormal(rows: &mut [f32], n: usize) {
    for i in 0..rows.len() / n {
        let (before, rest) = rows.split_at_mut(i * n);
        let row = &mut rest[..n];
        for _ in 0..2 {
            for other in before.chunks_exact(n) {
                #[allow(clippy::cast_possible_truncation, reason = "rounded to f32 on purpose")]
                let along = wide_dot(row, other) as f32;
                row.iter_mut().zip(other).for_each(|(x, y)| *x -= along * y);
            }
        }
        let norm = wide_dot(row, row).sqrt();
        // A weight of lower rank has no more directions: leave zeros.
        #[allow(clippy::cast_possible_truncation, reason = "rounded to f32 on purpose")]
        let scale = if norm > 1e-30 { (1.0 / norm) as f32 } else { 0.0 };
        for x in row.iter_mut() {
            *x *= scale;
        }
    }
}

/// Eigenvalues of a symmetric matrix, largest first, and their vectors (Jacobi 1846: rotate each pair until nothing
/// is left beside the diagonal).
fn eigen(mut m: Vec<f64>, k: usize) -> (Vec<f64>, Vec<Vec<f64>>) {
    let mut vectors: Vec<Vec<f64>> = (0..k).map(|i| (0..k).map(|j| f64::from(u8::from(i == j))).collect()).collect();
    for _ in 0..60 {
        let beside: f64 = (0..k).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| m[i * k + j].powi(2)).sum();
        let along: f64 = (0..k).map(|i| m[i * k + i].powi(2)).sum();
        if beside <= 1e-28 * along {
            break;
        }
        for p in 0..k {
            for q in p + 1..k {
                let off = m[p * k + q];
                if off == 0.0 {
                    continue;
                }
                let theta = (m[q * k + q] - m[p * k + p]) / (2.0 * off);
                let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let (c, s) = (1.0 / (t * t + 1.0).sqrt(), t / (t * t + 1.0).sqrt());
                for i in 0..k {
                    let (x, y) = (m[i * k + p], m[i * k + q]);
                    (m[i * k + p], m[i * k + q]) = (c * x - s * y, s * x + c * y);
                }
                for i in 0..k {
                    let (x, y) = (m[p * k + i], m[q * k + i]);
                    (m[p * k + i], m[q * k + i]) = (c * x - s * y, s * x + c * y);
                    let (x, y) = (vectors[p][i], vectors[q][i]);
                    (vectors[p][i], vectors[q][i]) = (c * x - s * y, s * x + c * y);
                }
            }
        }
    }
    let mut order: Vec<usize> = (0..k).collect();
    order.sort_by(|i, j| m[j * k + j].total_cmp(&m[i * k + i]));
    (order.iter().map(|i| m[i * k + i]).collect(), order.iter().map(|i| std::mem::take(&mut vectors[*i])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{key, normal_vec};

    fn squares(values: &[f32]) -> f64 {
        values.iter().map(|x| f64::from(*x).powi(2)).sum()
    }

    /// Eckart and Young: what is left of the best approximation of rank r has the other singular values.
    #[test]
    fn what_is_left_has_the_smaller_singular_values() -> Result<()> {
        for (out, input, r) in [(40, 24, 4), (24, 40, 8), (16, 16, 16), (30, 3, 8)] {
            let w = normal_vec(key(1, "w"), out * input, 1.0);
            let weight = Tensor::from_vec(w.clone(), (out, input), &Device::Cpu)?;
            let start = split(&weight, r, 2.0, key(1, "start"))?;
            let mut square = vec![0.0; out * out];
            for i in 0..out {
                for j in 0..out {
                    square[i * out + j] = wide_dot(&w[i * input..][..input], &w[j * input..][..input]);
                }
            }
            let (values, _) = eigen(square, out);
            let want: f64 = values[r.min(input).min(out)..].iter().sum();
            let got = squares(&start.residual.flatten_all()?.to_vec1::<f32>()?);
            assert!((got - want.max(0.0)).abs() < 2e-4 * squares(&w), "{out}x{input}, rank {r}: {got} and {want}");
            let (a, b) = (start.a.to_vec2::<f32>()?, start.b.t()?.to_vec2::<f32>()?);
            for (a, b) in a.iter().zip(&b) {
                // Both halves carry the root of the singular value.
                assert!((squares(a) / squares(b) - 1.0).abs() < 1e-3, "{} and {}", squares(a), squares(b));
            }
        }
        Ok(())
    }
}
