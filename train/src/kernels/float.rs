//! The numbers that CPU kernels compute with: f32 to train, f64 to check gradients.

use std::ops::Neg;

use super::storage::FloatElement;

/// A float that kernels are generic over.
pub trait Float: FloatElement + Neg<Output = Self> {
    /// 0
    const ZERO: Self;
    /// 1
    const ONE: Self;
    /// Below every finite value.
    const NEG_INFINITY: Self;

    /// Square root.
    #[must_use]
    fn sqrt(self) -> Self;
    /// e to the power of self; for f32 a polynomial that becomes vector code, within 2 units in the last place.
    #[must_use]
    fn exp(self) -> Self;
    /// Hyperbolic tangent; for f32 vector code too, within 4 units in the last place.
    #[must_use]
    fn tanh(self) -> Self;
    /// Natural logarithm.
    #[must_use]
    fn ln(self) -> Self;
    /// The larger of two; `other` where one is NaN, which `max` is not.
    #[must_use]
    fn maximum(self, other: Self) -> Self;
}

impl Float for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const NEG_INFINITY: Self = f32::NEG_INFINITY;

    #[inline(always)]
    fn sqrt(self) -> Self {
        self.sqrt()
    }

    /// x = n ln 2 + r with |r| <= ln 2 / 2: e^x = 2^n e^r, and the Taylor series of e^r to the seventh power
    /// is off by less than r^8 / 8! = 5e-9.
    #[inline(always)]
    fn exp(self) -> Self {
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

    /// Near 0, where e^2x - 1 would lose digits, the Taylor series: at 0.3 the first term left out is 2e-9 of it.
    #[inline(always)]
    fn tanh(self) -> Self {
        let (size, square) = (self.abs(), self * self);
        let mut series = -1382.0 / 155_925.0;
        for c in [62.0 / 2835.0, -17.0 / 315.0, 2.0 / 15.0, -1.0 / 3.0, 1.0] {
            series = series * square + c;
        }
        let far = 1.0 - 2.0 / (Float::exp(2.0 * size) + 1.0);
        if size < 0.3 { self * series } else { far.copysign(self) }
    }

    #[inline(always)]
    fn ln(self) -> Self {
        self.ln()
    }

    #[inline(always)]
    fn maximum(self, other: Self) -> Self {
        if self > other { self } else { other }
    }
}

impl Float for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const NEG_INFINITY: Self = f64::NEG_INFINITY;

    fn sqrt(self) -> Self {
        self.sqrt()
    }
    fn exp(self) -> Self {
        self.exp()
    }
    fn tanh(self) -> Self {
        self.tanh()
    }
    fn ln(self) -> Self {
        self.ln()
    }
    fn maximum(self, other: Self) -> Self {
        if self > other { self } else { other }
    }
}

/// Runs `$body` with `$t` the type of the tensor's elements.
macro_rules! with_float {
    ($tensor:expr, $t:ident => $body:expr) => {
        match $tensor.dtype() {
            candle_core::DType::F32 => {
                type $t = f32;
                $body
            }
            candle_core::DType::F64 => {
                type $t = f64;
                $body
            }
            other => Err($crate::Error::Other(format!("CPU kernels compute in f32 or f64, not {other:?}"))),
        }
    };
}
pub(crate) use with_float;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        let exp = |x: f32| Float::exp(x);
        let mut worst = 0.0_f64;
        for i in -860_000..880_000 {
            #[allow(clippy::cast_precision_loss, reason = "small")]
            let x = i as f32 * 1e-4;
            let (ours, exact) = (f64::from(exp(x)), f64::from(x).exp());
            worst = worst.max((ours / exact - 1.0).abs());
        }
        assert!(worst < 2.4e-7, "{worst:e}");
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(-1e9) < 1e-37 && exp(1e9) > 1e38);
    }

    #[test]
    fn tanh_is_within_four_units_in_the_last_place() {
        let tanh = |x: f32| Float::tanh(x);
        let mut worst = 0.0_f64;
        for i in -120_000..120_000 {
            #[allow(clippy::cast_precision_loss, reason = "small")]
            let x = (i as f32 + 0.5) * 1e-4;
            let (ours, exact) = (f64::from(tanh(x)), f64::from(x).tanh());
            worst = worst.max((ours / exact - 1.0).abs());
        }
        assert!(worst < 4.8e-7, "{worst:e}");
        assert!(tanh(f32::NAN).is_nan());
        let ends = [tanh(0.0), tanh(-200.0), tanh(f32::INFINITY)];
        assert!(ends.iter().zip([0.0, -1.0, 1.0]).all(|(found, want)| found.total_cmp(&want).is_eq()));
    }
}
