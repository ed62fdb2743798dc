//! The words of a text in a normal form: without case, accents, punctuation and, if so asked, the values of numbers. What
//! near-duplicates and contamination compare. Whoever changes the form or the hash raises `SKETCH_FORMAT` and `EVALUATION_FORMAT`
//! of the plan.

use std::{ops::Range, sync::LazyLock};

use setaccio_dataset::recipe::ShingleUnit;
use setaccio_filters::spaceless::is_spaceless;
use unicode_normalization::char::{canonical_combining_class, decompose_canonical};
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of a word's hash.
pub const HASH: usize = 8;

/// The words of a text in their normal form.
#[derive(Default)]
pub struct Words {
    /// Whether text is kept, or hashes of words.
    characters: bool,
    /// Whether numbers keep their digits.
    pub numbers: bool,
    word: Vec<u8>,
    /// Where the word begins.
    start: usize,
    /// A hash a word.
    pub hashes: Vec<u8>,
    /// The words, a space before each but the first.
    pub text: Vec<u8>,
    /// The bytes of the text that each word was made of, where [`Self::add_with_places`] was asked.
    pub places: Vec<Range<usize>>,
}

/// What is made of a byte of ASCII: a letter in lower case, `0` of a digit, nothing of the others.
static ASCII: LazyLock<[u8; 128]> = LazyLock::new(|| {
    let mut table = [0; 128];
    for byte in 0..128_u8 {
        let normal = if byte.is_ascii_digit() { b'0' } else { byte.to_ascii_lowercase() };
        table[usize::from(byte)] = if normal.is_ascii_alphanumeric() { normal } else { 0 };
    }
    table
});

/// Letters of U+00C0 to U+017F that are one of ASCII with an accent: that one, or nothing.
static ACCENTED: LazyLock<[u8; 0x180]> = LazyLock::new(|| {
    let mut table = [0; 0x180];
    for code in 0xc0..0x180_u32 {
        let mut parts = Vec::new();
        if let Some(c) = char::from_u32(code) {
            decompose_canonical(c, |part| parts.push(part));
        }
        if let [base, rest @ ..] = parts.as_slice()
            && base.is_ascii_alphabetic()
            && rest.iter().all(|mark| canonical_combining_class(*mark) > 0)
        {
            table[code as usize] = u8::try_from(base.to_ascii_lowercase()).unwrap_or(0);
        }
    }
    table
});

impl Words {
    /// None yet, where numbers keep their digits or not.
    pub fn new(numbers: bool) -> Self {
        Self { numbers, ..Self::default() }
    }

    /// None, of a text that is kept as characters or as hashes of words.
    pub fn clear(&mut self, unit: ShingleUnit) {
        self.characters = unit == ShingleUnit::Characters;
        self.word.clear();
        self.hashes.clear();
        self.text.clear();
        self.places.clear();
    }

    /// The hash of each word.
    pub fn hashes(&self) -> impl ExactSizeIterator<Item = u64> {
        let (hashes, _) = self.hashes.as_chunks::<HASH>();
        hashes.iter().map(|hash| u64::from_le_bytes(*hash))
    }

    /// Add a text; a word does not go on from one text to the next.
    ///
    /// 1. Form D without marks (canonical combining class above 0), in lower case.
    /// 2. A number (digits, and a separator, `.`, `,` or `'`, between two of them) is `0`, or its digits.
    /// 3. What is neither letter nor digit ends a word, and a character of a script without spaces is one.
    pub fn add(&mut self, text: &str) {
        self.walk::<false>(text);
    }

    /// The same, and remember where each word stands.
    pub fn add_with_places(&mut self, text: &str) {
        self.walk::<true>(text);
    }

