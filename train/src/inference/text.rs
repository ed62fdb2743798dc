//! Text of tokens as they come, and where it ends.

use std::sync::Arc;

use crate::tokenizer::Tokens;

/// Tokens that may be waited for until they make whole characters.
const PATIENCE: usize = 8;

/// Makes text of tokens. What may be the beginning of a stop string is held back, and so are bytes that are no character yet.
pub struct Writer {
    tokens: Arc<Tokens>,
    stops: Vec<String>,
    ids: Vec<u32>,
    /// Tokens from here on are decoded together: what a token looks like depends on the one before.
    from: usize,
    /// Tokens up to here are text already.
    done: usize,
    held: String,
}

/// What came of a token.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// New text.
    pub text: String,
    /// Whether a stop string came, which is not part of the text.
    pub stopped: bool,
}

impl Writer {
    /// For texts that end before any of `stops`.
    pub fn new(tokens: Arc<Tokens>, stops: Vec<String>) -> Self {
        let stops = stops.into_iter().filter(|stop| !stop.is_empty()).collect();
        Self { tokens, stops, ids: Vec::new(), from: 0, done: 0, held: String::new() }
    }

    /// The same, of a text that goes on with these tokens: what a token looks like depends on the one before.
    #[must_use]
    pub fn after(mut self, prompt: &[u32]) -> Self {
        self.ids = prompt[prompt.len().saturating_sub(PATIENCE)..].to_vec();
        self.done = self.ids.len();
        self
    }

    /// One more token.
    pub fn push(&mut self, id: u32) -> Written {
        self.ids.push(id);
        self.decode(self.ids.len() - self.done >= PATIENCE);
        if let Some(at) = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            let text = self.held[..at].to_owned();
            self.held.clear();
            return Written { text, stopped: true };
        }
        let whole = self.held.len() - self.beginning();
        Written { text: self.held.drain(..whole).collect(), stopped: false }
    }

    /// What was held back, as nothing more comes.
    pub fn rest(&mut self) -> String {
        self.decode(true);
        let end = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min();
        self.held.truncate(end.unwrap_or(self.held.len()));
        std::mem::take(&mut self.held)
    }

    fn decode(&mut self, all: bool) {
        let text = |ids: &[u32]| self.tokens.decode(ids).unwrap_or_default();
        let (before, now) = (text(&self.ids[self.from..self.done]), text(&self.ids[self.from..]));
        if !all && now.ends_with(char::REPLACEMENT_CHARACTER) {
            return;
        }
        // What was told stays told, also where bytes that come after it make another character of it.
        let same: usize = before.chars().zip(now.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
        self.held.push_str(&now[same..]);
        (self.from, self.done) = (self.done, self.ids.len());
    }

    /// Bytes at the end of what is held that a stop string begins with.
    fn beginning(&self) -> usize {
        let longest = |stop: &String| {
            let lengths = (1..stop.len()).rev().filter(|n| stop.is_char_boundary(*n));
            lengths.into_iter().find(|n| self.held.ends_with(&stop[..*n])).unwrap_or(0)
        };
        self.stops.iter().map(longest).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::tiny;

    fn tokens() -> Arc<Tokens> {
        Arc::new(tiny::train(["il treno parte alle sette da Bari"; 40].into_iter(), 300).unwrap())
    }

    fn written(text: &str, stops: &[&str]) -> (Vec<String>, bool) {
        let tokens = tokens();
        let ids = tokens.encode(text).unwrap().ids;
        let mut writer = Writer::new(tokens, stops.iter().map(|stop| (*stop).to_owned()).collect());
        let mut pieces = Vec::new();
        for id in ids {
            let Written { text, stopped } = writer.push(id);
            pieces.push(text);
            if stopped {
                return (pieces, true);
            }
        }
        pieces.push(writer.rest());
        (pieces, false)
    }

    #[test]
    fn pieces_are_whole_characters_and_together_the_text() {
        let text = "il treno → 🚄 è già partito\u{fffd}! 中文";
        let (pieces, stopped) = written(text, &[]);
        assert!(!stopped && pieces.concat() == text, "{pieces:?}");
        assert!(pieces.iter().all(|piece| !piece.contains('\u{fffd}') || piece.contains("partito") || piece.len() < 6));
        assert!(pieces.iter().filter(|piece| !piece.is_empty()).count() > 8);
    }

    #[test]
    fn a_stop_string_ends_the_text_wherever_tokens_are_cut() {
        let text = "il treno parte alle sette. Question: e poi?";
        for (stops, want) in [
            (&["Question:"][..], "il treno parte alle sette. "),
            (&["sette", "Question:"], "il treno parte alle "),
            (&["e poi?"], "il treno parte alle sette. Question: "),
            (&["alle otto", "poi!", ""], text),
        ] {
            let (pieces, stopped) = written(text, stops);
            assert_eq!((pieces.concat().as_str(), stopped), (want, want != text), "{stops:?}");
        }
    }
}
