//! The inner loop on x86: a few rows of the weight by a few rows of the other factor. AVX-512 and AVX2 add up the same sixteen partial
//! sums of fused products and then these in the same order, so that both give the same bits.

#![allow(
    unsafe_code,
    reason = "vector instructions behind the test that the processor has them; memory is reached through rows whose lengths are asserted"
)]

use std::arch::x86_64::{
    __m256, __m512, _MM_HINT_T0, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_loadu_si128, _mm_movehdup_ps,
    _mm_movehl_ps, _mm_prefetch, _mm_storeu_ps, _mm256_add_ps, _mm256_castps256_ps128, _mm256_castsi256_ps,
    _mm256_cvtepu16_epi32, _mm256_cvtph_ps, _mm256_extractf128_ps, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_loadu_si256, _mm256_setzero_ps, _mm256_slli_epi32, _mm512_add_ps, _mm512_castps512_ps128,
    _mm512_castsi512_ps, _mm512_cvtepu16_epi32, _mm512_cvtph_ps, _mm512_fmadd_ps, _mm512_loadu_ps,
    _mm512_maskz_compress_ps, _mm512_permute_ps, _mm512_setzero_ps, _mm512_shuffle_f32x4, _mm512_slli_epi32,
};

use half::{bf16, f16};

use super::LANES;

/// Instructions that multiply rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vectors {
    /// Of 16 numbers.
    Avx512,
    /// Of 8, with fused products.
    Avx2,
}

impl Vectors {
    /// Those that this machine has, the best first.
    pub fn all() -> impl Iterator<Item = Self> {
        let avx2 =
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
        let avx512 = avx2 && is_x86_feature_detected!("avx512f");
        [(Self::Avx512, avx512), (Self::Avx2, avx2)].into_iter().filter_map(|(vectors, has)| has.then_some(vectors))
    }

    /// `out[j][i]` becomes `finish` of what is there and the product of row j of `x` with row i of `w`, rows of `k` elements.
    ///
    /// # Panics
    /// The processor has no such instructions: a fault of ours.
    pub fn block<E: Held>(self, out: &mut [&mut [f32]], x: &[f32], w: &[E], k: usize, finish: impl Fn(&mut f32, f32)) {
        assert!(Self::all().any(|had| had == self), "no {self:?}");
        // SAFETY: the processor has what the functions are compiled for.
        match self {
            Self::Avx512 => unsafe { avx512(out, x, w, k, finish) },
            Self::Avx2 => unsafe { avx2(out, x, w, k, finish) },
        }
    }
}

#[target_feature(enable = "avx512f,avx2,fma,f16c")]
fn avx512<E: Held>(out: &mut [&mut [f32]], x: &[f32], w: &[E], k: usize, finish: impl Fn(&mut f32, f32)) {
    // SAFETY: what the lanes need is enabled.
    unsafe { block::<Avx512, E, 4, 6>(out, x, w, k, finish) }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn avx2<E: Held>(out: &mut [&mut [f32]], x: &[f32], w: &[E], k: usize, finish: impl Fn(&mut f32, f32)) {
    // SAFETY: what the lanes need is enabled.
    unsafe { block::<Avx2, E, 2, 3>(out, x, w, k, finish) }
}

/// What a weight is held in. Loads need the instructions of their vectors, and as many elements in memory.
pub trait Held: Copy + Default + Sync {
    /// Sixteen of them as f32.
    unsafe fn avx512(from: *const Self) -> __m512;
    /// Eight of them as f32.
    unsafe fn avx2(from: *const Self) -> __m256;
}

impl Held for f32 {
    #[inline(always)]
    unsafe fn avx512(from: *const Self) -> __m512 {
        // SAFETY: as the trait says.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn avx2(from: *const Self) -> __m256 {
        // SAFETY: as the trait says.
        unsafe { _mm256_loadu_ps(from) }
    }
}

impl Held for bf16 {
    #[inline(always)]
    unsafe fn avx512(from: *const Self) -> __m512 {
        // SAFETY: as the trait says.
        unsafe {
            let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
        }
    }

    #[inline(always)]
    unsafe fn avx2(from: *const Self) -> __m256 {
        // SAFETY: as the trait says.
        unsafe {
            let bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits))
        }
    }
}

