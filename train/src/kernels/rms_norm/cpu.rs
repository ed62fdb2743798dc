//! RMSNorm, `y = w x / sqrt(mean(x^2) + eps)` (Zhang and Sennrich 2019), and its gradient with respect to x.

use rayon::prelude::*;

use super::real::{Real, simd};

/// Rows given to a thread at a time.
const ROWS: usize = 16;

/// Reciprocal of the root mean square of a row.
#[inline(always)]
#[allow(clippy::inline_always, reason = "vector code")]
fn reciprocal<T: Real>(x: &[T], eps: f64) -> T {
    let n = T::of(f64::from(u32::try_from(x.len()).unwrap_or(u32::MAX)));
    T::ONE / (dot(x, x) / n + T::of(eps)).root()
}

/// Sum of products, in sixteen partial sums so that it becomes vector code.
#[inline(always)]
#[allow(clippy::inline_always, reason = "vector code")]
pub fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    const LANES: usize = 16;
    let mut sums = [T::ZERO; LANES];
    let (ac, bc) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = ac.remainder().iter().zip(bc.remainder()).fold(T::ZERO, |s, (x, y)| s + *x * *y);
    for (x, y) in ac.zip(bc) {
        for i in 0..LANES {
            sums[i] += x[i] * y[i];
        }
    }
    sums.iter().fold(rest, |s, x| s + *x)
}

/// `x` [T, H], `w` [H] -> [T, H].
pub fn rms_norm<T: Real>(x: &[T], w: &[T], eps: f64) -> Vec<T> {
    let h = w.len();
    let mut y = vec![T::ZERO; x.len()];
    y.par_chunks_mut(h * ROWS).zip(x.par_chunks(h * ROWS)).for_each(|(y, x)| {
        simd(
            #[inline(always)]
            || {
                for (y, x) in y.chunks_exact_mut(h).zip(x.chunks_exact(h)) {
                    let r = reciprocal(x, eps);
                    for i in 0..h {
                        y[i] = w[i] * (x[i] * r);
                    }
                }
            },
        );
    });
    y
}

/// Gradient with respect to `x`, added to `dx`: with r the reciprocal root mean square and g = w dy,
/// `dx += r g - x r^3 mean(g x)`. All [T, H].
pub fn rms_norm_grad<T: Real>(dx: &mut [T], x: &[T], w: &[T], dy: &[T], eps: f64) {
    let h = w.len();
    let n = T::of(f64::from(u32::try_from(h).unwrap_or(u32::MAX)));
    dx.par_chunks_mut(h * ROWS).zip(x.par_chunks(h * ROWS)).zip(dy.par_chunks(h * ROWS)).for_each(|((dx, x), dy)| {
        simd(
            #[inline(always)]
            || {
                let mut g = vec![T::ZERO; h];
                for ((dx, x), dy) in dx.chunks_exact_mut(h).zip(x.chunks_exact(h)).zip(dy.chunks_exact(h)) {
                    let r = reciprocal(x, eps);
                    for i in 0..h {
                        g[i] = w[i] * dy[i];
                    }
                    let pull = r * r * r * dot(&g, x) / n;
                    for i in 0..h {
                        dx[i] += r * g[i] - pull * x[i];
                    }
                }
            },
        );
    });
}
