//! How numbers are written for people.

/// 1234567 as 1,234,567.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let head = digits.len() % 3;
    let mut parts = vec![&digits[..head]];
    parts.extend((head..digits.len()).step_by(3).map(|i| &digits[i..i + 3]));
    parts.retain(|p| !p.is_empty());
    parts.join(",")
}

/// So many of a thing: 1 row, 1,234 rows.
pub fn counted(n: u64, thing: &str) -> String {
    format!("{} {thing}{}", grouped(n), if n == 1 { "" } else { "s" })
}

/// `part` of `whole` in percent; 0 of nothing.
#[allow(clippy::cast_precision_loss, reason = "shown to one decimal")]
pub fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 }
}

/// To one decimal, with thousands apart: 1234.56 as 1,234.6.
pub fn tenths(number: f64) -> String {
    let shown = format!("{number:.1}");
    let (whole, tenth) = shown.split_once('.').unwrap_or((&shown, "0"));
    format!("{}.{tenth}", grouped(whole.parse().unwrap_or(0)))
}

/// With its sign and so many decimals; what rounds to 0 has no sign.
pub fn signed(number: f64, decimals: usize) -> String {
    let shown = format!("{number:+.decimals$}");
    if shown.contains(|c: char| c.is_ascii_digit() && c != '0') { shown } else { format!("{:.decimals$}", 0.0) }
}

/// The z of a 95% interval.
const Z: f64 = 1.959_963_984_540_054;

/// Wilson's interval of a share (Wilson 1927), at 95%.
#[allow(clippy::cast_precision_loss, reason = "counts")]
pub fn wilson(hits: usize, n: usize) -> [f64; 2] {
    if n == 0 {
        return [0.0, 1.0];
    }
    let (n, share) = (n as f64, hits as f64 / n as f64);
    let (z2, middle) = (Z * Z, share + Z * Z / (2.0 * n));
    let half = Z * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    [middle - half, middle + half].map(|end| (end / (1.0 + z2 / n)).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        assert_eq!([0, 12, 123, 1234, 1_234_567].map(grouped), ["0", "12", "123", "1,234", "1,234,567"]);
        assert_eq!([0, 1, 1234].map(|n| counted(n, "row")), ["0 rows", "1 row", "1,234 rows"]);
        assert_eq!([0.0, 12.34, 1234.56].map(tenths), ["0.0", "12.3", "1,234.6"]);
        assert_eq!([-0.0004, 0.0, 0.0006, -1.5].map(|n| signed(n, 3)), ["0.000", "0.000", "+0.001", "-1.500"]);
        assert!((percent(1, 4) - 25.0).abs() < 1e-12 && percent(1, 0).abs() < 1e-12);
    }
}
