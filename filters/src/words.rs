//! Finding listed words and phrases in text, in any Unicode form and case.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    ops::ControlFlow::{self, Continue},
};

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, AhoCorasickKind, MatchKind};

use crate::{
    error::RuleError,
    fold::{Folding, caseless_into, with_caseless},
    spaceless::is_spaceless,
    word_starts::{WordStarts, pad},
};

/// Listed words, found where they stand as words: no letter, digit, mark or underscore touches them. Words of scripts
/// without spaces are found inside running text, and other words beside such scripts.
pub struct WordFinder {
    starts: WordStarts,
    words: Vec<String>,
    folding: Folding,
}

impl WordFinder {
    /// A finder of `words`.
    ///
    /// # Errors
    /// No words, or one of which nothing is left to look for.
    pub fn new(words: Vec<String>, folding: Folding) -> Result<Self, RuleError> {
        let folded = fold_all(&words, folding)?;
        Ok(Self { starts: WordStarts::new(&folded), words, folding })
    }

    /// Show `visit` the words found in `text`, as they are listed, in the order of their ends, the longest first,
    /// until it breaks.
    pub fn find<'a>(&'a self, text: &str, mut visit: impl FnMut(&'a str) -> ControlFlow<()>) {
        with_caseless(text, self.folding, |folded| {
            let len = pad(folded);
            let (padded, text) = (folded.as_slice(), &folded[..len]);
            // A word that begins earlier may end later: each waits until none can end before it.
            let mut found: BinaryHeap<Reverse<(usize, usize, usize)>> = BinaryHeap::new();
            let mut flush = |found: &mut BinaryHeap<Reverse<(usize, usize, usize)>>, until: usize| {
                while found.peek().is_some_and(|Reverse((end, ..))| *end <= until) {
                    let Some(Reverse((_, _, word))) = found.pop() else { break };
                    visit(&self.words[word])?;
                }
                Continue(())
            };
            let all = self.starts.visit(padded, len, |start, end, word| {
                flush(&mut found, start)?;
                if is_whole(text, start, end) {
                    found.push(Reverse((end, start, word)));
                }
                Continue(())
            });
            // What breaks has said so to the caller already.
            if all == Continue(()) {
                let _ = flush(&mut found, len);
            }
        });
    }
}

/// Listed phrases, found anywhere.
pub struct PhraseFinder {
    automaton: AhoCorasick,
    phrases: Vec<String>,
    folded: Vec<String>,
    folding: Folding,
}

impl PhraseFinder {
    /// A finder of `phrases`.
    ///
    /// # Errors
    /// No phrases, one of which nothing is left to look for, or too many for an automaton.
    pub fn new(phrases: Vec<String>, folding: Folding) -> Result<Self, RuleError> {
        let folded = fold_all(&phrases, folding)?;
        let automaton = automaton(&folded).map_err(|e| RuleError::setting(format!("the phrases are too many: {e}")))?;
        Ok(Self { automaton, phrases, folded, folding })
    }

    /// What it takes for the same.
    pub fn folding(&self) -> Folding {
        self.folding
    }

    /// The phrases, as they are compared.
    pub fn folded(&self) -> &[String] {
        &self.folded
    }

    /// The first phrase in `text`, as it is listed.
    pub fn first(&self, text: &str) -> Option<&str> {
        with_caseless(text, self.folding, |folded| {
            let found = self.automaton.find(folded.as_slice())?;
            Some(self.phrases[found.pattern().as_usize()].as_str())
        })
    }
}

/// Bytes of phrases up to which they get a table of all that may follow: making one takes time with the square of a phrase
/// that repeats itself.
const TABLE_BYTES: usize = 10_000;

/// What finds these phrases, of several at one place the first.
///
/// # Errors
/// They are too many.
pub fn automaton<P: AsRef<[u8]>>(phrases: &[P]) -> Result<AhoCorasick, aho_corasick::BuildError> {
    let bytes: usize = phrases.iter().map(|phrase| phrase.as_ref().len()).sum();
    let kind = (bytes > TABLE_BYTES).then_some(AhoCorasickKind::ContiguousNFA);
    AhoCorasickBuilder::new().match_kind(MatchKind::LeftmostFirst).kind(kind).build(phrases)
}

