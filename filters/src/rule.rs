//! What a rule is: a TOML table that compiles into steps; a step edits lines or decides on a document.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    context::Context,
    row::{Kind, Row},
};

/// What a document rule says of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Leave it as it is.
    Keep,
    /// Kept; this many of its texts were changed in place.
    Edited(u64),
    /// Dropped, with the matched word or the measured value.
    Drop(String),
}

/// What a line rule says of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineVerdict {
    /// Leave it as it is.
    Keep,
    /// Go on with this text instead.
    Edit(String),
    /// Remove the line, keep the document.
    DropLine,
    /// Remove the whole document, with the matched word or the measured value.
    DropDocument(String),
}

/// Decides on a whole row; it may edit texts in place.
pub trait DocumentRule: Send + Sync {
    /// Whether it may change texts; only then does the screen keep a copy for the rejects.
    fn edits(&self) -> bool {
        false
    }

    /// Judge one row.
    fn judge(&self, row: &mut Row) -> Verdict;
}

/// Sees the lines of a text one by one, stripped, never empty. Text recipes only.
pub trait LineRule: Send + Sync {
    /// Judge one line as the rules before this one left it.
    fn line(&self, line: &str) -> LineVerdict;
}

/// A compiled rule.
pub enum Judge {
    /// Works on rows.
    Document(Box<dyn DocumentRule>),
    /// Works on lines; neighbours of this sort run in one pass over the text.
    Line(Box<dyn LineRule>),
}

/// A compiled rule under the name that rejects and ledgers give it.
pub struct Step {
    /// Unique within a screen; the registry adds `#2`, `#3` to repeats.
    pub name: Cow<'static, str>,
    /// The rule itself.
    pub judge: Judge,
}

impl Step {
    /// A document rule under `name`.
    pub fn document(name: impl Into<Cow<'static, str>>, rule: impl DocumentRule + 'static) -> Self {
        Self { name: name.into(), judge: Judge::Document(Box::new(rule)) }
    }

    /// A line rule under `name`.
    pub fn line(name: impl Into<Cow<'static, str>>, rule: impl LineRule + 'static) -> Self {
        Self { name: name.into(), judge: Judge::Line(Box::new(rule)) }
    }
}

/// A rule's settings: the struct IS the TOML table of a `[[screen]]` entry.
pub trait Spec: Default + Serialize + DeserializeOwned + JsonSchema + 'static {
    /// The value of `rule` in a recipe.
    const NAME: &'static str;
    /// Kinds of row it can work on.
    const KINDS: &'static [Kind];

    /// Check the settings and build the steps, most often one.
    ///
    /// # Errors
    /// A setting out of range, a regular expression that does not parse, a word list that is missing
    /// or is not the one the recipe names, a tokenizer that is needed and absent.
    fn compile(&self, context: &Context) -> Result<Vec<Step>, RuleError>;
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
