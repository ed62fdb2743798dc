//! Finding listed words and phrases in text, whole words by Unicode's rules, without regard to case.

use std::{
    cell::RefCell,
    ops::ControlFlow::{self, Continue},
};

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, AhoCorasickKind, Match, MatchKind};

use crate::rule::RuleError;

thread_local! {
    /// Working space, kept because lines are many and short.
    static FOLDED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// One automaton for any number of words.
pub struct Finder {
    automaton: AhoCorasick,
    words: Vec<String>,
    whole: bool,
}

impl Finder {
    /// A finder of `words`; with `whole`, only where no word character touches them.
    ///
    /// # Errors
    /// No words, or too many for an automaton.
    pub fn new(words: Vec<String>, whole: bool) -> Result<Self, RuleError> {
        if words.is_empty() {
            return Err(RuleError::setting(
                "there are no words to look for; give `lists` or words, or remove the rule",
            ));
        }
        let folded: Vec<Vec<u8>> = words.iter().map(|w| fold(w)).collect();
        // Phrases are few, and found by vector instructions; words are many, and all their matches are needed.
        let (matches, kind) =
            if whole { (MatchKind::Standard, Some(AhoCorasickKind::DFA)) } else { (MatchKind::LeftmostFirst, None) };
        let automaton = AhoCorasickBuilder::new()
            .match_kind(matches)
            .kind(kind)
            .build(&folded)
            .map_err(|e| RuleError::setting(format!("the words are too many: {e}")))?;
        Ok(Self { automaton, words, whole })
    }

    /// Show `visit` the words found in `text`, as they are listed, in order, until it breaks.
    pub fn find<'a>(&'a self, text: &str, mut visit: impl FnMut(&'a str) -> ControlFlow<()>) {
        FOLDED.with_borrow_mut(|folded| {
            fold_into(text, folded);
            let text = folded.as_slice();
            let mut visit = |m: Match| visit(&self.words[m.pattern().as_usize()]);
            // What breaks has said so to the caller already.
            let _ = if self.whole {
                // Overlapping: a match inside a longer word must not hide a whole word that begins within it.
                let mut found = self.automaton.find_overlapping_iter(text);
                found.try_for_each(|m| if is_whole(text, m.start(), m.end()) { visit(m) } else { Continue(()) })
            } else {
                self.automaton.find_iter(text).try_for_each(visit)
            };
        });
    }

    /// The first word found.
    pub fn first(&self, text: &str) -> Option<&str> {
        let mut first = None;
        self.find(text, |word| {
            first = Some(word);
            ControlFlow::Break(())
        });
        first
    }
}

/// Whether no word character touches the span, unless it itself ends in none there.
fn is_whole(text: &[u8], start: usize, end: usize) -> bool {
    let inner = &text[start..end];
    let joined = |a, b| is_word_at(a) && is_word_at(b);
    !(joined(last_char(&text[..start]), first_char(inner)) || joined(last_char(inner), first_char(&text[end..])))
}

fn is_word_at(c: Option<char>) -> bool {
    c.is_some_and(is_word)
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

fn fold(text: &str) -> Vec<u8> {
    let mut folded = Vec::new();
    fold_into(text, &mut folded);
    folded
}

/// Lower case, and every run of white space as one space; UTF-8.
pub fn fold_into(text: &str, out: &mut Vec<u8>) {
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
            *byte = if byte.is_ascii_whitespace() || *byte == VERTICAL_TAB { b' ' } else { byte.to_ascii_lowercase() };
        }
        rest = &rest[ascii..];
        let other = rest.bytes().position(|b| b.is_ascii()).unwrap_or(rest.len());
        for c in rest[..other].chars() {
            if c.is_whitespace() {
                out.push(b' ');
            } else {
                for lower in c.to_lowercase() {
                    out.extend_from_slice(lower.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
        }
        rest = &rest[other..];
    }
    if memchr::memmem::find(out, b"  ").is_some() {
        out.dedup_by(|b, a| *a == b' ' && *b == b' ');
    }
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

    fn found(words: &[&str], text: &str) -> Vec<String> {
        let finder = Finder::new(words.iter().map(|w| (*w).to_owned()).collect(), true);
        let finder = finder.unwrap_or_else(|e| panic!("{e}"));
        let mut found = Vec::new();
        finder.find(text, |word| {
            found.push(word.to_owned());
            ControlFlow::Continue(())
        });
        assert_eq!(finder.first(text), found.first().map(String::as_str));
        found
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
            assert_eq!(String::from_utf8_lossy(&fold(text)), expected);
        }
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
            (&["so"], "so\u{301}", &[]),
        ] {
            assert_eq!(found(words, text), expected, "{text}");
        }
    }
}
