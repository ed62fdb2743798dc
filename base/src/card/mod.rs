//! Parts of cards and of their pictures: YAML front matter, text in Markdown, licences, axes.

mod axis;
mod front_matter;
mod license;
pub mod markdown;

pub use axis::{Axis, value};
pub use front_matter::{list, quoted};
pub use license::{UNKNOWN_LICENSE, strictest};

use crate::shown::one_line;

/// Text within XML or its attributes, as SVG needs it. What XML forbids, and what is not seen, is an escape as on a terminal.
pub fn escape_xml(text: &str) -> String {
    let forbidden = |c: char| matches!(c, '\u{fffe}' | '\u{ffff}');
    let text = one_line(text).replace(forbidden, "\u{fffd}");
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xml_stays_xml() {
        assert_eq!(escape_xml("a\"b<c>&d\u{1b}e\u{ffff}\n"), "a&quot;b&lt;c&gt;&amp;d\\u{1b}e\u{fffd}\\n");
    }
}
