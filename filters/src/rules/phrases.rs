//! Drop lines, or whole documents, for a phrase anywhere in a line. Rules 6 to 9 of clean_mc4_it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    context::Context,
    lists::{self, ListRef},
    row::Kind,
    rule::{LineRule, LineVerdict, RuleError, Spec, Step},
    words::Finder,
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
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Phrases {
    /// The phrases.
    pub phrases: Vec<String>,
    /// Lists of further phrases, each by name and SHA-256.
    pub lists: Vec<ListRef>,
    /// What a phrase takes with it.
    pub drops: Drops,
}

impl Phrases {
    /// The rule under the name it has as a step.
    pub(super) fn step(&self, name: &'static str, context: &Context) -> Result<Step, RuleError> {
        let mut phrases = self.phrases.clone();
        for list in &self.lists {
            phrases.extend(lists::load(list, context)?);
        }
        Ok(Step::line(name, Judge { finder: Finder::new(phrases, false)?, drops: self.drops }))
    }
}

impl Spec for Phrases {
    const NAME: &'static str = "phrases";
    const KINDS: &'static [Kind] = &[Kind::Text];

    fn compile(&self, context: &Context) -> Result<Vec<Step>, RuleError> {
        Ok(vec![self.step(Self::NAME, context)?])
    }
}

struct Judge {
    finder: Finder,
    drops: Drops,
}

impl LineRule for Judge {
    fn line(&self, line: &str) -> LineVerdict {
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
            let step = rule.step("policy", &Context::default()).unwrap_or_else(|e| panic!("{e}"));
            let crate::rule::Judge::Line(rule) = &step.judge else { panic!("a line rule") };
            assert_eq!(rule.line(line), expected, "{line}");
        }
    }
}
