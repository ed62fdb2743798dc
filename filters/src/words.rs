//! Finding listed words and phrases in text, whole words by Unicode's rules, without regard to case.

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, AhoCorasickKind, MatchKind};

use crate::rule::RuleError;

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
        let folded: Vec<String> = words.iter().map(|w| fold(w)).collect();
        let automaton = AhoCorasickBuilder::new()
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::DFA))
            .build(&folded)
            .map_err(|e| RuleError::setting(format!("the words are too many: {e}")))?;
        Ok(Self { automaton, words, whole })
    }

    /// The words found in `text`, as they are listed, in order. `buffer` is working space.
    pub fn find<'a>(&'a self, text: &str, buffer: &'a mut String) -> impl Iterator<Item = &'a str> {
        fold_into(text, buffer);
        let folded: &'a str = buffer;
        // Overlapping: a match inside a longer word must not hide a whole word that begins within it.
        self.automaton
            .find_overlapping_iter(folded)
            .filter(move |m| !self.whole || is_whole(folded, m.start(), m.end()))
            .map(|m| self.words[m.pattern().as_usize()].as_str())
    }
}

/// Whether no word character touches the span, unless it itself ends in none there.
fn is_whole(text: &str, start: usize, end: usize) -> bool {
    let inner = &text[start..end];
    let before = text[..start].chars().next_back().is_some_and(is_word);
    let after = text[end..].chars().next().is_some_and(is_word);
    !(before && inner.chars().next().is_some_and(is_word) || after && inner.chars().next_back().is_some_and(is_word))
}

/// Letters, digits, marks that combine with them, and the underscore, as in `\w`.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || unicode_normalization::char::is_combining_mark(c)
}

fn fold(text: &str) -> String {
    let mut folded = String::new();
    fold_into(text, &mut folded);
    folded
}

/// Lower case, and every run of white space as one space.
fn fold_into(text: &str, out: &mut String) {
    out.clear();
    out.reserve(text.len());
    let mut space = false;
    for c in text.chars() {
        if c.is_ascii() {
            if c.is_ascii_whitespace() {
                if !space {
                    out.push(' ');
                }
                space = true;
                continue;
            }
            out.push(c.to_ascii_lowercase());
        } else if c.is_whitespace() {
            if !space {
                out.push(' ');
            }
            space = true;
            continue;
        } else {
            out.extend(c.to_lowercase());
        }
        space = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(words: &[&str], text: &str) -> Vec<String> {
        let finder = Finder::new(words.iter().map(|w| (*w).to_owned()).collect(), true);
        let finder = finder.unwrap_or_else(|e| panic!("{e}"));
        finder.find(text, &mut String::new()).map(str::to_owned).collect()
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
