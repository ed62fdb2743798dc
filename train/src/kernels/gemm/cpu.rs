//! Matrix products on the CPU: our own where they are faster, else the crate `gemm` behind bounds that are checked.

#[cfg(target_arch = "x86_64")]
use std::any::TypeId;

use candle_core::{DType, Tensor};
use gemm::Parallelism;

use super::Factors;
#[cfg(target_arch = "x86_64")]
use super::f32::{Instructions, LEAST, MORE, Term, multiply};
use crate::{
    error::{Error, Result},
    kernels::{
        float::{Float, with_float},
        matrix::Mat,
        storage::{Elements, update},
    },
};

/// How many threads a product may use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// The caller's.
    One,
    /// All of the pool's.
    All,
}

/// Products that are added up before they join the sum of an element. In one f32 sum over all of k, whatever comes
/// after a very large product is rounded to that product's last place: the first token of a text, on which attention
/// rests, has such activations, and SmolLM2's logits there were 1.1e-4 off instead of 5.7e-5. Longer blocks keep too
/// little of it, shorter ones cost time.
const DEPTH: usize = 256;

/// Rows and columns of a product of the crate `gemm` from which on a row of it is the same for any number of rows: below, it adds up
/// in another order, as it does for one row.
const MANY: usize = 16 * 16;

/// Rows from which on a row of a product with so many columns is the same for any number of rows.
pub fn rows_alike(columns: usize) -> usize {
    let of_crate = MANY / columns.max(1) + 1;
    #[cfg(target_arch = "x86_64")]
    let of_crate = of_crate.max(super::f32::LEAST);
    of_crate
}

/// Products that one thread makes: waking the pool for a few thousand costs more than they do.
const ALONE: usize = 1 << 16;

/// As `gemm_` of the folder.
pub fn gemm_(dst: &Tensor, a: &Tensor, b: &Tensor, alpha: f64, beta: f64) -> Result<()> {
    let (_, _, n) = dims(dst, a, b)?;
    let (a, b) = (Elements::of(a), Elements::of(b));
    with_float!(dst, T => {
        let (a, b) = (a.mat()?, b.mat()?);
        update::<T, _>(dst, |out| gemm(out, n, a, b, (alpha, beta), Threads::All))
    })
}

/// As `gemm_two_` of the folder, in one go where that is possible.
pub fn gemm_two_(dst: &Tensor, (a, b, alpha): Factors<'_>, more: Factors<'_>, beta: f64) -> Result<()> {
    #[cfg(target_arch = "x86_64")]
    if dst.dtype() == DType::F32 {
        let (_, _, n) = dims(dst, a, b)?;
        dims(dst, more.0, more.1)?;
        let [fa, fb, ma, mb] = [a, b, more.0, more.1].map(Elements::of);
        #[allow(clippy::cast_possible_truncation, reason = "what multiplies f32 is f32")]
        let [first, second] = [alpha as f32, more.2 as f32];
        let first = Term { a: fa.mat()?, b: fb.mat()?, alpha: first };
        let terms = (first, Some(Term { a: ma.mat()?, b: mb.mat()?, alpha: second }));
        #[allow(clippy::cast_possible_truncation, reason = "what multiplies f32 is f32")]
        if update::<f32, _>(dst, |out| ours(out, n, terms, beta as f32, Threads::All))? {
            return Ok(());
        }
    }
    gemm_(dst, a, b, alpha, beta)?;
    gemm_(dst, more.0, more.1, more.2, 1.0)
}

/// (m, k, n) of a product [m, k] by [k, n].
///
/// # Errors
/// Shapes that do not fit each other.
pub fn dims(dst: &Tensor, a: &Tensor, b: &Tensor) -> Result<(usize, usize, usize)> {
    let ((m, n), (am, ak), (bk, bn)) = (dst.dims2()?, a.dims2()?, b.dims2()?);
    if (am, bk, bn) == (m, ak, n) {
        return Ok((m, ak, n));
    }
    Err(Error::Other(format!("gemm: {am}x{ak} by {bk}x{bn} into {m}x{n}")))
}

