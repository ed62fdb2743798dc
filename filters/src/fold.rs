//! The forms in which texts are compared: upper and lower case as one, any run of white space as one space.

use std::{borrow::Cow, cell::RefCell};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use setaccio_base::nfc::nfc;

/// What white space is to a rule that looks for words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WhiteSpace {
    /// Any run of it is one space.
    #[default]
    Any,
    /// Each character is itself, as it was to C4.
    Exact,
}

/// What soft hyphens and characters of no width are to a rule that looks for words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Invisible {
    /// Each is a character that is no letter: it ends a word.
    #[default]
    Read,
    /// They are as if they were not there.
    Ignore,
}

thread_local! {
    /// Working space, kept because lines are many and short.
    static FOLDED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What is taken for the same where words are looked for, beside upper and lower case and canonically equal characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Folding {
    /// What white space is.
    pub white_space: WhiteSpace,
    /// What characters of no width are.
    pub invisible: Invisible,
}

/// The form in which words are looked for: NFC, case folded (`ß` is `ss`), and NFC again, for folding may take a letter
/// apart. Canonically equal texts have the same form. UTF-8.
pub fn caseless_into(text: &str, folding: Folding, out: &mut Vec<u8>) {
    let visible = match folding.invisible {
        Invisible::Read => Cow::Borrowed(text),
        Invisible::Ignore => visible(text),
    };
    let mut marks = false;
    fold_into(&nfc(&visible), folding.white_space, out, |c, out| marks |= fold_case(c, out));
    if marks
        && let Ok(folded) = std::str::from_utf8(out)
        && let Cow::Owned(normal) = nfc(folded)
    {
        *out = normal.into_bytes();
    }
}

/// Show `read` the form in which words are looked for of `text`. It must not fold another text meanwhile.
pub fn with_caseless<T>(text: &str, folding: Folding, read: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    FOLDED.with_borrow_mut(|folded| {
        caseless_into(text, folding, folded);
        read(folded)
    })
}

/// Lower case, and every run of white space as one space; UTF-8.
pub fn lowercase_into(text: &str, out: &mut Vec<u8>) {
    fold_into(text, WhiteSpace::Any, out, |c, out| c.to_lowercase().for_each(|lower| push(lower, out)));
}

/// The text without soft hyphens (U+00AD), zero-width space and joiners (U+200B to U+200D), marks of direction (U+200E,
/// U+200F), word joiners (U+2060) and byte order marks (U+FEFF).
fn visible(text: &str) -> Cow<'_, str> {
    let hidden = |c: char| matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}');
    // Their first bytes, without which there is nothing to take out.
    let none = memchr::memchr3(0xc2, 0xe2, 0xef, text.as_bytes()).is_none();
    if none || !text.contains(hidden) { Cow::Borrowed(text) } else { Cow::Owned(text.replace(hidden, "")) }
}

/// `text` into `out`: ASCII in lower case, other characters as `other` folds them.
fn fold_into(text: &str, white_space: WhiteSpace, out: &mut Vec<u8>, mut other: impl FnMut(char, &mut Vec<u8>)) {
    let any = white_space == WhiteSpace::Any;
    out.clear();
    out.reserve(text.len());
    let mut rest = text;
    // All of a web corpus goes through here: stretches of ASCII are copied and mapped, what lies between
    // them goes character by character.
    while !rest.is_empty() {
        let ascii = ascii_prefix(rest.as_bytes());
        let start = out.len();
        out.extend_from_slice(&rest.as_bytes()[..ascii]);
        for byte in &mut out[start..] {
            let space = any && (byte.is_ascii_whitespace() || *byte == VERTICAL_TAB);
            *byte = if space { b' ' } else { byte.to_ascii_lowercase() };
        }
        rest = &rest[ascii..];
        let end = rest.bytes().position(|b| b.is_ascii()).unwrap_or(rest.len());
        for c in rest[..end].chars() {
            if any && c.is_whitespace() { out.push(b' ') } else { other(c, out) }
        }
        rest = &rest[end..];
    }
    if any && memchr::memmem::find(out, b"  ").is_some() {
        out.dedup_by(|b, a| *a == b' ' && *b == b' ');
    }
}

/// Unicode's full case folding of a character that is not ASCII: what its upper case is in lower case, for the letters
/// of one fold share it. Says whether the result, or what stands before it, may no longer be in form C.
fn fold_case(c: char, out: &mut Vec<u8>) -> bool {
    match c {
        // What European texts hold most, and scripts without case.
        '\u{e0}'..='\u{ff}'
        | '\u{2000}'..='\u{20cf}'
        | '\u{430}'..='\u{44f}'
        | '\u{590}'..='\u{109f}'
        | '\u{2e80}'..='\u{a63f}'
        | '\u{ac00}'..='\u{d7af}'
        // The dotless i has an upper case that is not its own.
        | '\u{131}' => push(c, out),
        // Latin and Cyrillic letters whose lower case stands 32 places further.
        '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{de}' | '\u{410}'..='\u{42f}' => {
            push(char::from_u32(u32::from(c) + 0x20).unwrap_or(c), out);
        }
        _ => {
            for folded in c.to_lowercase().flat_map(char::to_uppercase).flat_map(char::to_lowercase) {
                push(folded, out);
            }
            return true;
        }
    }
    false
}

