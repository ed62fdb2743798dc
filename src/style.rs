//! The colours of the command line; where there is no terminal, they are left out (`terminal.rs`).

/// A number with its thousands apart, alone and with what it counts.
pub use setaccio_base::numbers::{counted, grouped as count};
use setaccio_base::shown::Style;

/// What went well, and rows that are kept.
pub const GOOD: Style = Style("32");
/// What failed, and rows that are dropped.
pub const BAD: Style = Style("1;31");
/// Names worth finding again.
pub const NAME: Style = Style("36");
/// Headings.
pub const HEAD: Style = Style("1");
/// What may be skipped.
pub const FAINT: Style = Style("2");

/// The start of a text on one line, at most `width` characters.
pub fn snippet(text: &str, width: usize) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= width {
        return line;
    }
    let cut: String = line.chars().take(width.saturating_sub(1)).collect();
    format!("{cut}\u{2026}")
}

/// Bytes as a person says them.
pub fn megabytes(bytes: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "shown to one decimal")]
    let mb = bytes as f64 / 1e6;
    if mb < 1.0 { format!("{:.1} kB", mb * 1e3) } else { format!("{mb:.1} MB") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_snippets() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(snippet("uno\n due  tre", 20), "uno due tre");
        assert_eq!(snippet("perché no", 7), "perché\u{2026}");
    }
}
