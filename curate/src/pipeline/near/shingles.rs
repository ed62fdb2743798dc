//! Shingles: what near-duplicates have in common. A text is brought into a form without case, accents, punctuation and the
//! values of numbers, and cut into all its runs of n words or characters; each run is a hash of 32 bits. Whoever changes
//! the form or the hash raises `SKETCH_FORMAT` of the plan.

use std::sync::LazyLock;

use setaccio_base::{
    nfc::nfc,
    row::{Content, Kind},
};
use setaccio_dataset::recipe::{DedupOn, Near, ShingleUnit};
use setaccio_filters::spaceless::is_spaceless;
use unicode_normalization::char::{canonical_combining_class, decompose_canonical};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::pipeline::key::compared;

/// Cuts texts into shingles; keeps its room from one to the next.
#[derive(Default)]
pub struct Shingler {
    words: Words,
    shingles: Vec<u32>,
}

impl Shingler {
    /// The hashes of all shingles of a row, with repeats, in the order of the text. A turn of a conversation has shingles of its
    /// own, which those of other roles and sides are not; one of fewer words (or characters) than `near.ngram` is one shingle,
    /// and so is a row that holds neither letters nor digits, as it is.
    pub fn shingles(&mut self, content: &Content, on: DedupOn, near: &Near) -> &[u32] {
        self.shingles.clear();
        self.words.numbers = near.numbers.unwrap_or(content.kind() != Kind::Text);
        if let Content::Text(text) = content {
            self.add(text, 0, near);
        }
        for (side, turns) in (1_u64..).zip(compared(content, on)) {
            for turn in turns {
                self.add(&turn.content, xxh3_64_with_seed(turn.role.as_bytes(), side), near);
            }
        }
        if self.shingles.is_empty() {
            let texts: Vec<&str> = content.texts().collect();
            if texts.iter().any(|text| !text.trim().is_empty()) {
                self.shingles.push(high(xxh3_64(nfc(&texts.join("\u{1e}")).as_bytes())));
            }
        }
        &self.shingles
    }

    /// Add the shingles of a text, hashed under `seed`.
    fn add(&mut self, text: &str, seed: u64, near: &Near) {
        self.words.clear(near.unit);
        self.words.add(text);
        let n = usize::try_from(near.ngram).unwrap_or(usize::MAX);
        let (bytes, ends) = match near.unit {
            ShingleUnit::Words => (&self.words.hashes, None),
            ShingleUnit::Characters => (&self.words.text, Some(self.words.ends())),
        };
        let hash = |run: &[u8]| high(xxh3_64_with_seed(run, seed));
        match ends {
            None if bytes.len() > n * HASH => {
                self.shingles.extend(bytes.windows(n * HASH).step_by(HASH).map(hash));
            }
            Some(ends) if ends.len() > n + 1 => {
                self.shingles.extend(ends.windows(n + 1).map(|run| hash(&bytes[run[0]..run[n]])));
            }
            _ if bytes.is_empty() => {}
            _ => self.shingles.push(hash(bytes)),
        }
    }

    /// The same as a set: sorted, without repeats.
    pub fn set(&mut self, content: &Content, on: DedupOn, near: &Near) -> &[u32] {
        self.shingles(content, on, near);
        self.shingles.sort_unstable();
        self.shingles.dedup();
        &self.shingles
    }
}

/// The share of two sorted sets that is in both: how many are in both, and how many in either.
pub fn overlap(a: &[u32], b: &[u32]) -> (u32, u32) {
    let (mut i, mut j, mut both) = (0, 0, 0_u32);
    while i < a.len() && j < b.len() {
        both += u32::from(a[i] == b[j]);
        let (a, b) = (a[i], b[j]);
        i += usize::from(a <= b);
        j += usize::from(b <= a);
    }
    let either = u32::try_from(a.len() + b.len()).unwrap_or(u32::MAX) - both;
    (both, either)
}

/// The upper half of a hash.
fn high(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or(0)
}

/// Bytes of a word's hash.
const HASH: usize = 8;

/// The words of a text in their normal form.
#[derive(Default)]
struct Words {
    /// Whether text is kept, or hashes of words.
    characters: bool,
    /// Whether numbers keep their digits.
    numbers: bool,
    word: Vec<u8>,
    /// A hash a word.
    hashes: Vec<u8>,
    /// The words, a space before each but the first.
    text: Vec<u8>,
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
    fn clear(&mut self, unit: ShingleUnit) {
        self.characters = unit == ShingleUnit::Characters;
        self.word.clear();
        self.hashes.clear();
        self.text.clear();
    }