impl Held for f16 {
    #[inline(always)]
    unsafe fn avx512(from: *const Self) -> __m512 {
        // SAFETY: as the trait says.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
    }

    #[inline(always)]
    unsafe fn avx2(from: *const Self) -> __m256 {
        // SAFETY: as the trait says.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) }
    }
}

/// Sixteen partial sums. All functions need the instructions of the type. No closure has one in it, here or where they are used: it would
/// be compiled for a machine without it.
trait Lanes: Copy {
    unsafe fn zero() -> Self;
    unsafe fn load<E: Held>(from: *const E) -> Self;
    /// a b + self
    unsafe fn add(self, a: Self, b: Self) -> Self;
    /// What each is in all: lanes that are 8 apart are added up first, then those 4, 2 and 1 apart.
    unsafe fn sums<const W: usize>(of: [Self; W]) -> [f32; 4];
}

#[derive(Clone, Copy)]
struct Avx512(__m512);

impl Avx512 {
    /// Lanes of `a` that are 8 apart, added up, and those of `b`.
    #[inline(always)]
    unsafe fn halves(a: Self, b: Self) -> __m512 {
        // SAFETY: the caller has the instructions.
        unsafe { _mm512_add_ps(_mm512_shuffle_f32x4::<0x44>(a.0, b.0), _mm512_shuffle_f32x4::<0xEE>(a.0, b.0)) }
    }
}

impl Lanes for Avx512 {
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller has the instructions.
        unsafe { Self(_mm512_setzero_ps()) }
    }

    #[inline(always)]
    unsafe fn load<E: Held>(from: *const E) -> Self {
        // SAFETY: the caller has the instructions, and the elements.
        unsafe { Self(E::avx512(from)) }
    }

    #[inline(always)]
    unsafe fn add(self, a: Self, b: Self) -> Self {
        // SAFETY: the caller has the instructions.
        unsafe { Self(_mm512_fmadd_ps(a.0, b.0, self.0)) }
    }

    #[inline(always)]
    unsafe fn sums<const W: usize>(of: [Self; W]) -> [f32; 4] {
        let mut four = [0.0; 4];
        // SAFETY: the caller has the instructions; 16 bytes are written.
        unsafe {
            let (ab, cd) = (Self::halves(of[0], of[1 % W]), Self::halves(of[2 % W], of[3 % W]));
            let quarters = _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(ab, cd), _mm512_shuffle_f32x4::<0xDD>(ab, cd));
            let pairs = _mm512_add_ps(quarters, _mm512_permute_ps::<0b01_00_11_10>(quarters));
            let sums = _mm512_add_ps(pairs, _mm512_permute_ps::<0b10_11_00_01>(pairs));
            _mm_storeu_ps(four.as_mut_ptr(), _mm512_castps512_ps128(_mm512_maskz_compress_ps(0x1111, sums)));
        }
        four
    }
}

#[derive(Clone, Copy)]
struct Avx2([__m256; 2]);

impl Lanes for Avx2 {
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller has the instructions.
        unsafe { Self([_mm256_setzero_ps(); 2]) }
    }

    #[inline(always)]
    unsafe fn load<E: Held>(from: *const E) -> Self {
        // SAFETY: the caller has the instructions, and the elements.
        unsafe { Self([E::avx2(from), E::avx2(from.wrapping_add(8))]) }
    }

    #[inline(always)]
    unsafe fn add(self, a: Self, b: Self) -> Self {
        // SAFETY: the caller has the instructions.
        unsafe { Self([_mm256_fmadd_ps(a.0[0], b.0[0], self.0[0]), _mm256_fmadd_ps(a.0[1], b.0[1], self.0[1])]) }
    }

    #[inline(always)]
    unsafe fn sums<const W: usize>(of: [Self; W]) -> [f32; 4] {
        let mut sums = [0.0; 4];
        for i in 0..W {
            let Self([low, high]) = of[i];
            // SAFETY: the caller has the instructions.
            sums[i] = unsafe {
                let eight = _mm256_add_ps(low, high);
                let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
                let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
            };
        }
        sums
    }
}

