//! The rule `regex`.

use std::borrow::Cow;

use ::regex::{Regex as Pattern, RegexBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use setaccio_base::{
    nfc::{Normal, nfc},
    row::Kind,
    value,
};

use super::{column::Absent, length::answers};
use crate::{
    context::Context,
    filter::{Document, DocumentFilter, Filter, Reason, Verdict},
    rule::{Rule, RuleError},
};

/// Which turns of a conversation are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Turns {
    /// All of them; a text has no other.
    #[default]
    All,
    /// The user's turns.
    User,
    /// The answers.
    Answer,
}

/// The Unicode form that texts and patterns are compared in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// NFC: a letter with an accent is one character, however it is typed.
    #[default]
    Nfc,
    /// As they are typed, for patterns about combining marks.
    Typed,
}

/// Drop rows where one of `drop` matches, or where none of `keep` does.
///
/// # Why
/// What is peculiar to one source rarely has a rule of its own: a signature, an address, an answer that begins with
/// "As an AI".
///
/// Texts and patterns are brought into Unicode's form NFC first; the match is reported as it stands in the text.
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
    pub on: Turns,
    /// A column to look at instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// What becomes of a row that has no such column at all.
    pub absent: Absent,
    /// Take upper and lower case for the same.
    pub ignore_case: bool,
    /// The Unicode form that texts and patterns are compared in.
    pub form: Form,
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
                let p = self.form.of_pattern(p);
                let pattern = RegexBuilder::new(&p).case_insensitive(self.ignore_case).build();
                pattern.map_err(|e| RuleError::setting(format!("the pattern {p:?} is no regular expression: {e}")))
            });
            built.collect::<Result<Vec<_>, _>>()
        };
        let (drop, keep) = (compile(&self.drop)?, compile(&self.keep)?);
        Ok(vec![Filter::document(Self::NAME, RegexFilter { spec: self.clone(), drop, keep })])
    }
}

/// A text as it is typed and as it is compared.
enum Text<'a> {
    Nfc(&'a str, Normal<'a>),
    Typed(&'a str),
}

impl Form {
    fn of_pattern(self, pattern: &str) -> Cow<'_, str> {
        match self {
            Self::Nfc => nfc(pattern),
            Self::Typed => Cow::Borrowed(pattern),
        }
    }

    fn of_text(self, text: &str) -> Text<'_> {
        match self {
            Self::Nfc => Text::Nfc(text, Normal::new(text)),
            Self::Typed => Text::Typed(text),
        }
    }
}

impl<'a> Text<'a> {
    fn compared(&self) -> &str {
        match self {
            Self::Nfc(_, normal) => normal.text(),
            Self::Typed(text) => text,
        }
    }

    /// What the pattern matches, as it is typed.
    fn find(&self, pattern: &Pattern) -> Option<&'a str> {
        let found = pattern.find(self.compared())?.range();
        match self {
            Self::Nfc(text, normal) => text.get(normal.typed(found)),
            Self::Typed(text) => text.get(found),
        }
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
            None | Some(Value::Null) => Cow::Borrowed(""),
            Some(held) => value::printed(held),
        });
        let texts: Vec<(usize, &str)> = match (&column, self.spec.on) {
            (Some(value), _) => vec![(0, value)],
            (None, Turns::All) => document.content().texts().enumerate().collect(),
            (None, Turns::User) => {
                let messages = document.content().messages().enumerate().filter(|(_, m)| m.role == "user");
                messages.map(|(number, m)| (number, m.content.as_str())).collect()
            }
            (None, Turns::Answer) => answers(document.content()).collect(),
        };
        let texts: Vec<(usize, Text)> = texts.into_iter().map(|(i, t)| (i, self.spec.form.of_text(t))).collect();
        let found = self.drop.iter().find_map(|p| texts.iter().find_map(|(number, t)| Some((*number, t.find(p)?))));
        if let Some((number, found)) = found {
            let found: String = found.chars().take(80).collect();
            return Verdict::Drop(match &column {
                Some(_) => found.into(),
                None => Reason::of_text(document.content(), number, found),
            });
        }
        if !self.keep.is_empty() && !self.keep.iter().any(|p| texts.iter().any(|(_, t)| p.is_match(t.compared()))) {
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
            Verdict::Drop(Reason { detail: "mario@esempio.it".into(), message: Some(0) })
        );
        assert_eq!(judge(&Regex { drop: mail.clone(), on: Turns::Answer, ..Regex::default() }, &row), Verdict::Keep);
        assert_eq!(judge(&Regex { keep: mail, on: Turns::User, ..Regex::default() }, &row), Verdict::Keep);
        let keep = Regex { keep: vec!["^FATTO".into()], on: Turns::Answer, ..Regex::default() };
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
