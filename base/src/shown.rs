//! Text of others as a person may see it. A row, a file's name or a server's answer can hold what a terminal obeys
//! (escapes: colours, titles, the clipboard), what turns the order of letters around, and what is not seen at all.
//! [`shown`] writes each of these as an escape, `\u{1b}`, and keeps line breaks, tabs and our own [`Style`]s.

use std::{
    collections::hash_map::RandomState,
    fmt::{self, Write as _},
    hash::{BuildHasher, Hasher},
    sync::OnceLock,
};

const ESCAPE: char = '\u{1b}';
const ZERO_WIDTH_JOINER: char = '\u{200d}';
const ZERO_WIDTH_NON_JOINER: char = '\u{200c}';

/// A colour or a weight of text: the parameters of the terminal's SGR sequence. `{STYLE}` begins it and `{STYLE:#}` ends it.
///
/// It is written with a number that is drawn when the program starts, by which [`shown`] knows it from what a row holds.
#[derive(Clone, Copy, Debug)]
pub struct Style(pub &'static str);

impl fmt::Display for Style {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parameters = if f.alternate() { "0" } else { self.0 };
        f.write_str(seal())?;
        f.write_str(parameters)?;
        f.write_str("m")
    }
}

/// What our own styles begin with, in this process.
fn seal() -> &'static str {
    static SEAL: OnceLock<String> = OnceLock::new();
    SEAL.get_or_init(|| format!("{ESCAPE}{:016x}:", RandomState::new().build_hasher().finish()))
}

/// The text with what a terminal would obey or hide as escapes, and styles as a terminal knows them.
///
/// What it makes of the beginning of a text does not depend on the rest, unless the beginning ends in the middle of a
/// line break (CR LF).
pub fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut before) = (text, ' ');
    while let Some(c) = rest.chars().next() {
        if let Some(style) = rest.strip_prefix(seal())
            && let Some((parameters, after)) = style.split_once('m')
        {
            out.extend([ESCAPE.encode_utf8(&mut [0; 4]), "[", parameters, "m"]);
            rest = after;
            continue;
        }
        rest = &rest[c.len_utf8()..];
        match c {
            '\n' | '\t' => out.push(c),
            '\r' if rest.starts_with('\n') => {}
            _ if is_hidden(c) && !joins(c, before) => {
                out.extend(c.escape_default());
                before = ' ';
                continue;
            }
            _ => out.push(c),
        }
        before = c;
    }
    out
}

/// The same on one line: line breaks and tabs are escapes, too. For names, which have none.
pub fn one_line(text: &str) -> String {
    shown(&text.replace('\n', "\\n").replace('\t', "\\t"))
}

/// JSON with every such character as `\u001b`, which is the same JSON.
pub fn shown_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && is_hidden(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// Whether a character is obeyed or not seen: controls (Unicode's Cc), marks of direction, and what has no width
/// (most of Unicode's Default_Ignorable_Code_Point: <https://www.unicode.org/reports/tr44/>).
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            // Soft hyphen, grapheme joiner, Arabic letter mark; letters of Hangul and Khmer that are blank.
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            // Zero width, marks of direction; separators of lines and paragraphs, overrides; invisible operators, isolates.
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            // Variation selectors, byte order mark, anchors of annotations, shorthand and music.
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
        )
}

/// Whether it belongs to the character before it, as in an emoji or a word of Persian or Hindi: a joiner or a variation
/// selector, one of each at most. Among Latin letters they only hide.
fn joins(c: char, before: char) -> bool {
    let is_selector = |c: char| matches!(c, '\u{fe00}'..='\u{fe0f}');
    match c {
        ZERO_WIDTH_JOINER | ZERO_WIDTH_NON_JOINER => before >= '\u{590}' && (is_selector(before) || !is_hidden(before)),
        c if is_selector(c) => (!before.is_ascii() || "0123456789#*".contains(before)) && !is_hidden(before),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_or_hides_is_shown() {
        let cases = [
            ("perch\u{e9}\tno\n", "perch\u{e9}\tno\n"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("\u{1b}]52;c;eA==\u{7}", "\\u{1b}]52;c;eA==\\u{7}"),
            ("\u{9b}2J\u{85}", "\\u{9b}2J\\u{85}"),
            ("a\u{202e}b\u{2066}c\u{200f}d\u{61c}", "a\\u{202e}b\\u{2066}c\\u{200f}d\\u{61c}"),
            ("over\rwritten\u{8}\u{7f}", "over\\rwritten\\u{8}\\u{7f}"),
            ("one\r\ntwo", "one\ntwo"),
            ("se\u{ad}cr\u{200b}et\u{feff}\u{e0041}", "se\\u{ad}cr\\u{200b}et\\u{feff}\\u{e0041}"),
            ("a\u{200d}b\u{200c}c\u{fe0f}", "a\\u{200d}b\\u{200c}c\\u{fe0f}"),
            // A family, a heart on fire, a key, a word of Persian; one mark more hides something.
            ("\u{1f469}\u{200d}\u{1f467}", "\u{1f469}\u{200d}\u{1f467}"),
            ("\u{2764}\u{fe0f}\u{200d}\u{1f525}", "\u{2764}\u{fe0f}\u{200d}\u{1f525}"),
            ("1\u{fe0f}\u{20e3}", "1\u{fe0f}\u{20e3}"),
            ("\u{645}\u{6cc}\u{200c}\u{62e}", "\u{645}\u{6cc}\u{200c}\u{62e}"),
            ("\u{1f600}\u{fe0f}\u{fe01}\u{200d}\u{200d}", "\u{1f600}\u{fe0f}\\u{fe01}\\u{200d}\\u{200d}"),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected);
            // Nothing is left to escape, and the beginning does not depend on the rest.
            assert_eq!(shown(expected), expected);
            let cuts = text.char_indices().filter(|(at, c)| *c != '\n' || !text[..*at].ends_with('\r'));
            assert!(cuts.map(|(at, _)| at).all(|at| expected.starts_with(&shown(&text[..at]))));
        }
        assert_eq!(one_line("a\nb\r\nc\td"), "a\\nb\\r\\nc\\td");
    }

    #[test]
    fn our_styles_stay_and_those_of_a_row_do_not() {
        const RED: Style = Style("1;31");
        assert_eq!(shown(&format!("{RED}error:{RED:#} \u{1b}[31m")), "\u{1b}[1;31merror:\u{1b}[0m \\u{1b}[31m");
    }

    #[test]
    fn json_stays_the_same_json() {
        let value = serde_json::json!({"a\u{1b}": "\u{202e}\u{9b}\u{7f}\u{e0041}perch\u{e9}\n"});
        let json = shown_json(&serde_json::to_string_pretty(&value).unwrap());
        assert_eq!(json, "{\n  \"a\\u001b\": \"\\u202e\\u009b\\u007f\\udb40\\udc41perch\u{e9}\\n\"\n}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), value);
    }
}
