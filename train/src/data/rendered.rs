//! A text and its tokens: which tokens an answer has.

use std::ops::Range;

use super::said::Said;
use crate::tokenizer::Encoding;

/// A text and its tokens.
pub struct RenderedTokens<'a> {
    /// The tokens, and where in the text each lies.
    pub tokens: Encoding,
    /// The text.
    pub text: &'a str,
}

impl RenderedTokens<'_> {
    /// Numbers of the tokens that touch a range of bytes.
    pub fn within(&self, range: &Range<usize>) -> Range<usize> {
        let start = self.tokens.offsets.partition_point(|(_, end)| *end <= range.start);
        let end = self.tokens.offsets.partition_point(|(begin, _)| *begin < range.end);
        start..end.max(start)
    }

    /// The tokens of an answer. One that lies across its beginning is learned if only white space stands before it, and given
    /// if a part of the header does, as a special token that takes the white space after it.
    pub fn answer(&self, range: &Range<usize>, said: &mut Said) -> Range<usize> {
        let tokens = self.within(range);
        let begins = self.tokens.offsets.get(tokens.start).map_or(range.start, |(begin, _)| *begin);
        if tokens.is_empty() || begins >= range.start {
            return tokens;
        }
        if self.text.get(begins..range.start).is_none_or(|before| before.trim().is_empty()) {
            said.learned = true;
            tokens
        } else {
            said.given = true;
            tokens.start + 1..tokens.end
        }
    }

    /// The text from a byte to the stop that tokens end with.
    pub fn before_stop(&self, start: usize, tokens: &Range<usize>) -> &str {
        let stop = tokens.end.checked_sub(1).map_or(0, |stop| self.tokens.offsets[stop].0);
        self.text.get(start..stop).unwrap_or_default()
    }

    /// The text of a token, as far as it is whole characters.
    pub fn of(&self, token: usize) -> &str {
        let (start, end) = self.tokens.offsets[token];
        self.text.get(start..end).unwrap_or("\u{FFFD}")
    }
}
