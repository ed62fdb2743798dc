//! What a rule is: a TOML table that compiles into filters.

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use setaccio_base::row::Kind;

pub use crate::error::RuleError;
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
