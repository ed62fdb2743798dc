//! Rotary position embedding (Su et al. 2021) in the layout of Hugging Face: element i of a head turns with
//! element i + D/2.

use rayon::prelude::*;

use super::real::{Real, simd};

/// Turn every head of `x` [T, heads x D] in place by the angle of its position: `cos`, `sin` are [T, D/2].
/// `back` turns the other way, which is the gradient.
pub fn rope<T: Real>(x: &mut [T], cos: &[T], sin: &[T], heads: usize, dim: usize, back: bool) {
    let half = dim / 2;
    x.par_chunks_mut(heads * dim).zip(cos.par_chunks(half)).zip(sin.par_chunks(half)).for_each(|((x, cos), sin)| {
        simd(
            #[inline(always)]
            || {
                let sign = if back { -T::ONE } else { T::ONE };
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
