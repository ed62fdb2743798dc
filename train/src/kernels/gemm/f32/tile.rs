//! The inner loop: a tile of the product whose sums are in registers.

#![allow(unsafe_code, reason = "a loop over addresses; who calls it has held the sizes against the slices")]

use std::mem::MaybeUninit;

use super::vector::Vector;

/// A line of a cache.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Line(pub [f32; 16]);

/// What a tile reads and writes.
#[derive(Clone, Copy)]
pub struct Tile<const M: usize> {
    /// Element (0, 0) of the product, and how far its rows are from each other.
    pub to: (*mut f32, usize),
    /// How many rows and columns of it there are.
    pub size: (usize, usize),
    /// Where each row of the left factor begins. Of rows that are not there any other's.
    pub left: [*const f32; M],
    /// The first row of the right factor's columns, and how far its rows are from each other.
    pub right: (*const f32, usize),
    /// The inner size.
    pub k: usize,
    /// Elements of the inner size that are summed up in registers before they join the product.
    pub depth: usize,
    /// As for all products.
    pub factors: (f32, f32),
}

/// What is added to a tile before it leaves the cache: a product of another pair of factors.
#[derive(Clone, Copy)]
pub struct More<const M: usize> {
    /// As in a tile.
    pub left: [*const f32; M],
    /// As in a tile.
    pub right: (*const f32, usize),
    /// Its inner size.
    pub k: usize,
    /// What it is multiplied by.
    pub alpha: f32,
}

impl<const M: usize> Tile<M> {
    /// The tile that adds `more` to this one.
    pub fn then(self, more: More<M>) -> Self {
        let More { left, right, k, alpha } = more;
        Self { left, right, k, factors: (alpha, 1.0), ..self }
    }

    /// Make it, of V vectors a row, of which the last one may not be whole.
    ///
    /// # Safety
    /// The instructions are there; every element that the sizes speak of lies in memory, and so do V whole vectors of each row of
    /// the right factor; nobody else reaches the product's.
    #[inline(always)]
    pub unsafe fn make<L: Vector, const V: usize>(self) {
        let Self { to: (to, to_apart), size: (rows, columns), left, right: (right, right_apart), k, .. } = self;
        let (alpha, mut beta) = self.factors;
        let whole = columns == V * L::LANES;
        // SAFETY: as above.
        unsafe {
            let mut at = 0;
            while at < k {
                let end = k.min(at + self.depth);
                let mut sums = [[L::zero(); V]; M];
                let (mut x, mut w) = (at, right.wrapping_add(at * right_apart));
                for _ in at..end {
                    let mut ws = [L::zero(); V];
                    each!(v < V, ws[v] = L::load(w.wrapping_add(v * L::LANES)));
                    each!(r < M, {
                        let x = L::spread(left[r].wrapping_add(x));
                        each!(v < V, sums[r][v] = sums[r][v].plus(x, ws[v]));
                    });
                    x = x.wrapping_add(1);
                    w = w.wrapping_add(right_apart);
                }
                // Through memory: where rows are counted when it runs, the compiler would keep the sums there all the time.
                let mut made = MaybeUninit::<[Line; 8 * 3]>::uninit();
                let made: *mut f32 = made.as_mut_ptr().cast();
                each!(r < M, each!(v < V, sums[r][v].store(made.wrapping_add((r * V + v) * L::LANES))));
                // As the crate `gemm` does: alpha times the sum and beta times the old value, rounded together if beta is 1.
                for r in 0..rows {
                    let (to, made) = (to.wrapping_add(r * to_apart), made.wrapping_add(r * V * L::LANES));
                    if whole {
                        for v in 0..V {
                            let (to, sum) = (to.wrapping_add(v * L::LANES), L::load(made.wrapping_add(v * L::LANES)));
                            if beta == 0.0 {
                                sum.times(L::splat(alpha)).store(to);
                            } else {
                                L::load(to).times(L::splat(beta)).plus(sum, L::splat(alpha)).store(to);
                            }
                        }
                    } else {
                        for c in 0..columns {
                            let (to, sum) = (to.wrapping_add(c), *made.wrapping_add(c));
                            *to = if beta == 0.0 { alpha * sum } else { sum.mul_add(alpha, beta * *to) };
                        }
                    }
                }
                beta = 1.0;
                at = end;
            }
        }
    }
}
