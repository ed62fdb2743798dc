//! `[dedup.repeats]`: what is removed of texts because other rows have it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use setaccio_base::{numbers::counted, unit::Unit};

use crate::keys::is_default;

/// What rows repeat of each other, and what is done with rows that lose some of their text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Repeats {
    /// What a text is cut into.
    pub unit: Unit,
    /// Units in a span: so many that follow each other are compared as one, and a shorter text loses nothing. If nothing is said
    /// it is 3 for sentences and 1 for lines and paragraphs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span: Option<u32>,
    /// A span goes if it is there so often, in any rows or within one.
    pub min_copies: u32,
    /// Spans of fewer words stay.
    pub min_span_words: u32,
    /// A row that lost text is dropped if it is left with fewer sentences. Rows that lost none are not looked at.
    pub min_sentences: u32,
    /// The same, of words.
    pub min_words: u32,
    /// It is as if the table were not there, for one command: `--set dedup.repeats.off=true`.
    #[serde(skip_serializing_if = "is_default")]
    pub off: bool,
}

impl Default for Repeats {
    fn default() -> Self {
        Self {
            unit: Unit::Lines,
            span: None,
            min_copies: 2,
            min_span_words: 0,
            min_sentences: 3,
            min_words: 50,
            off: false,
        }
    }
}

impl Repeats {
    /// Units in a span.
    pub fn span(&self) -> u32 {
        self.span.unwrap_or(if self.unit == Unit::Sentences { 3 } else { 1 })
    }

    /// What is looked for.
    pub fn spans(&self) -> String {
        let unit = self.unit.name();
        match self.span() {
            1 => unit.to_owned(),
            n => format!("spans of {n} {unit}"),
        }
    }

    /// What it removes, for a person.
    pub fn told(&self) -> String {
        let Self { min_copies, min_span_words, min_sentences, min_words, .. } = self;
        let often = match min_copies {
            2 => "more than once".to_owned(),
            n => format!("{n} times or more"),
        };
        let short = match min_span_words {
            0 => String::new(),
            n => format!(" and have {} or more", counted((*n).into(), "word")),
        };
        let least = [(min_sentences, "sentence"), (min_words, "word")].into_iter().filter(|(least, _)| **least > 0);
        let least: Vec<String> = least.map(|(least, what)| counted(u64::from(*least), what)).collect();
        let goes = match least.join(" or ") {
            none if none.is_empty() => "a row of which nothing is left goes".to_owned(),
            least => format!("a row goes that is left with fewer than {least}"),
        };
        format!(
            "{} that occur {often}{short}, in several rows or in one, stay in one place and go from the others; {goes}",
            self.spans()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_told_what_goes() {
        let c4 = Repeats { unit: Unit::Sentences, min_words: 0, ..Repeats::default() };
        assert_eq!(
            c4.told(),
            "spans of 3 sentences that occur more than once, in several rows or in one, stay in one place and go from the \
             others; a row goes that is left with fewer than 3 sentences"
        );
        let often = Repeats { min_copies: 9, min_span_words: 4, min_sentences: 0, ..c4 };
        assert!(often.told().ends_with(
            "that occur 9 times or more and have 4 words or more, in several rows or in one, stay in one place and go from \
             the others; a row of which nothing is left goes"
        ));
    }
}
