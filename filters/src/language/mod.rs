//! Which language a text is of, as the rule `language` asks it: is it one of those to keep, is it surely another, or
//! can it not be told? The last two are not the same: a text of another script, or one that another language claims, is
//! no text that is too short.

pub mod fasttext;
pub mod function_words;
#[cfg(test)]
pub(crate) mod oracle;
pub mod scripts;
pub mod stretches;
pub mod trigrams;

/// What is said of a text.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It is of a language to keep.
    Keep {
        /// Its code.
        language: String,
        /// How sure that is, from 0 to 1.
        confidence: f64,
    },
    /// It is of another language: which one and how sure that is, as far as it is known.
    Drop(String),
    /// Its letters are too few.
    Short,
    /// A language to keep and another are too near each other.
    Doubt,
}

impl Answer {
    /// It is of this other language.
    #[must_use]
    pub fn other(language: &str, confidence: f64) -> Self {
        Self::Drop(format!("{language} {confidence:.2}"))
    }
}
