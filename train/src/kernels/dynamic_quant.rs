//! Dynamic quantisation to 8 bits (Dettmers, arXiv 1511.04561; 2110.02861): a sign, a decimal exponent from 0 to -6 in
//! unary and a linear fraction in the bits that are left. Blocks are scaled by their largest magnitude.
//!
//! On a CPU bitsandbytes 0.50 does not look for the nearest of the 256 values: it first rounds x in [-1, 1] to
//! one of 65536 places, and takes the value nearest to that place. There is no place at 0, so a 0 becomes the
//! smallest step above 1 / 65535 (2.1e-5 signed, 1.6e-5 unsigned). This does the same, to have the same bytes.

use std::sync::LazyLock;

use super::simd::simd;

const PLACES: u16 = u16::MAX;

/// The 256 values, ascending, and which of them stands for each place.
pub struct QuantMap {
    /// Value of every code.
    pub values: [f32; 256],
    codes: Vec<u8>,
}

static SIGNED: LazyLock<QuantMap> = LazyLock::new(|| QuantMap::new(&values(Sign::Signed)));
static UNSIGNED: LazyLock<QuantMap> = LazyLock::new(|| QuantMap::new(&values(Sign::Unsigned)));

impl QuantMap {
    /// From -0.993 to 1.
    pub fn signed() -> &'static Self {
        &SIGNED
    }

    /// From 0 to 1, with one more bit of fraction.
    pub fn unsigned() -> &'static Self {
        &UNSIGNED
    }

    fn new(values: &[f32; 256]) -> Self {
        let middles: Vec<f32> = values.windows(2).map(|v| v[0].midpoint(v[1])).collect();
        let mut code = 0_u8;
        let codes = (0..=PLACES)
            .map(|place| {
                let x = -1.0 + 2.0 * f32::from(place) / f32::from(PLACES);
                while code < 255 && middles[usize::from(code)] < x {
                    code += 1;
                }
                code
            })
            .collect();
        Self { values: *values, codes }
    }

    /// Place of `x`, cut off at -1 and 1; 0 if it is not a number.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0.5 to 65535.5, cut off")]
    fn place(x: f32) -> u16 {
        ((x.clamp(-1.0, 1.0) + 1.0) * 0.5 * f32::from(PLACES) + 0.5) as i32 as u16
    }

    /// Codes of one block; returns its largest magnitude, which the values are multiplied by again. A block of
    /// zeros has code 0 throughout. Below 3e-39 the reciprocal is infinite and only signs are left; what was 0
    /// there is code 0 too, as on an x86 CPU.
    pub fn quantize(&self, block: &[f32], codes: &mut [u8]) -> f32 {
        let scale = largest(block);
        if scale == 0.0 {
            codes.fill(0);
            return 0.0;
        }
        let inverse = 1.0 / scale;
        // Places first and then codes: the arithmetic is vector code, the looking up is not.
        for (codes, block) in codes.chunks_mut(64).zip(block.chunks(64)) {
            let mut places = [0_u16; 64];
            simd(|| places.iter_mut().zip(block).for_each(|(place, x)| *place = Self::place(x * inverse)));
            for (code, place) in codes.iter_mut().zip(places) {
                *code = self.codes[usize::from(place)];
            }
        }
        scale
    }
}

/// The largest magnitude. Bits without the sign are in the order of magnitudes, and a maximum of integers may be
/// taken in any order, so this is vector code.
#[inline(always)]
pub fn largest(x: &[f32]) -> f32 {
    f32::from_bits(x.iter().fold(0, |most, x| most.max(x.to_bits() & 0x7FFF_FFFF)))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    Signed,
    Unsigned,
}

/// For each exponent e from -6 to 0, the middles of 2^(e + 6) (signed) or 2^(e + 7) equal parts of [0.1, 1],
/// times 10^e, with both signs if signed; then 0 and 1.
fn values(sign: Sign) -> [f32; 256] {
    let mut all = vec![0.0, 1.0];
    for (e, power) in [1e-6_f32, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0].into_iter().enumerate() {
        let parts = 1_u32 << if sign == Sign::Signed { e } else { e + 1 };
        let edges: Vec<f32> = (0..=parts).map(|i| edge(i, parts)).collect();
        for pair in edges.windows(2) {
            let value = power * pair[0].midpoint(pair[1]);
            all.push(value);
            if sign == Sign::Signed {
                all.push(-value);
            }
        }
    }
    all.sort_by(f32::total_cmp);
    let mut map = [0.0; 256];
    map.copy_from_slice(&all);
    map
}

/// Edge `i` of `parts` equal parts of [0.1, 1]: steps of an f32 counted from the nearer end, each rounded once,
/// which is how PyTorch's linspace rounds.
#[allow(clippy::cast_possible_truncation, reason = "rounded on purpose")]
fn edge(i: u32, parts: u32) -> f32 {
    let (low, high) = (0.1_f32, 1.0_f32);
    let step = f64::from((f64::from(high - low) / f64::from(parts)) as f32);
    if i < parts.div_ceil(2) {
        (f64::from(low) + step * f64::from(i)) as f32
    } else {
        (f64::from(high) - step * f64::from(parts - i)) as f32
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "exact on purpose")]
mod tests {
    use super::*;

    #[test]
    fn codes_come_back_within_half_a_step() {
        for map in [QuantMap::signed(), QuantMap::unsigned()] {
            assert!(map.values.windows(2).all(|v| v[0] < v[1]));
            let mut codes = [0; 256];
            assert_eq!(map.quantize(&map.values, &mut codes), 1.0);
            // Below 3e-5 several values share a place.
            for (i, value) in map.values.iter().enumerate().filter(|(_, v)| v.abs() > 1e-4) {
                assert_eq!(usize::from(codes[i]), i, "{value}");
            }
        }
    }

    #[test]
    fn zero_and_nearly_zero_blocks() {
        let mut codes = [9; 3];
        assert_eq!(QuantMap::signed().quantize(&[0.0, -0.0, 0.0], &mut codes), 0.0);
        assert_eq!(codes, [0; 3]);
        assert_eq!(QuantMap::signed().quantize(&[1e-42, 0.0, -1e-43], &mut codes), 1e-42);
        assert_eq!(codes, [255, 0, 0]);
        assert_eq!(QuantMap::signed().quantize(&[2.0, 0.0, -2.0], &mut codes), 2.0);
        assert_eq!(codes, [255, 131, 0]);
    }
}
