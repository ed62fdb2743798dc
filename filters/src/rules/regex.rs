//! The rule `regex`.

use ::regex::{Regex as Pattern, RegexBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use setaccio_base::row::Kind;

use super::{column::Absent, length::answers};
use crate::{
    context::Context,
    filter::{Document, DocumentFilter, Filter, Verdict},
    rule::{Rule, RuleError},
};

/// Which texts are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum On {
    /// All of them.
    #[default]
    All,
    /// The user's turns.
    User,
    /// The answers.
    Answer,
}

/// Drop rows where one of `drop` matches, or where none of `keep` does.
///
/// # Why
/// What is peculiar to one source rarely has a rule of its own: a signature, an address, an answer that begins with
/// "As an AI".
///
/// # Example
/// ```toml
/// [[filter]]
/// rule = "regex"
/// drop = ['(?i)^come modello linguistico']
/// on = "answer"
/// ```
/// ```json
/// {"messages": [{"role": "user", "content": "Che ore sono?"},
///   {"role": "assistant", "content": "Come modello linguistico, non lo so."}]}
/// ```
/// ```text
/// dropped by regex: Come modello linguistico
/// ```
///
/// # Source
/// datatrove's
/// [RegexFilter](https://github.com/huggingface/datatrove/blob/main/src/datatrove/pipeline/filters/regex_filter.py);
/// the syntax is that of the crate [regex](https://docs.rs/regex/latest/regex/#syntax).
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Regex {
    /// Patterns that drop a row.
    pub drop: Vec<String>,
    /// Patterns of which a row must match one; none: any row will do.
    pub keep: Vec<String>,
    /// Which texts are looked at.
    pub on: On,
    /// A column to look at instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// What becomes of a row that has no such column at all.
    pub absent: Absent,
    /// Take upper and lower case for the same.
    pub ignore_case: bool,
}

impl Rule for Regex {
    const NAME: &'static str = "regex";
    const KINDS: &'static [Kind] = Kind::ALL;

    fn compile(&self, _: &Context) -> Result<Vec<Filter>, RuleError> {
        if self.drop.is_empty() && self.keep.is_empty() {
            return Err(RuleError::setting("give `drop` or `keep` at least one pattern"));
        }
        let compile = |patterns: &[String]| {
            let built = patterns.iter().map(|p| {
                let pattern = RegexBuilder::new(p).case_insensitive(self.ignore_case).build();
                pattern.map_err(|e| RuleError::setting(format!("the pattern {p:?} is no regular expression: {e}")))
            });
            built.collect::<Result<Vec<_>, _>>()
        };
        let (drop, keep) = (compile(&self.drop)?, compile(&self.keep)?);
        Ok(vec![Filter::document(Self::NAME, RegexFilter { spec: self.clone(), drop, keep })])
    }
}

struct RegexFilter {
    spec: Regex,
    drop: Vec<Pattern>,
    keep: Vec<Pattern>,
}

impl DocumentFilter for RegexFilter {
    fn columns(&self) -> &[String] {
        self.spec.column.as_slice()
    }

    fn filter(&self, document: &mut Document<'_>) -> Verdict {
        if let Some(name) = self.spec.column.as_ref().filter(|name| document.column(name).is_none())
            && self.spec.absent == Absent::Drop
        {
            return self.spec.absent.verdict(name);
        }
        let column = self.spec.column.as_ref().map(|name| match document.column(name) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        });
        let texts: Vec<&str> = match (&column, self.spec.on) {
            (Some(value), _) => vec![value],
            (None, On::All) => document.content.texts().collect(),
            (None, On::User) => {
                document.content.messages().filter(|m| m.role == "user").map(|m| m.content.as_str()).collect()
            }
            (None, On::Answer) => answers(document.content).collect(),
        };
        if let Some(found) = self.drop.iter().find_map(|p| texts.iter().find_map(|t| p.find(t))) {
            return Verdict::Drop(found.as_str().chars().take(80).collect());
        }
        if !self.keep.is_empty() && !self.keep.iter().any(|p| texts.iter().any(|t| p.is_match(t))) {
            return Verdict::Drop("no pattern of `keep` matches".into());
        }
        Verdict::Keep
    }
}

#[cfg(test)]
mod tests {
    use setaccio_base::row::Row;

    use super::*;

    fn judge(spec: &Regex, row: &Row) -> Verdict {
        spec.compile(&Context::default()).unwrap_or_else(|e| panic!("{e}"))[0].on_row(&mut row.clone())
    }

    #[test]
    fn patterns_drop_keep_and_look_where_they_are_told() {
        let row = Row::chat(&[("user", "Scrivi a mario@esempio.it"), ("assistant", "Fatto.")]);
        let mail = vec![r"\w+@\w+\.it".to_owned()];
        assert_eq!(
            judge(&Regex { drop: mail.clone(), ..Regex::default() }, &row),
            Verdict::Drop("mario@esempio.it".into())
        );
        assert_eq!(judge(&Regex { drop: mail.clone(), on: On::Answer, ..Regex::default() }, &row), Verdict::Keep);
        assert_eq!(judge(&Regex { keep: mail, on: On::User, ..Regex::default() }, &row), Verdict::Keep);
        let keep = Regex { keep: vec!["^FATTO".into()], on: On::Answer, ..Regex::default() };
        assert_eq!(judge(&keep, &row), Verdict::Drop("no pattern of `keep` matches".into()));
        assert_eq!(judge(&Regex { ignore_case: true, ..keep }, &row), Verdict::Keep);
        let mut page = Row::text("testo");
        page.columns.insert("url".into(), "https://esempio.it/tag/x".into());
        let url = Regex { drop: vec!["/tag/".into()], column: Some("url".into()), ..Regex::default() };
        assert_eq!(judge(&url, &page), Verdict::Drop("/tag/".into()));
        assert_eq!(judge(&url, &row), Verdict::Drop("there is no column `url`".into()));
        assert_eq!(judge(&Regex { absent: Absent::Keep, ..url }, &row), Verdict::Keep);
    }

    #[test]
    fn a_pattern_that_is_none_is_shown() {
        let spec = Regex { drop: vec!["(".into()], ..Regex::default() };
        assert!(
            spec.compile(&Context::default()).is_err_and(|e| e.to_string().contains("\"(\" is no regular expression"))
        );
    }
}