/// `dst = alpha a b + beta dst`, where `dst` is [a.rows, b.cols] with rows `rs` apart. With `beta` 0 the old
/// values do not count, not even a NaN. Each element is one sum over k in the same order for any number of threads.
///
/// # Panics
/// The shapes do not fit each other or the slices: a fault of ours.
pub fn gemm<T: Float>(
    dst: &mut [T],
    rs: usize,
    a: Mat<'_, T>,
    b: Mat<'_, T>,
    (alpha, beta): (f64, f64),
    threads: Threads,
) {
    let (m, k, n) = (a.rows, a.cols, b.cols);
    assert_eq!(k, b.rows, "inner sizes differ");
    if m == 0 || n == 0 {
        return;
    }
    assert!(rs >= n && dst.len() >= (m - 1) * rs + n, "the product does not fit");
    for x in [&a, &b] {
        assert!(k == 0 || x.data.len() > (x.rows - 1) * x.rs + (x.cols - 1) * x.cs, "a factor is too short");
    }
    #[cfg(target_arch = "x86_64")]
    if multiplied(dst, rs, (a, b), (alpha, beta), threads) {
        return;
    }
    let stride = |s: usize| isize::try_from(s).unwrap_or(isize::MAX);
    // A single row, as when a text is written token by token, is bound by the reading of the weights: in pieces that
    // takes half as long again.
    let most = if m == 1 || n == 1 { k.max(1) } else { DEPTH };
    // A product without an inner size is one block: it still has to lay down `beta dst`.
    for start in (0..k.max(1)).step_by(most) {
        let depth = most.min(k - start);
        let beta = if start == 0 { beta } else { 1.0 };
        let parallel = threads == Threads::All && m * n * depth > ALONE;
        let parallelism = if parallel { Parallelism::Rayon(0) } else { Parallelism::None };
        // SAFETY: every index that the product reads or writes was checked above against the slices, rows of `dst` do
        // not overlap, and `dst` is borrowed alone.
        #[allow(unsafe_code, reason = "gemm takes pointers; the asserts above are what it needs to be sound")]
        unsafe {
            gemm::gemm(
                m,
                n,
                depth,
                dst.as_mut_ptr(),
                1,
                stride(rs),
                beta != 0.0,
                a.data[start * a.cs..].as_ptr(),
                stride(a.cs),
                stride(a.rs),
                b.data[start * b.rs..].as_ptr(),
                stride(b.cs),
                stride(b.rs),
                T::from_f64(beta),
                T::from_f64(alpha),
                false,
                false,
                false,
                parallelism,
            );
        }
    }
}

/// Make the product by our own kernels, if they have one that is faster.
#[cfg(target_arch = "x86_64")]
#[allow(clippy::cast_possible_truncation, reason = "what multiplies f32 is f32")]
fn multiplied<T: Float>(
    dst: &mut [T],
    rs: usize,
    (a, b): (Mat<'_, T>, Mat<'_, T>),
    (alpha, beta): (f64, f64),
    threads: Threads,
) -> bool {
    if TypeId::of::<T>() != TypeId::of::<f32>() {
        return false;
    }
    // SAFETY: T is f32.
    #[allow(unsafe_code, reason = "a slice of a type that was found to be f32")]
    let (dst, [a_data, b_data]) = unsafe {
        let of = |x: &[T]| std::slice::from_raw_parts(x.as_ptr().cast::<f32>(), x.len());
        (std::slice::from_raw_parts_mut(dst.as_mut_ptr().cast::<f32>(), dst.len()), [a.data, b.data].map(of))
    };
    let a = Mat { data: a_data, rows: a.rows, cols: a.cols, rs: a.rs, cs: a.cs };
    let b = Mat { data: b_data, rows: b.rows, cols: b.cols, rs: b.rs, cs: b.cs };
    ours(dst, rs, (Term { a, b, alpha: alpha as f32 }, None), beta as f32, threads)
}

