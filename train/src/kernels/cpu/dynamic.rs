//! The dynamic 8-bit type (Dettmers, arXiv 1511.04561; 2110.02861): a sign, a decimal exponent from 0 to -6 in
//! unary and a linear fraction in the bits that are left. Blocks are scaled by their largest magnitude.
//!
//! On a CPU bitsandbytes 0.50 does not look for the nearest of the 256 values: it first rounds x in [-1, 1] to
//! one of 65536 places, and takes the value nearest to that place. There is no place at 0, so a 0 becomes the
//! smallest step above 1 / 65535 (2.1e-5 signed, 1.6e-5 unsigned). This does the same, to have the same bytes.

use std::sync::LazyLock;

const PLACES: u16 = u16::MAX;

/// The 256 values, ascending, and which of them stands for each place.
pub struct Map {
    /// Value of every code.
    pub values: [f32; 256],
    codes: Vec<u8>,
}

static SIGNED: LazyLock<Map> = LazyLock::new(|| Map::new(values(true)));
static UNSIGNED: LazyLock<Map> = LazyLock::new(|| Map::new(values(false)));

impl Map {
    /// From -0.993 to 1.
    pub fn signed() -> &'static Self {
        &SIGNED
    }

    /// From 0 to 1, with one more bit of fraction.
    pub fn unsigned() -> &'static Self {
        &UNSIGNED
    }

    fn new(values: [f32; 256]) -> Self {
        let middles: Vec<f32> = values.windows(2).map(|v| 0.5 * (v[0] + v[1])).collect();
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
        Self { values, codes }
    }

    /// Code of `x`, a value between -1 and 1.
    #[inline]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0.5 to 65535.5, cut off")]
    fn code(&self, x: f32) -> u8 {
        let place = (x.clamp(-1.0, 1.0) + 1.0) * 0.5 * f32::from(PLACES) + 0.5;
        self.codes[usize::from(place as u16)]
    }

    /// Codes of one block; returns its largest magnitude, which the values are multiplied by again. A block
    /// of zeros, or of values whose reciprocal is infinite (below 3e-39), has scale 0 and code 0 throughout.
    pub fn quantize(&self, block: &[f32], codes: &mut [u8]) -> f32 {
        let scale = block.iter().fold(0.0_f32, |a, x| if x.abs() > a { x.abs() } else { a });
        let inverse = 1.0 / scale;
        if !inverse.is_finite() {
            codes.fill(0);
            return 0.0;
        }
        for (code, x) in codes.iter_mut().zip(block) {
            *code = self.code(x * inverse);
        }
        scale
    }
}

/// For each exponent e from -6 to 0, the middles of 2^(e + 6) (signed) or 2^(e + 7) equal parts of [0.1, 1],
/// times 10^e, with both signs if signed; then 0 and 1.
fn values(signed: bool) -> [f32; 256] {
    let mut all = vec![0.0, 1.0];
    for (e, power) in [1e-6_f32, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0].into_iter().enumerate() {
        let parts = 1_u32 << if signed { e } else { e + 1 };
        let edges: Vec<f32> = (0..=parts).map(|i| edge(i, parts)).collect();
        for pair in edges.windows(2) {
            let value = power * ((pair[0] + pair[1]) / 2.0);
            all.push(value);
            if signed {
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
mod tests {
    use super::*;

    #[test]
    fn codes_come_back_within_half_a_step() {
        for map in [Map::signed(), Map::unsigned()] {
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
        assert_eq!(Map::signed().quantize(&[0.0, -0.0, 0.0], &mut codes), 0.0);
        assert_eq!(codes, [0; 3]);
        assert_eq!(Map::unsigned().quantize(&[1e-42, 0.0, 0.0], &mut codes), 0.0);
        assert_eq!(Map::signed().quantize(&[2.0, 0.0, -2.0], &mut codes), 2.0);
        assert_eq!(codes, [255, 131, 0]);
    }
}
