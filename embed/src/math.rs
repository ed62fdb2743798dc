//! Functions of values and rows. The system's library has some of them, and gives other last bits on other machines.

/// e to the power of x, to some units in the last place.
pub fn exp(x: f64) -> f64 {
    const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    if x.is_nan() {
        return x;
    }
    let x = x.clamp(-700.0, 700.0);
    let power = (x * std::f64::consts::LOG2_E).round();
    let rest = (x - power * LN2_HIGH) - power * LN2_LOW;
    // Taylor's series; the rest is at most half of ln 2.
    let mut sum = 1.0;
    for n in (1..=13_i32).rev() {
        sum = 1.0 + sum * rest / f64::from(n);
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between -1010 and 1010")]
    let bits = ((power + 1023.0) as u64) << 52;
    sum * f64::from_bits(bits)
}

/// The hyperbolic tangent.
pub fn tanh(x: f64) -> f64 {
    let size = 1.0 - 2.0 / (exp(2.0 * x.abs()) + 1.0);
    if x < 0.0 { -size } else { size }
}

/// Add the same row to each of some rows.
pub fn add_rows(rows: &mut [f32], row: &[f32]) {
    for held in rows.chunks_exact_mut(row.len().max(1)) {
        for (x, y) in held.iter_mut().zip(row) {
            *x += y;
        }
    }
}

/// Put 0 in place of what is negative.
pub fn relu(values: &mut [f32]) {
    for x in values {
        *x = x.max(0.0);
    }
}

/// `x Phi(x)`, the activation of BERT, with the error function of Abramowitz and Stegun's formula 7.1.26: off by 1.5e-7 at the most.
pub fn gelu(values: &mut [f32]) {
    for value in values {
        let x = f64::from(*value);
        let size = x.abs() * std::f64::consts::FRAC_1_SQRT_2;
        let t = 1.0 / (1.0 + 0.327_591_1 * size);
        let terms = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
        let sum = terms.iter().fold(0.0, |sum, term| (sum + term) * t);
        let erf = 1.0 - sum * exp(-size * size);
        let erf = if x < 0.0 { -erf } else { erf };
        #[allow(clippy::cast_possible_truncation, reason = "rounded on purpose")]
        let gelu = (0.5 * x * (1.0 + erf)) as f32;
        *value = gelu;
    }
}

/// Turn the products of a row, times `scale`, into shares that add up to 1.
pub fn softmax(row: &mut [f32], scale: f32) {
    let most = row.iter().fold(f32::NEG_INFINITY, |most, x| most.max(x * scale));
    let shares: Vec<f64> = row.iter().map(|x| exp(f64::from(x * scale) - f64::from(most))).collect();
    let sum: f64 = shares.iter().fold(0.0, |sum, share| sum + share);
    #[allow(clippy::cast_possible_truncation, reason = "rounded on purpose")]
    for (x, share) in row.iter_mut().zip(shares) {
        *x = (share / sum) as f32;
    }
}

/// Layer normalisation of each of some rows, by these gains and biases.
pub fn norm_rows(rows: &mut [f32], [gain, bias]: &[Vec<f32>; 2], epsilon: f64) {
    for row in rows.chunks_exact_mut(gain.len().max(1)) {
        #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
        let n = row.len() as f64;
        let mean = row.iter().fold(0.0, |sum, x| sum + f64::from(*x)) / n;
        let variance = row.iter().fold(0.0, |sum, x| sum + (f64::from(*x) - mean) * (f64::from(*x) - mean)) / n;
        let scale = 1.0 / (variance + epsilon).sqrt();
        #[allow(clippy::cast_possible_truncation, reason = "rounded on purpose")]
        for ((x, gain), bias) in row.iter_mut().zip(gain).zip(bias) {
            *x = ((f64::from(*x) - mean) * scale * f64::from(*gain) + f64::from(*bias)) as f32;
        }
    }
}

/// Make a vector one of length 1; says whether it can be: zeros have no direction, and neither have values that are no
/// numbers.
pub fn normalise(vector: &mut [f32]) -> bool {
    let squares = vector.iter().fold(0.0, |sum, x| sum + f64::from(*x) * f64::from(*x));
    let length = squares.sqrt();
    if !(length > 0.0 && length.is_finite()) {
        return false;
    }
    #[allow(clippy::cast_possible_truncation, reason = "rounded on purpose")]
    for x in vector.iter_mut() {
        *x = (f64::from(*x) / length) as f32;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_what_python_says() {
        // python3 -c "import math; print(math.exp(x), math.tanh(x))"
        for (x, e, t) in [
            (0.0_f64, 1.0, 0.0),
            (2.0, 7.389_056_098_930_65, 0.964_027_580_075_816_9),
            (-0.3, 0.740_818_220_681_717_9, -0.291_312_612_451_590_95),
            (5.5, 244.691_932_264_220_38, 0.999_966_597_156_303_8),
            (-20.25, 1.605_228_055_185_611_6e-9, -1.0),
            (100.0, 2.688_117_141_816_135_6e43, 1.0),
        ] {
            assert!((exp(x) / e - 1.0_f64).abs() < 1e-14, "exp {x}: {}", exp(x));
            assert!((tanh(x) - t).abs() < 1e-15, "tanh {x}: {}", tanh(x));
        }
        assert!(exp(f64::NAN).is_nan() && exp(-1e9) > 0.0 && exp(1e9).is_finite());
    }

    #[test]
    fn gelu_and_softmax_are_what_pytorch_says() {
        // torch.nn.functional.gelu(torch.tensor(x, dtype=torch.float64))
        let mut values = [-4.0, -1.0, -0.1, 0.0, 0.5, 3.0];
        gelu(&mut values);
        let expected = [-0.000_126_684_960, -0.158_655_253_9, -0.046_017_216_3, 0.0, 0.345_731_230_6, 2.995_950_305_9];
        for (x, y) in values.iter().zip(expected) {
            assert!((f64::from(*x) - y).abs() < 4e-7, "{x} {y}");
        }
        // torch.softmax(torch.tensor([1., 2., -300.]) * 0.5, 0)
        let mut row = [1.0, 2.0, -300.0];
        softmax(&mut row, 0.5);
        assert!(
            (row[0] - 0.377_540_67).abs() < 1e-7 && (row[1] - 0.622_459_33).abs() < 1e-7 && row[2] < 1e-30,
            "{row:?}"
        );
    }

    #[test]
    fn what_has_a_direction_gets_length_1() {
        let mut vector = [3.0, -4.0];
        assert!(normalise(&mut vector));
        assert_eq!(vector.map(f32::to_bits), [0.6_f32, -0.8].map(f32::to_bits));
        assert!(!normalise(&mut [0.0, 0.0]) && !normalise(&mut [f32::NAN, 1.0]) && !normalise(&mut [f32::INFINITY]));
    }
}