/// Rows of the weight W at a time, by those of `x` at most X at a time; what comes next of the weight is fetched bit by bit meanwhile.
#[inline(always)]
unsafe fn block<L: Lanes, E: Held, const W: usize, const X: usize>(
    out: &mut [&mut [f32]],
    x: &[f32],
    w: &[E],
    k: usize,
    finish: impl Fn(&mut f32, f32),
) {
    let (n, t) = (w.len() / k, x.len() / k);
    let tiles = t.div_ceil(X);
    for first in (0..n).step_by(W) {
        // Where rows are lacking the last one is taken again, and its sums are left.
        let rows: [&[E]; W] = std::array::from_fn(|i| &w[(first + i).min(n - 1) * k..][..k]);
        let next = &w[((first + W) * k).min(w.len())..((first + 2 * W) * k).min(w.len())];
        let mut ahead = next.chunks(next.len().div_ceil(tiles).max(1));
        let mut at = 0;
        while at < t {
            let left = t - at;
            let (x, out) = (&x[at * k..], &mut out[at..]);
            let ahead = ahead.next().unwrap_or_default();
            // As equal as they can be.
            let wide = left.div_ceil(left.div_ceil(X));
            // SAFETY: the caller has the instructions.
            unsafe {
                match wide {
                    1 => tile::<L, E, W, 1>(out, x, rows, (first, n), ahead, &finish),
                    2 => tile::<L, E, W, 2>(out, x, rows, (first, n), ahead, &finish),
                    3 => tile::<L, E, W, 3>(out, x, rows, (first, n), ahead, &finish),
                    4 if X > 3 => tile::<L, E, W, 4>(out, x, rows, (first, n), ahead, &finish),
                    5 if X > 3 => tile::<L, E, W, 5>(out, x, rows, (first, n), ahead, &finish),
                    6 if X > 3 => tile::<L, E, W, 6>(out, x, rows, (first, n), ahead, &finish),
                    _ => unreachable!("tiles of {X} at the most"),
                }
            }
            at += wide;
        }
    }
}

#[inline(always)]
unsafe fn tile<L: Lanes, E: Held, const W: usize, const X: usize>(
    out: &mut [&mut [f32]],
    x: &[f32],
    w: [&[E]; W],
    (first, n): (usize, usize),
    ahead: &[E],
    finish: impl Fn(&mut f32, f32),
) {
    let k = w[0].len();
    let (rest, whole) = (k % LANES, k / LANES * LANES);
    assert!(w.iter().all(|w| w.len() == k) && x.len() >= X * k, "rows differ in length");
    let mut ends = ([[E::default(); LANES]; W], [[0.0; LANES]; X]);
    if rest > 0 {
        for (end, w) in ends.0.iter_mut().zip(w) {
            end[..rest].copy_from_slice(&w[whole..]);
        }
        for (j, end) in ends.1.iter_mut().enumerate() {
            end[..rest].copy_from_slice(&x[j * k..][whole..k]);
        }
    }
    let mut made = [[0.0; 4]; X];
    // SAFETY: the caller has the instructions; all that is read lies within the rows, as was just asserted; fetching reads nothing.
    unsafe {
        let mut sums = [[L::zero(); W]; X];
        let (x, mut fetched) = (x.as_ptr(), ahead.as_ptr_range());
        let mut at = 0;
        while at < whole {
            if fetched.start < fetched.end {
                _mm_prefetch::<_MM_HINT_T0>(fetched.start.cast());
                // A line of a cache.
                fetched.start = fetched.start.wrapping_byte_add(64);
            }
            let mut ws = [L::zero(); W];
            each!(i < W, ws[i] = L::load(w[i].as_ptr().wrapping_add(at)));
            each!(j < X, {
                let x = L::load(x.wrapping_add(j * k).wrapping_add(at));
                each!(i < W, sums[j][i] = sums[j][i].add(ws[i], x));
            });
            at = at.wrapping_add(LANES);
        }
        if rest > 0 {
            let mut ws = [L::zero(); W];
            each!(i < W, ws[i] = L::load(ends.0[i].as_ptr()));
            each!(j < X, {
                let x = L::load(ends.1[j].as_ptr());
                each!(i < W, sums[j][i] = sums[j][i].add(ws[i], x));
            });
        }
        each!(j < X, made[j] = L::sums(sums[j]));
    }
    for (out, made) in out.iter_mut().zip(made) {
        for (out, sum) in out[first..n.min(first + W)].iter_mut().zip(made) {
            finish(out, sum);
        }
    }
}
