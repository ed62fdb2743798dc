//! Vector code for the machine at hand.

use super::float::Float;

/// Elements given to a thread at a time by kernels that treat each element alone.
pub const CHUNK: usize = 1 << 14;

/// Compile `f` for the widest vectors of this machine.
#[inline]
pub fn simd<R>(f: impl FnOnce() -> R) -> R {
    struct Run<F>(F);
    impl<R, F: FnOnce() -> R> pulp::NullaryFnOnce for Run<F> {
        type Output = R;
        #[inline(always)]
        fn call(self) -> R {
            (self.0)()
        }
    }
    pulp::Arch::new().dispatch(Run(f))
}

/// Sum of products, in sixteen partial sums so that it becomes vector code.
#[inline(always)]
pub fn dot<T: Float>(a: &[T], b: &[T]) -> T {
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

/// The largest of numbers, negative infinity if there are none.
pub fn largest_of(of: &[f32]) -> f32 {
    const LANES: usize = 16;
    simd(
        #[inline(always)]
        || {
            let (whole, rest) = of.as_chunks::<LANES>();
            let mut lanes = [f32::NEG_INFINITY; LANES];
            for chunk in whole {
                for i in 0..LANES {
                    lanes[i] = Float::maximum(chunk[i], lanes[i]);
                }
            }
            lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |top, x| Float::maximum(*x, top))
        },
    )
}

/// The sum of e to the power of what numbers, none of which is larger than `top`, have beyond it.
pub fn sum_exp(of: &[f32], top: f32) -> f64 {
    const LANES: usize = 16;
    simd(
        #[inline(always)]
        || {
            let (whole, rest) = of.as_chunks::<LANES>();
            let mut lanes = [0.0_f64; LANES];
            for chunk in whole {
                for i in 0..LANES {
                    lanes[i] += f64::from(Float::exp(chunk[i] - top));
                }
            }
            let rest = rest.iter().map(|x| f64::from(Float::exp(*x - top)));
            lanes.into_iter().chain(rest).sum()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_and_the_sum_of_exponentials_are_those_of_the_definition() {
        for n in [1, 15, 16, 100, 4099] {
            let x: Vec<f32> = (0..n).map(|i: u16| (f32::from(i) * 0.7).sin() * 20.0).collect();
            let top = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert!(largest_of(&x).total_cmp(&top).is_eq());
            let want: f64 = x.iter().map(|x| (f64::from(*x) - f64::from(top)).exp()).sum();
            assert!((sum_exp(&x, top) / want - 1.0).abs() < 1e-6, "{n}");
        }
    }
}
