//! What keys of several tables of a recipe have in common.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FileFormat {
    /// JSON: an array, lines, objects one after another, or one object with the rows in it.
    Json,
    /// Fields between commas, or what `separator` says.
    Csv,
    /// Fields between tabs.
    Tsv,
    /// Plain text.
    Text,
}

impl FileFormat {
    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Csv => "CSV",
            Self::Tsv => "TSV",
            Self::Text => "text",
        }
    }
}

/// What a document of a text file is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Documents {
    /// The whole file.
    #[default]
    File,
    /// Each line that is not blank.
    Line,
}

impl Documents {
    /// Whether nobody chose otherwise.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// One text, or a list of them.
pub fn one_or_more<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a text or a list of texts")]
    enum Texts {
        One(String),
        More(Vec<String>),
    }
    Texts::deserialize(from).map(|texts| match texts {
        Texts::One(text) => vec![text],
        Texts::More(texts) => texts,
    })
}

/// Whether nobody chose otherwise.
pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