    fn walk<const PLACES: bool>(&mut self, text: &str) {
        let (ascii, accented) = (&*ASCII, &*ACCENTED);
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            if PLACES && self.word.is_empty() {
                self.start = at;
            }
            if byte < 0x80 {
                match ascii[usize::from(byte)] {
                    0 => self.end::<PLACES>(at),
                    b'0' => {
                        let end = number(bytes, at);
                        if self.numbers {
                            self.word.extend(bytes[at..end].iter().filter(|b| b.is_ascii_digit()));
                        } else {
                            self.digit();
                        }
                        at = end;
                        continue;
                    }
                    letter => self.word.push(letter),
                }
                at += 1;
                continue;
            }
            let Some(c) = text[at..].chars().next() else { break };
            match accented.get(c as usize) {
                Some(letter) if *letter > 0 => self.word.push(*letter),
                _ => self.other::<PLACES>(c, at),
            }
            at += c.len_utf8();
        }
        self.end::<PLACES>(at);
    }

    /// A character beyond ASCII, which stands at `at`.
    fn other<const PLACES: bool>(&mut self, c: char, at: usize) {
        if is_spaceless(c) && c.is_alphanumeric() {
            self.end::<PLACES>(at);
            self.start = at;
            self.push(c);
            self.end::<PLACES>(at + c.len_utf8());
            return;
        }
        decompose_canonical(c, |part| {
            if canonical_combining_class(part) > 0 {
            } else if part.is_numeric() && !self.numbers {
                self.digit();
            } else if part.is_alphanumeric() {
                part.to_lowercase().filter(|c| canonical_combining_class(*c) == 0).for_each(|lower| self.push(lower));
            } else {
                self.end::<PLACES>(at);
            }
        });
    }

    fn push(&mut self, c: char) {
        self.word.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }

    /// A digit; those beside each other are one number.
    fn digit(&mut self) {
        if self.word.last() != Some(&b'0') {
            self.word.push(b'0');
        }
    }

    /// The word ends, if there is one, before `at`.
    fn end<const PLACES: bool>(&mut self, at: usize) {
        if self.word.is_empty() {
            return;
        }
        if PLACES {
            self.places.push(self.start..at);
        }
        if self.characters {
            if !self.text.is_empty() {
                self.text.push(b' ');
            }
            self.text.append(&mut self.word);
        } else {
            self.hashes.extend_from_slice(&xxh3_64(&self.word).to_le_bytes());
            self.word.clear();
        }
    }

    /// Where the characters of `text` begin, and where it ends.
    pub fn ends(&self) -> Vec<usize> {
        let starts = self.text.iter().enumerate().filter(|(_, byte)| (**byte & 0xc0) != 0x80).map(|(at, _)| at);
        starts.chain([self.text.len()]).collect()
    }
}

/// Where a number ends that begins at `at`.
fn number(bytes: &[u8], mut at: usize) -> usize {
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    while digit(at) || (matches!(bytes.get(at), Some(b'.' | b',' | b'\'')) && digit(at + 1)) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(text: &str) -> String {
        let mut words = Words { characters: true, ..Words::default() };
        words.add(text);
        String::from_utf8(words.text).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn the_normal_form_is_without_case_accents_marks_and_values() {
        for (text, expected) in [
            ("Perché NO?", "perche no"),
            ("perche\u{301} no!", "perche no"),
            ("L'acqua costa 1.250,50 € al m³.", "l acqua costa 0 al m0"),
            ("Il 12 maggio 1998, alle 10:30", "il 0 maggio 0 alle 0 0"),
            ("abc123def", "abc0def"),
            ("Fine 3. Poi", "fine 0 poi"),
            ("  \n\t ", ""),
            ("...!?", ""),
            ("Çà Ωμέγα ЁЖ straße İ", "ca ωμεγα еж straße i"),
            ("猫が好き", "猫 が 好 き"),
            ("我用Rust写", "我 用 rust 写"),
            ("x\u{ad}y", "x y"),
        ] {
            assert_eq!(normal(text), expected, "{text}");
        }
    }

    #[test]
    fn places_are_those_of_the_text() {
        let text = "L\u{2019}è  perche\u{301}: 1.250,50 \u{20ac}, 猫が x\u{ad}y.";
        let mut words = Words::default();
        words.add_with_places(text);
        let places: Vec<&str> = words.places.iter().map(|place| &text[place.clone()]).collect();
        assert_eq!(places, ["L", "è", "perche\u{301}", "1.250,50", "猫", "が", "x", "y"]);
        let placed = words.hashes.clone();
        words.clear(ShingleUnit::Words);
        words.add(text);
        assert_eq!((words.hashes.clone(), words.hashes().len()), (placed, places.len()));
    }
}