fn push(c: char, out: &mut Vec<u8>) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Length of the stretch of ASCII that `bytes` begin with.
fn ascii_prefix(bytes: &[u8]) -> usize {
    const STEP: usize = 32;
    let steps = bytes.chunks(STEP).take_while(|c| c.is_ascii()).count();
    let start = (steps * STEP).min(bytes.len());
    start + bytes[start..].iter().take_while(|b| b.is_ascii()).count()
}

/// White space to Unicode, though not to `is_ascii_whitespace`.
const VERTICAL_TAB: u8 = 0x0b;

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Folding = Folding { white_space: WhiteSpace::Any, invisible: Invisible::Read };
    const IGNORE: Folding = Folding { invisible: Invisible::Ignore, ..READ };

    fn folded(fold: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        fold(&mut out);
        String::from_utf8(out).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn folding_is_lower_case_and_single_spaces() {
        for text in ["", " ", "A  B\t\n C", "È\u{a0} É\u{2003}\u{b}x", "İıK ß", "\u{3000}\u{3000}中文  X", "fine\n"]
        {
            let mut expected = String::new();
            for c in text.to_lowercase().chars() {
                match c.is_whitespace() {
                    true if expected.ends_with(' ') => {}
                    true => expected.push(' '),
                    false => expected.push(c),
                }
            }
            assert_eq!(folded(|out| lowercase_into(text, out)), expected);
        }
    }

    /// python3: `N = unicodedata.normalize; N("NFC", N("NFC", text).casefold())`
    #[test]
    fn canonically_equal_texts_in_any_case_have_one_form() {
        for (texts, form) in [
            (&["Perché", "PERCHÉ", "perche\u{301}", "PERCHE\u{301}"][..], "perch\u{e9}"),
            (&["Straße", "STRASSE", "STRAẞE", "straſſe"], "strasse"),
            (&["ΣΊΣΥΦΟΣ", "σίσυφος", "Σι\u{301}συφοσ"], "σ\u{3af}συφοσ"),
            (&["\u{390}", "\u{3aa}\u{301}", "\u{399}\u{308}\u{301}", "\u{1fd3}"], "\u{390}"),
            (&["\u{1f0}", "J\u{30c}"], "\u{1f0}"),
            (&["ﬃ", "FFI"], "ffi"),
            (&["К\u{306}ЁЙ", "к\u{306}ё\u{439}", "К\u{306}е\u{308}И\u{306}"], "к\u{306}ёй"),
            (&["\u{30ab}\u{3099}\u{3000}\u{a0}中", "\u{30ac} 中"], "\u{30ac} 中"),
            (&["\u{212b}", "A\u{30a}"], "\u{e5}"),
            (&["ẖ", "H\u{331}"], "\u{1e96}"),
            (&["ÇÐÞ×ЮЯЁ", "çðþ×юяё"], "çðþ×юяё"),
            (&["ı"], "ı"),
            (&["İ"], "i\u{307}"),
            (&["Àÿ×Þ÷", "À\u{178}×þ÷"], "àÿ×þ÷"),
        ] {
            for text in texts {
                assert_eq!(folded(|out| caseless_into(text, READ, out)), form, "{text}");
            }
        }
    }

    #[test]
    fn white_space_is_any_or_itself() {
        let exact = Folding { white_space: WhiteSpace::Exact, ..READ };
        for text in ["a  b", "a\u{a0}b", "a\n\u{3000}b"] {
            assert_eq!(folded(|out| caseless_into(text, READ, out)), "a b");
            assert_eq!(folded(|out| caseless_into(text, exact, out)), text);
        }
    }

    #[test]
    fn what_has_no_width_is_left_out_where_a_rule_says_so() {
        for c in ['\u{ad}', '\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}', '\u{feff}'] {
            let text = format!("Pi{c}pi{c}\u{300}");
            assert_eq!(folded(|out| caseless_into(&text, IGNORE, out)), "pip\u{ec}", "{c:?}");
            assert_ne!(folded(|out| caseless_into(&text, READ, out)), "pip\u{ec}", "{c:?}");
        }
        assert_eq!(folded(|out| caseless_into("è – «»", IGNORE, out)), "è – «»");
    }
}
