//! Round numbers for the axes of a picture.

/// A range of values, its ticks and how they are written.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// Lower end.
    pub low: f64,
    /// Upper end, above the lower.
    pub high: f64,
    /// Where the grid is, between the ends.
    pub ticks: Vec<f64>,
    /// Values are shown divided by ten to this power.
    pub exponent: i32,
    decimals: usize,
}

impl Axis {
    /// Of values between `low` and `high` with about `n` ticks. Equal ends are moved apart.
    #[allow(clippy::cast_possible_truncation, reason = "exponents and tick numbers are small")]
    pub fn new(low: f64, high: f64, n: u32) -> Self {
        let (mut low, mut high) = if low.is_finite() && high.is_finite() { (low, high) } else { (0.0, 1.0) };
        // Closer than this, ticks would be the same number.
        let least = low.abs().max(high.abs()) * 1e-6;
        if high - low <= least {
            let half = if low == 0.0 { 1.0 } else { low.abs() * 0.1 };
            (low, high) = (low - half, high + half);
        }
        let rough = (high - low) / f64::from(n.max(1));
        let power = rough.log10().floor() as i32;
        let lead = rough / 10_f64.powi(power);
        let (lead, power) = match lead {
            l if l <= 1.0 + 1e-9 => (1.0, power),
            l if l <= 2.0 + 1e-9 => (2.0, power),
            l if l <= 5.0 + 1e-9 => (5.0, power),
            _ => (1.0, power + 1),
        };
        let at = |i: i64| round(i, lead, power);
        let unit = lead * 10_f64.powi(power);
        let (first, last) = ((low / unit - 1e-9).ceil() as i64, (high / unit + 1e-9).floor() as i64);
        let ticks = (first..=last).map(at).collect();
        let size = low.abs().max(high.abs()).log10().floor() as i32;
        let exponent = if (-2..4).contains(&size) { 0 } else { size };
        let decimals = usize::try_from(exponent - power).unwrap_or(0);
        Self { low, high, ticks, exponent, decimals }
    }

    /// Where `value` is between the ends, 0 to 1.
    pub fn share(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }

    /// A tick's label.
    pub fn label(&self, value: f64) -> String {
        minus(&format!("{:.*}", self.decimals, value / 10_f64.powi(self.exponent)))
    }

    /// What the labels are multiples of: ` (×10⁻⁵)`, or nothing.
    pub fn unit(&self) -> String {
        if self.exponent == 0 { String::new() } else { format!(" (\u{d7}10{})", raised(self.exponent)) }
    }
}

/// `i` times `lead` times ten to `power`, without the error of adding up.
#[allow(clippy::cast_precision_loss, reason = "tick numbers are small")]
fn round(i: i64, lead: f64, power: i32) -> f64 {
    let whole = i as f64 * lead;
    if power < 0 { whole / 10_f64.powi(-power) } else { whole * 10_f64.powi(power) }
}

fn raised(exponent: i32) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let digits = exponent.unsigned_abs().to_string();
    let sign = if exponent < 0 { "⁻" } else { "" };
    sign.chars().chain(digits.bytes().map(|b| DIGITS[usize::from(b - b'0')])).collect()
}

/// A value to four digits, for reading off.
#[allow(clippy::cast_possible_truncation, reason = "exponents are small")]
pub fn value(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return number.to_string();
    }
    let size = number.abs().log10().floor() as i32;
    let out = if (-2..=3).contains(&size) {
        format!("{number:.*}", usize::try_from(3 - size.max(0)).unwrap_or(0))
    } else {
        let lead = format!("{:.2}", number / 10_f64.powi(size));
        format!("{}\u{d7}10{}", lead.trim_end_matches('0').trim_end_matches('.'), raised(size))
    };
    minus(&out)
}

/// A minus as wide as a plus.
fn minus(text: &str) -> String {
    text.replace('-', "\u{2212}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_labels_short() {
        let cases: [(f64, f64, u32, &[&str], &str); 9] = [
            (0.9, 3.4, 5, &["1.0", "1.5", "2.0", "2.5", "3.0"], ""),
            (0.0, 2e-4, 4, &["0.0", "0.5", "1.0", "1.5", "2.0"], " (×10⁻⁴)"),
            (0.0, 2e-5, 2, &["0", "1", "2"], " (×10⁻⁵)"),
            (0.0, 1500.0, 5, &["0", "500", "1000", "1500"], ""),
            (0.0, 25_000.0, 5, &["0.0", "0.5", "1.0", "1.5", "2.0", "2.5"], " (×10⁴)"),
            (0.0, 1.0, 5, &["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"], ""),
            (2.0, 2.0, 4, &["1.8", "1.9", "2.0", "2.1", "2.2"], ""),
            (0.0, 0.0, 2, &["−1", "0", "1"], ""),
            (f64::NAN, 1.0, 2, &["0.0", "0.5", "1.0"], ""),
        ];
        for (low, high, n, expected, unit) in cases {
            let axis = Axis::new(low, high, n);
            let labels: Vec<String> = axis.ticks.iter().map(|t| axis.label(*t)).collect();
            assert_eq!(labels, expected, "{low} to {high}");
            assert_eq!(axis.unit(), unit);
        }
    }

    #[test]
    fn values_have_four_digits() {
        let shown = [0.0, 2.345_678, 0.012_34, 12.345, 1234.5, 2e-5, 1.234e-7, 45_678.0, -0.5].map(value);
        assert_eq!(shown, ["0", "2.346", "0.012", "12.35", "1234", "2×10⁻⁵", "1.23×10⁻⁷", "4.57×10⁴", "−0.500"]);
    }
}
