//! The numbers that CPU kernels compute with: f32 to train, f64 to check gradients.

use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

use super::stored::Element;

/// A float that kernels are generic over.
pub trait Real:
    Element
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + Default
    + PartialOrd
    + Send
    + Sync
    + 'static
{
    /// 0
    const ZERO: Self;
    /// 1
    const ONE: Self;
    /// Below every finite value.
    const LEAST: Self;

    /// Nearest value.
    fn of(value: f64) -> Self;
    /// Exact for both.
    fn wide(self) -> f64;
    /// Nearest value to an f32.
    fn of32(value: f32) -> Self;
    /// Square root.
    #[must_use]
    fn root(self) -> Self;
    /// e to the power of self; for f32 a polynomial that becomes vector code, within 2 units in the last place.
    #[must_use]
    fn power(self) -> Self;
    /// Natural logarithm.
    #[must_use]
    fn log(self) -> Self;
    /// The larger of two.
    #[must_use]
    fn larger(self, other: Self) -> Self;
}

impl Real for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const LEAST: Self = f32::NEG_INFINITY;

    #[inline(always)]
    #[allow(clippy::inline_always, clippy::cast_possible_truncation, reason = "vector code; rounding is the point")]
    fn of(value: f64) -> Self {
        value as f32
    }
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "vector code")]
    fn wide(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "vector code")]
    fn of32(value: f32) -> Self {
        value
    }
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "vector code")]
    fn root(self) -> Self {
        self.sqrt()
    }

    /// x = n ln 2 + r with |r| <= ln 2 / 2: e^x = 2^n e^r, and the Taylor series of e^r to the seventh power
    /// is off by less than r^8 / 8! = 5e-9.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "vector code")]
    fn power(self) -> Self {
        // Adding 1.5 x 2^23 rounds to an integer and leaves it in the low bits.
        const ROUND: f32 = 12_582_912.0;
        // ln 2 in two parts, so that n times the first is exact.
        const LN2_HIGH: f32 = 0.693_359_4;
        const LN2_LOW: f32 = -2.121_944_4e-4;
        // A plain `clamp` would keep a NaN too, but compiles to branches.
        let x = if self < -87.0 { -87.0 } else { self };
        let x = if x > 88.0 { 88.0 } else { x };
        let shifted = x * std::f32::consts::LOG2_E + ROUND;
        let n = shifted - ROUND;
        let r = (x - n * LN2_HIGH) - n * LN2_LOW;
        let mut p = 1.0 / 5040.0;
        for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            p = p * r + c;
        }
        let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
        p * f32::from_bits(exponent)
    }
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "vector code")]
    fn log(self) -> Self {
        self.ln()
    }
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "vector code")]
    fn larger(self, other: Self) -> Self {
        if self > other { self } else { other }
    }
}

impl Real for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const LEAST: Self = f64::NEG_INFINITY;

    fn of(value: f64) -> Self {
        value
    }
    fn wide(self) -> f64 {
        self
    }
    fn of32(value: f32) -> Self {
        f64::from(value)
    }
    fn root(self) -> Self {
        self.sqrt()
    }
    fn power(self) -> Self {
        self.exp()
    }
    fn log(self) -> Self {
        self.ln()
    }
    fn larger(self, other: Self) -> Self {
        if self > other { self } else { other }
    }
}

/// Compile `f` for the widest vectors of this machine.
#[inline]
pub fn simd<R>(f: impl FnOnce() -> R) -> R {
    struct Run<F>(F);
    impl<R, F: FnOnce() -> R> pulp::NullaryFnOnce for Run<F> {
        type Output = R;
        #[inline(always)]
        #[allow(clippy::inline_always, reason = "what is called has to be compiled with the caller's instructions")]
        fn call(self) -> R {
            (self.0)()
        }
    }
    pulp::Arch::new().dispatch(Run(f))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_power_is_within_two_units_in_the_last_place() {
        let mut worst = 0.0_f64;
        for i in -860_000..880_000 {
            #[allow(clippy::cast_precision_loss, reason = "small")]
            let x = i as f32 * 1e-4;
            let (ours, exact) = (x.power().wide(), x.wide().exp());
            worst = worst.max((ours / exact - 1.0).abs());
        }
        assert!(worst < 2.4e-7, "{worst:e}");
        assert!(f32::NAN.power().is_nan());
        assert!((-1e9_f32).power() < 1e-37 && (1e9_f32).power() > 1e38);
    }
}
