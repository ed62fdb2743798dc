//! What a text is cut into.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::numbers::counted;

/// The parts of a text that are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Lines that are not blank.
    #[default]
    Lines,
    /// Paragraphs: lines with no blank line between them.
    Paragraphs,
    /// Sentences; a line's end ends one.
    Sentences,
}

impl Unit {
    /// So many of them, for a person.
    #[must_use]
    pub fn counted(self, n: u64) -> String {
        counted(n, self.name().trim_end_matches('s'))
    }

    /// As the recipe writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lines => "lines",
            Self::Paragraphs => "paragraphs",
            Self::Sentences => "sentences",
        }
    }
}