/// The form in which `text` is compared with listed words, as text.
pub fn form(text: &str, folding: Folding) -> String {
    let mut out = Vec::new();
    caseless_into(text, folding, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

fn fold_all(words: &[String], folding: Folding) -> Result<Vec<String>, RuleError> {
    if words.is_empty() {
        return Err(RuleError::setting("there are no words to look for; give `lists` or words, or remove the rule"));
    }
    let folded: Vec<String> = words.iter().map(|w| form(w, folding)).collect();
    match folded.iter().position(String::is_empty) {
        Some(at) => Err(RuleError::setting(format!(
            "the entry {:?} holds no character to look for, and would be found everywhere; remove it",
            words[at]
        ))),
        None => Ok(folded),
    }
}

/// Whether no word character touches the span, unless it itself ends in none there, or either needs no space.
fn is_whole(text: &[u8], start: usize, end: usize) -> bool {
    let inner = &text[start..end];
    !(joined(last_char(&text[..start]), first_char(inner)) || joined(last_char(inner), first_char(&text[end..])))
}

/// Whether two neighbours are parts of one word.
fn joined(before: Option<char>, after: Option<char>) -> bool {
    before.is_some_and(holds_together) && after.is_some_and(holds_together)
}

fn holds_together(c: char) -> bool {
    is_word(c) && !is_spaceless(c)
}

/// The first character of UTF-8 bytes.
fn first_char(bytes: &[u8]) -> Option<char> {
    let end = (1..=4).find(|n| bytes.get(*n).is_none_or(|b| !is_inside(*b)))?;
    std::str::from_utf8(bytes.get(..end)?).ok()?.chars().next()
}

/// The last character of UTF-8 bytes.
fn last_char(bytes: &[u8]) -> Option<char> {
    let start = bytes.iter().rposition(|b| !is_inside(*b))?;
    std::str::from_utf8(&bytes[start..]).ok()?.chars().next()
}

/// Whether a byte of UTF-8 is none that a character begins with.
fn is_inside(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

/// Letters, digits, marks that combine with them, and the underscore, as in `\w`.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || unicode_normalization::char::is_combining_mark(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fold::{Invisible, WhiteSpace},
        sieve::Sieve,
    };

    const READ: Folding = Folding { white_space: WhiteSpace::Any, invisible: Invisible::Read };
    const IGNORE: Folding = Folding { invisible: Invisible::Ignore, ..READ };

    fn finder(words: &[&str], folding: Folding) -> WordFinder {
        WordFinder::new(words.iter().map(|w| (*w).to_owned()).collect(), folding).unwrap_or_else(|e| panic!("{e}"))
    }

    fn found(finder: &WordFinder, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        finder.find(text, |word| {
            found.push(word.to_owned());
            Continue(())
        });
        found
    }

    #[test]
    fn words_are_whole_and_case_is_folded() {
        for (words, text, expected) in [
            (&["culo"][..], "Che CULO!", &["culo"][..]),
            (&["culo"], "un articulo", &[]),
            (&["culo"], "culo_1 e culò", &[]),
            (&["perché"], "PERCHÉ no", &["perché"]),
            (&["cul", "culo"], "culo", &["culo"]),
            (&["a b", "b c d"], "a b c d", &["a b", "b c d"]),
            (&["figlio di"], "figlio \n\u{a0}di", &["figlio di"]),
            (&["ass"], "Scunthorpe, class, ass.", &["ass"]),
            (&["@$$"], "x@$$y", &["@$$"]),
            (&["🖕"], "no🖕no", &["🖕"]),
            (&["so"], "so\u{301}", &[]),
            (&["x", "xy"], "x-xy", &["x", "xy"]),
            // The first to end is the first; of those that end together the longest.
            (&["d", "c d", "a b c d", "b"], "a b c d", &["b", "a b c d", "c d", "d"]),
            (&["a b c d", "b"], "a b c e", &["b"]),
            (&["èra", "era"], "l’èra e «èra» era èrano", &["èra", "èra", "era"]),
        ] {
            assert_eq!(found(&finder(words, READ), text), expected, "{text}");
        }
    }

    /// Canonically equal texts, by python3: `unicodedata.normalize("NFD", text)` is the same of each row.
    #[test]
    fn how_accents_are_typed_makes_no_difference() {
        let forms = [
            &["pipì", "pipi\u{300}"][..],
            &["bourré", "bourre\u{301}"],
            &["q\u{323}\u{307}", "q\u{307}\u{323}"],
            &["Ångström", "\u{212b}ngstro\u{308}m"],
            &["각", "\u{1100}\u{1161}\u{11a8}"],
            &["ガ", "カ\u{3099}"],
        ];
        for form in forms {
            for word in form {
                let finder = finder(&[word], READ);
                for text in form {
                    for text in [format!("La {text}, due"), text.to_uppercase()] {
                        assert_eq!(found(&finder, &text), [*word], "{text:?}");
                    }
                }
                assert_eq!(found(&finder, "pipi bourre q Angstrom 가 カ"), [""; 0], "{word}");
            }
        }
    }

    #[test]
    fn scripts_without_spaces_are_matched_inside_running_text() {
        for (word, text, is_there) in [
            ("性交", "他们谈论性交的问题", true),
            ("エロ", "このエロい本", true),
            ("ควย", "ไอ้ควยมาก", true),
            ("ໂຄຍ", "ມັນໂຄຍຫຼາຍ", true),
            ("ក្ដ", "មានក្ដនៅ", true),
            ("လီး", "ဒါလီးပဲ", true),
            // Latin words beside them are whole; within Latin words they are not.
            ("sm", "彼はsmが好き", true),
            ("sm", "彼はsmithさん", false),
            ("3p動画", "新しい3p動画です", true),
            ("3p動画", "新しいx3p動画です", false),
            // Korean has spaces.
            ("강간", "그강간은", false),
            ("강간", "그 강간 은", true),
        ] {
            let expected: &[&str] = if is_there { &[word] } else { &[] };
            assert_eq!(found(&finder(&[word], READ), text), expected, "{text}");
        }
    }

    #[test]
    fn characters_of_no_width_are_read_or_ignored() {
        for text in ["Che caz\u{200b}zo", "caz\u{ad}zo!", "\u{feff}c\u{2060}azzo", "caz\u{200d}zo\u{200c}"] {
            assert_eq!(found(&finder(&["cazzo"], IGNORE), text), ["cazzo"], "{text:?}");
            assert_eq!(found(&finder(&["cazzo"], READ), text), [""; 0], "{text:?}");
            assert_eq!(found(&finder(&["caz\u{ad}zo"], IGNORE), text), ["caz\u{ad}zo"], "{text:?}");
        }
    }

    #[test]
    fn an_entry_of_a_hundred_thousand_letters_takes_no_time_with_their_square() {
        for entry in ["x".repeat(100_000), format!("{}y", "x".repeat(100_000)), "xyz ".repeat(25_000) + "z"] {
            let began = std::time::Instant::now();
            let phrases = PhraseFinder::new(vec![entry.clone(), "due".into()], READ).unwrap_or_else(|e| panic!("{e}"));
            let words = finder(&[&entry], READ);
            assert!(Sieve::new(&[&phrases]).is_some());
            let text = format!("Uno {entry} due");
            assert_eq!(phrases.first(&text), Some(entry.as_str()));
            // A word that repeats itself is looked up at each of its own words.
            let text = if entry.contains(' ') { "xyz xyz" } else { &text };
            assert_eq!(found(&words, text).len(), usize::from(!entry.contains(' ')));
            assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
        }
    }

    #[test]
    fn an_entry_that_would_be_found_everywhere_is_refused() {
        let refused = |word: &str, folding| {
            WordFinder::new(vec![word.to_owned()], folding).err().map(|e| e.to_string()).unwrap_or_default()
        };
        assert!(refused("", READ).contains("found everywhere"));
        assert!(refused("\u{ad}", IGNORE).contains("found everywhere"));
        assert_eq!(refused("\u{ad}", READ), "");
    }

    /// Every place of a text, one by one: what the tables and masks of the finder must not miss.
    #[test]
    fn nothing_is_missed_wherever_it_stands() {
        let words = ["a", "ab", "abc", "abd e", "b c", "è", "èa", "$a", "_x", "zzz zzz zzz zzz"];
        let pieces = ["a", "ab", "abc", "abd", " ", "  ", "e", "b", "c", "è", "$", "_x", "-", "中", "zzz", "’", "\n"];
        let finder = finder(&words, READ);
        let mut random = 1_u64;
        for _ in 0..3000 {
            let mut text = String::new();
            for _ in 0..random % 40 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text.push_str(pieces[usize::try_from(random >> 33).unwrap_or(0) % pieces.len()]);
            }
            random = random.wrapping_add(1);
            let folded = form(&text, READ);
            let mut expected: Vec<(usize, usize, &str)> = Vec::new();
            for word in words {
                for start in (0..folded.len()).filter(|at| folded.as_bytes()[*at..].starts_with(word.as_bytes())) {
                    let end = start + word.len();
                    if is_whole(folded.as_bytes(), start, end) {
                        expected.push((end, start, word));
                    }
                }
            }
            expected.sort_unstable();
            let expected: Vec<&str> = expected.into_iter().map(|(.., word)| word).collect();
            assert_eq!(found(&finder, &text), expected, "{text:?}");
        }
    }
}