    /// Add a text; a word does not go on from one text to the next.
    ///
    /// 1. Form D without marks (canonical combining class above 0), in lower case.
    /// 2. A number (digits, and a separator, `.`, `,` or `'`, between two of them) is `0`, or its digits.
    /// 3. What is neither letter nor digit ends a word, and a character of a script without spaces is one.
    fn add(&mut self, text: &str) {
        let (ascii, accented) = (&*ASCII, &*ACCENTED);
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            if byte < 0x80 {
                match ascii[usize::from(byte)] {
                    0 => self.end(),
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
            at += c.len_utf8();
            match accented.get(c as usize) {
                Some(letter) if *letter > 0 => self.word.push(*letter),
                _ => self.other(c),
            }
        }
        self.end();
    }

    /// A character beyond ASCII.
    fn other(&mut self, c: char) {
        if is_spaceless(c) && c.is_alphanumeric() {
            self.end();
            self.push(c);
            self.end();
            return;
        }
        decompose_canonical(c, |part| {
            if canonical_combining_class(part) > 0 {
            } else if part.is_numeric() && !self.numbers {
                self.digit();
            } else if part.is_alphanumeric() {
                part.to_lowercase().filter(|c| canonical_combining_class(*c) == 0).for_each(|lower| self.push(lower));
            } else {
                self.end();
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

    fn end(&mut self) {
        if self.word.is_empty() {
            return;
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
    fn ends(&self) -> Vec<usize> {
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
    use setaccio_base::row::Message;

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
    fn shingles_are_runs_and_short_texts_are_one() {
        let mut shingler = Shingler::default();
        let mut count =
            |text: &str, near: &Near| shingler.shingles(&Content::Text(text.into()), DedupOn::Row, near).to_vec();
        let words = Near::default();
        assert_eq!(count("uno due tre quattro cinque sei", &words).len(), 2);
        assert_eq!(count("uno due tre quattro cinque", &words).len(), 1);
        assert_eq!(count("uno due", &words).len(), 1);
        assert!(count(" \n", &words).is_empty());
        assert!(count("?!", &words).len() == 1 && count("?!", &words) != count("!?", &words));
        let valued = Near { numbers: Some(true), ..Near::default() };
        assert!(
            count("fa 1.250", &words) == count("fa 7", &words) && count("fa 1.250", &valued) != count("fa 7", &valued)
        );
        assert_eq!(count("Uno, due!", &words), count("uno DUE", &words));
        assert_ne!(count("uno due", &words), count("unodue", &words));
        let characters = Near { unit: ShingleUnit::Characters, ngram: 3, ..Near::default() };
        assert_eq!(count("ciao à tè", &characters).len(), 7);
        assert_eq!(count("ab", &characters).len(), 1);
        assert_eq!(count("Già così", &characters), count("GIA COSI", &characters));
    }

    #[test]
    fn what_is_compared_is_what_dedup_says() {
        let mut shingler = Shingler::default();
        let mut set = |content: &Content, on| shingler.set(content, on, &Near::default()).to_vec();
        let turn = |role: &str, text: &str| Message::new(role, text);
        let chat = |answer: &str| Content::chat(vec![turn("user", "Dimmi di Bari"), turn("assistant", answer)]);
        assert_eq!(set(&chat("Una città."), DedupOn::Prompt), set(&chat("Un porto."), DedupOn::Prompt));
        assert_ne!(set(&chat("Una città."), DedupOn::Row), set(&chat("Un porto."), DedupOn::Row));
        let pair = |chosen: &str| {
            let side = |text: &str| vec![turn("assistant", text)];
            Content::preference(vec![turn("user", "Dimmi di Bari")], side(chosen), side("No"))
        };
        assert_ne!(
            set(&chat("Fa 7."), DedupOn::Row),
            set(&chat("Fa 8."), DedupOn::Row),
            "numbers count in conversations"
        );
        let turned = Content::chat(vec![turn("assistant", "Dimmi di Bari"), turn("user", "Una città.")]);
        assert_ne!(set(&chat("Una città."), DedupOn::Row), set(&turned, DedupOn::Row), "so do roles");
        let sides =
            |a: &str, b: &str| Content::preference(Vec::new(), vec![turn("assistant", a)], vec![turn("assistant", b)]);
        assert_ne!(set(&sides("Una", "Altra"), DedupOn::Row), set(&sides("Altra", "Una"), DedupOn::Row), "and sides");
        assert_eq!(set(&pair("Una"), DedupOn::Prompt), set(&pair("Altra"), DedupOn::Prompt));
        assert_ne!(set(&pair("Una"), DedupOn::Row), set(&pair("Altra"), DedupOn::Row));
    }

    #[test]
    fn the_overlap_of_sets_is_counted() {
        assert_eq!(overlap(&[1, 3, 5, 7], &[3, 4, 5]), (2, 5));
        assert_eq!(overlap(&[1], &[2]), (0, 2));
        assert_eq!(overlap(&[], &[]), (0, 0));
        assert_eq!(overlap(&[9, 10], &[9, 10]), (2, 2));
    }
}
