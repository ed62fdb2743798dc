//! What a rule is: a TOML table that compiles into filters.

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use setaccio_base::row::Kind;

use crate::{context::Context, filter::Filter};

/// A rule's settings: the struct IS the TOML table of a `[[filter]]` entry.
pub trait Rule: Default + Serialize + DeserializeOwned + JsonSchema + 'static {
    /// The value of `rule` in a recipe.
    const NAME: &'static str;
    /// Kinds of row it can work on.
    const KINDS: &'static [Kind];

    /// Check the settings and build the filters, most often one.
    ///
    /// # Errors
    /// A setting out of range, a regular expression that does not parse, a word list that is missing
    /// or is not the one the recipe names, a tokenizer that is needed and absent.
    fn compile(&self, context: &Context) -> Result<Vec<Filter>, RuleError>;
}

/// Why a rule cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// A setting that makes no sense; the text says which and what would.
    #[error("{0}")]
    Setting(String),
    /// A word list that is missing, unreadable or not the one named.
    #[error("{0}")]
    List(String),
    /// The `rule` key names nothing known.
    #[error("{0}")]
    Unknown(String),
}

impl RuleError {
    /// A bad setting, in a sentence.
    pub fn setting(message: impl Into<String>) -> Self {
        Self::Setting(message.into())
    }
}
