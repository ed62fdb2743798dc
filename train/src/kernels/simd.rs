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
