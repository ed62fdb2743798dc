//! Vectors of f32 on x86, of which products are made. No closure has an instruction in it, here or where they are used: it would be compiled
//! for a machine without it.

#![allow(unsafe_code, reason = "vector instructions behind the test that the processor has them")]

use std::arch::x86_64::{
    __m256, __m512, _mm_load_ss, _mm256_broadcastss_ps, _mm256_castpd_ps, _mm256_castps_pd, _mm256_fmadd_ps,
    _mm256_loadu_ps, _mm256_mul_ps, _mm256_permute2f128_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps,
    _mm256_unpackhi_pd, _mm256_unpackhi_ps, _mm256_unpacklo_pd, _mm256_unpacklo_ps, _mm512_broadcastss_ps,
    _mm512_castpd_ps, _mm512_castps_pd, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mul_ps, _mm512_set1_ps,
    _mm512_setzero_ps, _mm512_shuffle_f32x4, _mm512_storeu_ps, _mm512_unpackhi_pd, _mm512_unpackhi_ps,
    _mm512_unpacklo_pd, _mm512_unpacklo_ps,
};

/// A vector of f32. All functions need its instructions, and those that are given an address all that they reach from there.
pub trait Vector: Copy {
    /// Numbers in it.
    const LANES: usize;

    unsafe fn zero() -> Self;
    unsafe fn splat(x: f32) -> Self;
    /// What lies there, in all places.
    unsafe fn spread(at: *const f32) -> Self;
    unsafe fn load(at: *const f32) -> Self;
    unsafe fn store(self, at: *mut f32);
    unsafe fn times(self, by: Self) -> Self;
    /// a b + self, rounded once.
    unsafe fn plus(self, a: Self, b: Self) -> Self;
    /// Write a square of so many rows `from` apart as columns: the rows of `to`, `apart` from each other.
    unsafe fn transpose(from: (*const f32, usize), to: (*mut f32, usize));
}

/// AVX-512.
#[derive(Clone, Copy)]
pub struct Avx512(__m512);

impl Vector for Avx512 {
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller has the instructions.
        unsafe { Self(_mm512_setzero_ps()) }
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: the caller has the instructions.
        unsafe { Self(_mm512_set1_ps(x)) }
    }

    #[inline(always)]
    unsafe fn spread(at: *const f32) -> Self {
        // SAFETY: the caller has the instructions, and the address.
        unsafe { Self(_mm512_broadcastss_ps(_mm_load_ss(at))) }
    }

    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self {
        // SAFETY: the caller has the instructions, and the address.
        unsafe { Self(_mm512_loadu_ps(at)) }
    }

    #[inline(always)]
    unsafe fn store(self, at: *mut f32) {
        // SAFETY: the caller has the instructions, and the address.
        unsafe { _mm512_storeu_ps(at, self.0) }
    }

    #[inline(always)]
    unsafe fn times(self, by: Self) -> Self {
        // SAFETY: the caller has the instructions.
        unsafe { Self(_mm512_mul_ps(self.0, by.0)) }
    }

    #[inline(always)]
    unsafe fn plus(self, a: Self, b: Self) -> Self {
        // SAFETY: the caller has the instructions.
        unsafe { Self(_mm512_fmadd_ps(a.0, b.0, self.0)) }
    }

    #[inline(always)]
    unsafe fn transpose((from, apart): (*const f32, usize), (to, to_apart): (*mut f32, usize)) {
        // SAFETY: the caller has the instructions, and both squares.
        unsafe {
            // Of four rows each, element i of every quarter.
            let mut fours = [_mm512_setzero_ps(); 16];
            for four in 0..4 {
                let from = from.wrapping_add(4 * four * apart);
                let (a, b) = (_mm512_loadu_ps(from), _mm512_loadu_ps(from.wrapping_add(apart)));
                let (c, d) =
                    (_mm512_loadu_ps(from.wrapping_add(2 * apart)), _mm512_loadu_ps(from.wrapping_add(3 * apart)));
                let (low, high) =
                    (_mm512_castps_pd(_mm512_unpacklo_ps(a, b)), _mm512_castps_pd(_mm512_unpackhi_ps(a, b)));
                let (low2, high2) =
                    (_mm512_castps_pd(_mm512_unpacklo_ps(c, d)), _mm512_castps_pd(_mm512_unpackhi_ps(c, d)));
                fours[4 * four] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, low2));
                fours[4 * four + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, low2));
                fours[4 * four + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high, high2));
                fours[4 * four + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high, high2));
            }
            for i in 0..4 {
                let (a, b, c, d) = (fours[i], fours[4 + i], fours[8 + i], fours[12 + i]);
                let (even, odd) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xDD>(a, b));
                let (even2, odd2) = (_mm512_shuffle_f32x4::<0x88>(c, d), _mm512_shuffle_f32x4::<0xDD>(c, d));
                _mm512_storeu_ps(to.wrapping_add(i * to_apart), _mm512_shuffle_f32x4::<0x88>(even, even2));
                _mm512_storeu_ps(to.wrapping_add((4 + i) * to_apart), _mm512_shuffle_f32x4::<0x88>(odd, odd2));
                _mm512_storeu_ps(to.wrapping_add((8 + i) * to_apart), _mm512_shuffle_f32x4::<0xDD>(even, even2));
                _mm512_storeu_ps(to.wrapping_add((12 + i) * to_apart), _mm512_shuffle_f32x4::<0xDD>(odd, odd2));
            }
        }
    }
}

