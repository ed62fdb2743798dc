//! `[decontamination]`: which evaluation sets rows are held against, and what counts as one of their items.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::keys::{Documents, FileFormat, is_default, one_or_more};

/// What evaluations are made of, and rows therefore must not hold. A row that shares word n-grams with an item of an evaluation
/// set is dropped: words are compared without case, accents and punctuation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Decontamination {
    /// Evaluation sets that the program knows, by name: `arc`, `hellaswag`, `mmlu`, `gsm8k`, `truthfulqa`, `winogrande`, and the same
    /// with `-it` for their Italian translations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<String>,
    /// Evaluation sets of your own, or other files of known ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<EvaluationSet>,
    /// What to do where the files of a set are not there: with `--from DIR`, a set of the Hub that `DIR` does not hold.
    #[serde(skip_serializing_if = "is_default")]
    pub missing: Missing,
    /// Folders of earlier builds, relative to the recipe's folder, of any kind of rows: their rows count as items, so that a
    /// preference set holds nothing that an instruction set is validated on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub against: Vec<String>,
    /// Which rows of the builds that `against` names count as items.
    #[serde(skip_serializing_if = "is_default")]
    pub against_rows: AgainstRows,
    /// Hold the rows that train against those of this build that validate, and drop those that share as much with one.
    #[serde(skip_serializing_if = "is_default")]
    pub validation: bool,
    /// Where `ngram` and `share` come from if they are not given.
    pub preset: Preset,
    /// Words in an n-gram. An item of fewer words is looked for whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ngram: Option<u32>,
    /// A row is dropped if so large a share of the words of one item lies in n-grams that are in the row, above 0 and at most 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// Items of fewer words are not looked for: they would be found everywhere. The card counts them.
    #[serde(skip_serializing_if = "is_usual_length")]
    pub min_words: u32,
    /// Compare the values of numbers too; without it every number is `0`. If nothing is said, they are compared in conversations
    /// and not in texts, as `dedup.near` has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numbers: Option<bool>,
}

/// An item of two words stands in many texts that have nothing to do with it.
const MIN_WORDS: u32 = 3;

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_usual_length(words: &u32) -> bool {
    *words == MIN_WORDS
}

impl Default for Decontamination {
    fn default() -> Self {
        Self {
            sets: Vec::new(),
            set: Vec::new(),
            missing: Missing::Stop,
            against: Vec::new(),
            against_rows: AgainstRows::Validation,
            validation: false,
            preset: Preset::Tulu3,
            ngram: None,
            share: None,
            min_words: MIN_WORDS,
            numbers: None,
        }
    }
}

/// When a row holds an item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Half of the words of the item lie in 8-grams that one row shares, as Tülu 3 has it.
    #[default]
    Tulu3,
    /// Any 13-gram is shared, as GPT-3 has it (appendix C), but for two things: the row goes as a whole, and not 200 characters on each
    /// side; and 13-grams that more than ten documents hold are looked for too, which GPT-3 takes for phrases that belong to nobody. How
    /// many rows hold one is known when all were read, and each is decided on by itself, the same in any slice. A set whose items share a
    /// phrase, such as an instruction, drops whatever holds that phrase: name `fields` without it.
    Gpt3,
}

/// What becomes of a build for which a set is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// It stops.
    #[default]
    Stop,
    /// It goes on without that set; the command warns, and the card says so.
    Skip,
}

/// Which rows of earlier builds count as items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AgainstRows {
    /// Those that validate.
    #[default]
    Validation,
    /// All of them.
    All,
}

/// Words in an n-gram, and the share of an item's words that makes a row go; none: any n-gram does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Measure {
    /// Words in an n-gram.
    pub ngram: u32,
    /// The least share.
    pub share: Option<f64>,
}

impl Decontamination {
    /// What `preset`, `ngram` and `share` come to.
    pub fn measure(&self) -> Measure {
        let (ngram, share) = match self.preset {
            Preset::Tulu3 => (8, Some(0.5)),
            Preset::Gpt3 => (13, None),
        };
        Measure { ngram: self.ngram.unwrap_or(ngram), share: self.share.or(share) }
    }

    /// What it finds, for a person.
    pub fn told(&self) -> String {
        let Measure { ngram, share } = self.measure();
        match share {
            Some(share) => format!(
                "rows in which at least {} of the words of an item lie in shared runs of {ngram} words",
                percent(share)
            ),
            None => format!("rows that share any run of {ngram} words with an item"),
        }
    }
}

fn percent(share: f64) -> String {
    format!("{}%", (share * 10_000.0).round() / 100.0)
}

/// An evaluation set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluationSet {
    /// Its name in rejects, ledger and card, and the folder looked for under `--from DIR`, as `evaluation/NAME`.
    pub name: String,
    /// What an item says: each entry is a text that is looked for by itself, of one field or of several joined by ` + `. A field within
    /// another is named by a dot, and of a list every element is taken: `question`, `question + choices.text`. Texts of fewer words
    /// than an n-gram are passed over if the item has a longer one.
    #[serde(deserialize_with = "one_or_more")]
    pub fields: Vec<String>,
    /// The field that names an item; without one it is named by its file and row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Files of your own: a file, a glob or a folder, or a list of these; absolute, or relative to the recipe's folder.
    #[serde(deserialize_with = "one_or_more", skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<String>,
    /// Hub repository, `owner/name`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub repo: String,
    /// Commit, tag or branch of that repository.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// Globs of its files within the repository.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// The sample file that stands for it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub samples: String,
    /// What its files are, where neither their first bytes nor the endings of their names tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<FileFormat>,
    /// Of JSON files that are one object: the field that holds the rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Of CSV files: the character between two fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub separator: Option<char>,
    /// Of CSV files without a header line: the names of their columns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// The encoding of its files, by its name on the web.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// Of text files: what an item is, whose field is `text`.
    #[serde(skip_serializing_if = "Documents::is_default")]
    pub documents: Documents,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preset_is_what_is_not_given() {
        for (text, ngram, share) in [
            ("", 8, Some(0.5)),
            ("preset = 'gpt3'", 13, None),
            ("preset = 'gpt3'\nngram = 10", 10, None),
            ("ngram = 13\nshare = 0.7", 13, Some(0.7)),
            ("preset = 'gpt3'\nshare = 0.5", 13, Some(0.5)),
        ] {
            let read: Decontamination = toml::from_str(text).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(read.measure(), Measure { ngram, share }, "{text}");
            assert_eq!(read.min_words, 3);
        }
    }
}