/// The same for f32, and with a second term if there is one.
#[cfg(target_arch = "x86_64")]
fn ours(dst: &mut [f32], rs: usize, (term, more): (Term<'_>, Option<Term<'_>>), beta: f32, threads: Threads) -> bool {
    let (m, k, n) = (term.a.rows, term.a.cols, term.b.cols);
    let fits = more.is_none_or(|more| more.a.cs == 1 && (1..=MORE).contains(&more.a.cols));
    if term.a.cs != 1 || m.min(n).min(k) < LEAST || !fits {
        return false;
    }
    let Some(instructions) = Instructions::best() else { return false };
    let parallel = threads == Threads::All && m * n * k > ALONE;
    multiply(instructions, (dst, rs), (term, more), beta, (DEPTH, parallel));
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{key, uniform_vec};

    #[test]
    fn equals_the_definition_for_any_layout_and_any_number_of_threads() {
        for (m, k, n) in
            [(1, 1, 1), (3, 5, 7), (64, 64, 130), (200, 33, 48), (1, 300, 90), (70, 90, 1), (3, 512, 5), (5, 513, 3)]
        {
            let (a, b) = (uniform_vec(key(1, "a"), m * k, 1.0), uniform_vec(key(1, "b"), k * n, 1.0));
            let old = uniform_vec(key(1, "c"), m * n, 1.0);
            for (ta, tb) in [(false, false), (true, false), (false, true), (true, true)] {
                let at = if ta { Mat::rows(&a, k, m, m).t() } else { Mat::rows(&a, m, k, k) };
                let bt = if tb { Mat::rows(&b, n, k, k).t() } else { Mat::rows(&b, k, n, n) };
                let mut got = Vec::new();
                for threads in [1, 2, 3] {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    let mut c = old.clone();
                    pool.install(|| gemm(&mut c, n, at, bt, (2.0, 0.5), Threads::All));
                    got.push(c);
                }
                assert!(got[0] == got[1] && got[1] == got[2], "{m}x{k}x{n}: threads change the result");
                for r in 0..m {
                    for c in 0..n {
                        let sum: f64 = (0..k)
                            .map(|i| {
                                f64::from(at.data[r * at.rs + i * at.cs]) * f64::from(bt.data[i * bt.rs + c * bt.cs])
                            })
                            .sum();
                        let want = 2.0 * sum + 0.5 * f64::from(old[r * n + c]);
                        assert!((f64::from(got[0][r * n + c]) - want).abs() < 1e-4, "{m}x{k}x{n} at {r},{c}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_large_product_swallows_no_more_than_its_block() {
        // 2^24 + 1 is no f32: ones that are added to it one by one are lost, their sum is not.
        let k = 16 * DEPTH;
        let mut row = vec![1.0_f32; k];
        row[0] = f32::from(1_u16 << 12);
        let a = row.repeat(8);
        let mut c = vec![0.0; 64];
        gemm(&mut c, 8, Mat::rows(&a, 8, k, k), Mat::rows(&a, 8, k, k).t(), (1.0, 0.0), Threads::All);
        let least = 16_777_216.0 + 15.0 * 256.0;
        assert!(c.iter().all(|x| (least..least + 256.0).contains(x)), "{c:?}");
    }

    #[test]
    fn nothing_to_multiply_leaves_beta_times_the_old() {
        let mut c = vec![3.0_f32; 4];
        gemm(&mut c, 2, Mat::rows(&[], 2, 0, 0), Mat::rows(&[], 0, 2, 2), (1.0, 0.5), Threads::One);
        assert_eq!(c, [1.5; 4]);
    }

    #[test]
    #[should_panic(expected = "does not fit")]
    fn a_short_product_is_refused() {
        let a = [1.0_f32; 4];
        gemm(&mut [0.0; 3], 2, Mat::rows(&a, 2, 2, 2), Mat::rows(&a, 2, 2, 2), (1.0, 0.0), Threads::One);
    }
}
