//! Unicode's normal form C, in which texts that only differ in how accents are typed are one
//! ([UAX 15](https://www.unicode.org/reports/tr15/)).

use std::{borrow::Cow, ops::Range};

use unicode_normalization::{
    IsNormalized, UnicodeNormalization,
    char::{canonical_combining_class, decompose_canonical},
    is_nfc_quick,
};

/// Every character below U+0300 is in form C wherever it stands; UTF-8 begins the others with this byte or a higher one.
const FIRST_IN_DOUBT: u8 = 0xcc;

/// `text` in form C. What is so already, as most text is, costs a look at its bytes and no copy.
#[must_use]
pub fn nfc(text: &str) -> Cow<'_, str> {
    let doubt = first_in_doubt(text);
    if is_nfc_quick(text[doubt..].chars()) == IsNormalized::Yes {
        return Cow::Borrowed(text);
    }
    let normal: String = text.nfc().collect();
    if normal == text { Cow::Borrowed(text) } else { Cow::Owned(normal) }
}

/// Where the first character stands that may not be in form C; all of the text is before it if there is none.
fn first_in_doubt(text: &str) -> usize {
    const STEP: usize = 32;
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let clear = bytes[at..].chunks(STEP).take_while(|c| highest(c) < FIRST_IN_DOUBT).count();
        at = (at + clear * STEP).min(bytes.len());
        let step = &bytes[at..bytes.len().min(at + STEP)];
        let Some(n) = step.iter().position(|b| *b >= FIRST_IN_DOUBT) else { break };
        at += n;
        match bytes[at..] {
            // U+2002 to U+20CF: dashes, quotes, dots and signs of currencies, which are in form C too.
            [0xe2, 0x80, 0x82..=0xff, ..] | [0xe2, 0x81..=0x82, ..] | [0xe2, 0x83, 0x80..=0x8f, ..] => at += 3,
            _ => return at,
        }
    }
    bytes.len()
}

/// The highest byte. All are looked at, not only up to the first in doubt: that takes a few vector instructions.
fn highest(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |highest, b| highest.max(*b))
}

/// A text in form C that knows where its characters stand in the text as it was typed.
pub struct Normal<'a> {
    typed: &'a str,
    normal: Cow<'a, str>,
}

impl<'a> Normal<'a> {
    /// `typed` in form C.
    #[must_use]
    pub fn new(typed: &'a str) -> Self {
        Self { typed, normal: nfc(typed) }
    }

    /// The text in form C.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.normal
    }

    /// Where the bytes `span` of [`Self::text`] stand in the text as it was typed: whole characters with their marks.
    #[must_use]
    pub fn typed(&self, span: Range<usize>) -> Range<usize> {
        if matches!(self.normal, Cow::Borrowed(_)) {
            return span;
        }
        let text = self.typed;
        let (mut start, mut end) = (text.len(), text.len());
        let (mut at, mut normal) = (0, 0);
        while at < text.len() {
            let mut others = text[at..].char_indices().skip(1);
            let next = others.find(|(_, c)| starts_anew(*c)).map_or(text.len(), |(n, _)| at + n);
            let after = normal + text[at..next].nfc().map(char::len_utf8).sum::<usize>();
            if normal <= span.start && span.start < after {
                start = at;
            }
            if normal >= span.end {
                end = at;
                break;
            }
            (at, normal) = (next, after);
        }
        start.min(end)..end
    }
}

/// Whether a character is never composed with what stands before it.
fn starts_anew(c: char) -> bool {
    let mut first = c;
    let mut seen = false;
    decompose_canonical(c, |d| {
        if !seen {
            (first, seen) = (d, true);
        }
    });
    canonical_combining_class(first) == 0 && is_nfc_quick(std::iter::once(first)) != IsNormalized::Maybe
}

#[cfg(test)]
mod tests {
    use super::*;

    /// python3: `unicodedata.normalize("NFC", text)`
    const CASES: &[(&str, &str)] = &[
        ("", ""),
        ("Perché no? È così.", "Perché no? È così."),
        ("pipi\u{300}", "pip\u{ec}"),
        ("«L’età…» costa 5 € — più", "«L’età…» costa 5 € — più"),
        ("l\u{2019}eta\u{300}", "l\u{2019}et\u{e0}"),
        ("\u{212b} \u{212a}", "\u{c5} K"),
        ("\u{2000}a\u{2001}", "\u{2002}a\u{2003}"),
        ("q\u{307}\u{323}", "q\u{323}\u{307}"),
        ("\u{1100}\u{1161}\u{11a8}", "\u{ac01}"),
        ("\u{30ab}\u{3099}", "\u{30ac}"),
        ("\u{958}", "\u{915}\u{93c}"),
        ("е\u{308}лка", "\u{451}лка"),
        ("\u{301}a", "\u{301}a"),
    ];

    #[test]
    fn form_c_is_as_python_makes_it_wherever_it_stands() {
        for (text, normal) in CASES {
            for before in ["", "x", "……………………………………", "Una riga lunga di testo che non finisce qui, "]
            {
                let (text, normal) = (format!("{before}{text}."), format!("{before}{normal}."));
                assert_eq!(nfc(&text), normal);
                assert_eq!(matches!(nfc(&text), Cow::Borrowed(_)), text == normal, "{text:?}");
            }
        }
    }

    #[test]
    fn a_span_is_found_in_the_text_as_it_is_typed() {
        for (text, found, typed) in [
            ("Deve fare pipi\u{300}!", "pip\u{ec}", "pipi\u{300}"),
            ("e\u{301}e\u{301}e\u{301}x", "x", "x"),
            ("a\u{212b}kg", "kg", "kg"),
            ("a\u{212b}kg", "\u{c5}", "\u{212b}"),
            ("più è", "è", "è"),
            ("\u{1100}\u{1161}\u{11a8}x", "\u{ac01}", "\u{1100}\u{1161}\u{11a8}"),
        ] {
            let normal = Normal::new(text);
            let start = normal.text().find(found).unwrap_or_else(|| panic!("{found:?}"));
            assert_eq!(&text[normal.typed(start..start + found.len())], typed, "{text:?}");
        }
    }
}
