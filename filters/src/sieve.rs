//! One look for the phrases of several line filters: most texts, and most lines of the others, hold none of them.

use aho_corasick::AhoCorasick;

use crate::{
    fold::{Folding, with_caseless},
    words::{PhraseFinder, automaton},
};

/// The phrases of several filters, of which only is asked whether any is there.
pub struct Sieve {
    /// Phrases of one byte, as `{`: among longer ones they would slow down the search for all.
    bytes: Vec<u8>,
    longer: Option<AhoCorasick>,
    folding: Folding,
}

impl Sieve {
    /// A sieve of the phrases of `finders`, those that fold as the first one does; `None` if there is nothing to look for.
    pub fn new(finders: &[&PhraseFinder]) -> Option<Self> {
        let folding = finders.first()?.folding();
        let alike = finders.iter().filter(|f| f.folding() == folding);
        let (bytes, longer): (Vec<&String>, Vec<&String>) = alike.flat_map(|f| f.folded()).partition(|p| p.len() == 1);
        let automaton = automaton(&longer).ok()?;
        let bytes = bytes.iter().flat_map(|p| p.bytes()).collect();
        Some(Self { bytes, longer: (!longer.is_empty()).then_some(automaton), folding })
    }

    /// Whether it has the phrases of `finder`.
    pub fn covers(&self, finder: &PhraseFinder) -> bool {
        finder.folding() == self.folding
    }

    /// Whether any of the phrases is in `text`.
    pub fn holds_any(&self, text: &str) -> bool {
        with_caseless(text, self.folding, |folded| {
            let folded = folded.as_slice();
            self.bytes.iter().any(|b| memchr::memchr(*b, folded).is_some())
                || self.longer.as_ref().is_some_and(|automaton| automaton.is_match(folded))
        })
    }
}
