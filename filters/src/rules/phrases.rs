//! The rule `phrases`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use setaccio_base::row::Kind;

use crate::{
    context::Context,
    filter::{Filter, LineFilter, LineVerdict},
    fold::{Folding, Invisible, WhiteSpace},
    lists::{self, ListRef},
    rule::{Rule, RuleError},
    words::PhraseFinder,
};

/// What a phrase takes with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Drops {
    /// The line that holds it.
    #[default]
    Line,
    /// The whole document.
    Document,
}

/// Drop lines or documents that hold a phrase, anywhere in a line, without regard to case.
///
/// # Why
/// Notices such as "this site uses cookies" stand in millions of pages and say nothing of any; a page with
/// `lorem ipsum` or `{` is a template or code.
///
/// Lines and phrases are compared as those of the rule `bad_words`; a phrase need not be of whole words.
///
/// # Example
/// ```toml
/// [[filter]]
/// rule = "phrases"
/// phrases = ["usa i cookie"]
/// ```
/// ```json
/// {"text": "Il gatto dorme.\nQuesto sito usa  i Cookie."}
/// ```
/// ```json
/// {"text": "Il gatto dorme."}
/// ```
///
/// # Source
/// [C4](https://jmlr.org/papers/volume21/20-074/20-074.pdf), section 2.2; rules 6 to 9 of
/// [clean_mc4_it](https://huggingface.co/datasets/gsarti/clean_mc4_it).
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Phrases {
    /// The phrases.
    pub phrases: Vec<String>,
    /// Lists of further phrases, each by name and SHA-256.
    pub lists: Vec<ListRef>,
    /// What a phrase takes with it.
    pub drops: Drops,
    /// What white space is within phrases.
    pub white_space: WhiteSpace,
    /// What soft hyphens and characters of no width are within phrases.
    pub invisible: Invisible,
}

impl Rule for Phrases {
    const NAME: &'static str = "phrases";
    const KINDS: &'static [Kind] = &[Kind::Text];

    fn compile(&self, context: &Context) -> Result<Vec<Filter>, RuleError> {
        let mut phrases = self.phrases.clone();
        for list in &self.lists {
            phrases.extend(lists::load(list, context)?);
        }
        let folding = Folding { white_space: self.white_space, invisible: self.invisible };
        let finder = PhraseFinder::new(phrases, folding)?;
        Ok(vec![Filter::line(Self::NAME, PhrasesFilter { finder, drops: self.drops })])
    }
}

struct PhrasesFilter {
    finder: PhraseFinder,
    drops: Drops,
}

impl LineFilter for PhrasesFilter {
    fn phrases(&self) -> Option<&PhraseFinder> {
        Some(&self.finder)
    }

    fn filter(&self, line: &str) -> LineVerdict {
        match (self.finder.first(line), self.drops) {
            (None, _) => LineVerdict::Keep,
            (Some(_), Drops::Line) => LineVerdict::DropLine,
            (Some(phrase), Drops::Document) => LineVerdict::DropDocument(phrase.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_takes_the_line_or_the_document() {
        for (drops, line, expected) in [
            (Drops::Line, "Questo sito Usa  i Cookie tecnici.", LineVerdict::DropLine),
            (Drops::Line, "Il cuoco usa i biscotti.", LineVerdict::Keep),
            (Drops::Document, "Usa i cookie.", LineVerdict::DropDocument("usa i cookie".into())),
        ] {
            let rule = Phrases { phrases: vec!["usa i cookie".into()], drops, ..Phrases::default() };
            let filters = rule.compile(&Context::default()).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(filters[0].on_line(line), expected, "{line}");
        }
    }
}
