//! What became of a row, and why one is not learned from.

use setaccio_base::{numbers::counted, row::Message};

use super::said::{self, Said};
use crate::recipe::{Data, EmptyAnswers, Unsaid};

/// What became of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowOutcome<T> {
    /// It is trained on.
    Tokens {
        /// Its tokens.
        tokens: T,
        /// Whether some were cut off.
        truncated: bool,
        /// What of it its template does not write.
        said: Said,
    },
    /// Too long, and `overlong = "drop"`.
    Overlong,
    /// Nothing that is learned was left after cutting.
    Unanswered,
    /// The template does not write its answers as the row has them, or not where they can be found: what it does.
    Unsaid(String),
    /// An answer is empty: which.
    Empty(String),
    /// Its two answers become the same tokens.
    Equal,
}

/// Why a row is not learned from.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Whatever the settings are.
    Always(String),
    /// As `data.unsaid` says.
    Unsaid(String),
    /// As `data.empty_answers` says.
    Empty(String),
}

impl From<String> for Refusal {
    fn from(message: String) -> Self {
        Self::Always(message)
    }
}

impl Refusal {
    /// An error, or a row that is left out, as the settings have it.
    pub(super) fn by<T>(self, data: &Data) -> std::result::Result<RowOutcome<T>, String> {
        match self {
            Self::Always(message) => Err(message),
            Self::Unsaid(message) if data.unsaid == Unsaid::Refuse => {
                Err(format!("{message}; `data.unsaid = \"drop\"` leaves such rows out"))
            }
            Self::Unsaid(message) => Ok(RowOutcome::Unsaid(message)),
            Self::Empty(message) if data.empty_answers == EmptyAnswers::Refuse => {
                let drops = "the rule `answer` of `setaccio build` drops such rows";
                Err(format!("{message}; {drops}, and `data.empty_answers = \"drop\"` leaves them out"))
            }
            Self::Empty(message) => Ok(RowOutcome::Empty(message)),
        }
    }
}

/// Refuse an answer that says nothing: a model that learns it learns to stop at once.
pub(super) fn empty(messages: &[Message], learned: &[usize]) -> std::result::Result<(), Refusal> {
    let Some(i) = learned.iter().find(|i| said::nothing(&messages[**i])) else { return Ok(()) };
    let message = "is an empty answer, and a model that learns it learns to stop at once";
    Err(Refusal::Empty(format!("turn {i} {message}")))
}

/// What a template does that loses so many characters.
pub(super) fn leaves_out(characters: u64) -> String {
    let characters = counted(characters, "character");
    format!("the template leaves out {characters} of what its answers say, or writes them otherwise")
}