/// AVX2 with fused products.
#[derive(Clone, Copy)]
pub struct Avx2(__m256);

impl Vector for Avx2 {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller has the instructions.
        unsafe { Self(_mm256_setzero_ps()) }
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: the caller has the instructions.
        unsafe { Self(_mm256_set1_ps(x)) }
    }

    #[inline(always)]
    unsafe fn spread(at: *const f32) -> Self {
        // SAFETY: the caller has the instructions, and the address.
        unsafe { Self(_mm256_broadcastss_ps(_mm_load_ss(at))) }
    }

    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self {
        // SAFETY: the caller has the instructions, and the address.
        unsafe { Self(_mm256_loadu_ps(at)) }
    }

    #[inline(always)]
    unsafe fn store(self, at: *mut f32) {
        // SAFETY: the caller has the instructions, and the address.
        unsafe { _mm256_storeu_ps(at, self.0) }
    }

    #[inline(always)]
    unsafe fn times(self, by: Self) -> Self {
        // SAFETY: the caller has the instructions.
        unsafe { Self(_mm256_mul_ps(self.0, by.0)) }
    }

    #[inline(always)]
    unsafe fn plus(self, a: Self, b: Self) -> Self {
        // SAFETY: the caller has the instructions.
        unsafe { Self(_mm256_fmadd_ps(a.0, b.0, self.0)) }
    }

    #[inline(always)]
    unsafe fn transpose((from, apart): (*const f32, usize), (to, to_apart): (*mut f32, usize)) {
        // SAFETY: the caller has the instructions, and both squares.
        unsafe {
            // Of four rows each, element i of both halves.
            let mut fours = [_mm256_setzero_ps(); 8];
            for four in 0..2 {
                let from = from.wrapping_add(4 * four * apart);
                let (a, b) = (_mm256_loadu_ps(from), _mm256_loadu_ps(from.wrapping_add(apart)));
                let (c, d) =
                    (_mm256_loadu_ps(from.wrapping_add(2 * apart)), _mm256_loadu_ps(from.wrapping_add(3 * apart)));
                let (low, high) =
                    (_mm256_castps_pd(_mm256_unpacklo_ps(a, b)), _mm256_castps_pd(_mm256_unpackhi_ps(a, b)));
                let (low2, high2) =
                    (_mm256_castps_pd(_mm256_unpacklo_ps(c, d)), _mm256_castps_pd(_mm256_unpackhi_ps(c, d)));
                fours[4 * four] = _mm256_castpd_ps(_mm256_unpacklo_pd(low, low2));
                fours[4 * four + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(low, low2));
                fours[4 * four + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(high, high2));
                fours[4 * four + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(high, high2));
            }
            for i in 0..4 {
                let (a, b) = (fours[i], fours[4 + i]);
                _mm256_storeu_ps(to.wrapping_add(i * to_apart), _mm256_permute2f128_ps::<0x20>(a, b));
                _mm256_storeu_ps(to.wrapping_add((4 + i) * to_apart), _mm256_permute2f128_ps::<0x31>(a, b));
            }
        }
    }
}
