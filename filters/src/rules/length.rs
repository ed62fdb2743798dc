//! The rule `length`.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use setaccio_base::row::{Content, Kind, Message};
use tokenizers::Tokenizer;

use crate::{
    context::Context,
    filter::{Document, DocumentFilter, Filter, Reason, Verdict},
    rule::{Rule, RuleError},
    spaceless::count_words,
};

/// What is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// All texts of the row together.
    #[default]
    Row,
    /// Each message (or text) by itself.
    Message,
    /// Each answer: the assistant's turns, or both sides of a preference.
    Answer,
    /// What comes before the last answer.
    Prompt,
}

/// Drop rows that are shorter or longer than this; a limit that is not given is no limit.
///
/// # Why
/// Very short rows teach little; very long ones are lists and logs, or are cut in training.
///
/// Characters are Unicode scalar values, as Python's `len` counts; words stand between white space, and those of Han,
/// kana, Thai, Lao, Khmer and Myanmar, which have none, are estimated from their letters (1.7 characters of Han or kana a
/// word, 3.2 letters of Thai, Lao or Khmer, 2.2 of Myanmar); lines that are blank do not count; tokens are those of
/// `output.tokenizer`.
///
/// # Example
/// ```toml
/// [[filter]]
/// rule = "length"
/// of = "answer"
/// min_chars = 4
/// ```
/// ```json
/// {"messages": [{"role": "user", "content": "Il cielo è blu?"}, {"role": "assistant", "content": "Sì."}]}
/// ```
/// ```text
/// dropped by length: 3 characters, at least 4
/// ```
///
/// # Source
/// Rule 10 of [clean_mc4_it](https://huggingface.co/datasets/gsarti/clean_mc4_it) keeps pages of 500 to 50,000
/// characters.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Length {
    /// What is measured.
    pub of: Part,
    /// Least characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_chars: Option<usize>,
    /// Most characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_chars: Option<usize>,
    /// Least words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_words: Option<usize>,
    /// Most words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_words: Option<usize>,
    /// Least lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_lines: Option<usize>,
    /// Most lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_lines: Option<usize>,
    /// Least tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_tokens: Option<usize>,
    /// Most tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
}

impl Rule for Length {
    const NAME: &'static str = "length";
    const KINDS: &'static [Kind] = Kind::ALL;

    fn compile(&self, context: &Context) -> Result<Vec<Filter>, RuleError> {
        let limits = [
            ("characters", self.min_chars, self.max_chars),
            ("words", self.min_words, self.max_words),
            ("lines", self.min_lines, self.max_lines),
            ("tokens", self.min_tokens, self.max_tokens),
        ];
        if limits.iter().all(|(_, min, max)| min.is_none() && max.is_none()) {
            return Err(RuleError::setting("no limit is given; give `min_chars`, `max_words` or another"));
        }
        if let Some((unit, ..)) = limits.iter().find(|(_, min, max)| min.zip(*max).is_some_and(|(a, b)| a > b)) {
            return Err(RuleError::setting(format!("the least {unit} are more than the most, which drops every row")));
        }
        let tokenizer = context.tokenizer.clone();
        if limits[3].1.or(limits[3].2).is_some() && tokenizer.is_none() {
            return Err(RuleError::setting("tokens cannot be counted without a tokenizer: give `output.tokenizer`"));
        }
        Ok(vec![Filter::document(Self::NAME, LengthFilter { of: self.of, limits, tokenizer })])
    }
}

type Limits = [(&'static str, Option<usize>, Option<usize>); 4];

struct LengthFilter {
    of: Part,
    limits: Limits,
    tokenizer: Option<Arc<Tokenizer>>,
}

impl LengthFilter {
    /// Why texts measured together are too short or too long.
    fn objection(&self, texts: &[&str]) -> Option<String> {
        for (unit, min, max) in &self.limits {
            if min.is_none() && max.is_none() {
                continue;
            }
            let n: usize = texts.iter().map(|t| self.measure(unit, t)).sum();
            if let Some(min) = min.filter(|min| n < *min) {
                return Some(format!("{n} {unit}, at least {min}"));
            }
            if let Some(max) = max.filter(|max| n > *max) {
                return Some(format!("{n} {unit}, at most {max}"));
            }
        }
        None
    }

    /// Why the first of these texts of `content` is too short or too long.
    fn first<'a>(&self, content: &Content, mut texts: impl Iterator<Item = (usize, &'a str)>) -> Option<Reason> {
        texts.find_map(|(number, text)| Some(Reason::of_text(content, number, self.objection(&[text])?)))
    }

    fn measure(&self, unit: &str, text: &str) -> usize {
        match unit {
            "characters" => text.chars().count(),
            "words" => count_words(text),
            "lines" => text.lines().filter(|l| !l.trim().is_empty()).count(),
            _ => self.tokenizer.as_ref().and_then(|t| t.encode_fast(text, false).ok()).map_or(0, |e| e.len()),
        }
    }
}

impl DocumentFilter for LengthFilter {
    fn filter(&self, document: &mut Document<'_>) -> Verdict {
        let objection = match (self.of, document.content()) {
            (Part::Row, content) => self.objection(&content.texts().collect::<Vec<_>>()).map(Reason::from),
            (Part::Message, content) => self.first(content, content.texts().enumerate()),
            (Part::Answer, content) => self.first(content, answers(content)),
            (Part::Prompt, content) => self.objection(&prompt(content)).map(Reason::from),
        };
        objection.map_or(Verdict::Keep, Verdict::Drop)
    }
}

/// Every answer of a row with its number among the texts, but for turns that do nothing but call tools: all texts of a text
/// row are its own.
pub(super) fn answers(content: &Content) -> impl Iterator<Item = (usize, &str)> {
    let text = matches!(content, Content::Text(_));
    let asked = if let Content::Preference { prompt, .. } = content { prompt.len() } else { 0 };
    let said = content
        .messages()
        .enumerate()
        .skip(asked)
        .filter(|(_, m)| m.role == "assistant" && !(m.content.is_empty() && m.calls_tools()))
        .map(|(number, m)| (number, m.content.as_str()));
    content.texts().enumerate().filter(move |_| text).chain(said)
}

/// The texts before the last answer.
fn prompt(content: &Content) -> Vec<&str> {
    let turns: &[Message] = match content {
        Content::Text(_) => &[],
        Content::Chat { messages, .. } => {
            &messages[..messages.iter().rposition(|m| m.role == "assistant").unwrap_or(messages.len())]
        }
        Content::Preference { prompt, .. } => prompt,
    };
    turns.iter().map(|m| m.content.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use setaccio_base::row::Row;

    use super::*;

    fn judge(spec: &Length, row: &Row) -> Verdict {
        spec.compile(&Context::default()).unwrap_or_else(|e| panic!("{e}"))[0].on_row(&mut row.clone())
    }

    #[test]
    fn every_unit_and_what_is_measured() {
        let none = Length::default();
        let chat = Row::chat(&[("user", "Perché il cielo è blu?"), ("assistant", "Sì.")]);
        let cases = [
            (Length { min_chars: Some(5), ..none.clone() }, Row::text("però"), Some("4 characters, at least 5")),
            (Length { min_chars: Some(4), ..none.clone() }, Row::text("però"), None),
            (Length { max_words: Some(2), ..none.clone() }, Row::text("uno due  tre"), Some("3 words, at most 2")),
            (Length { min_lines: Some(2), ..none.clone() }, Row::text("uno\n\n  \n"), Some("1 lines, at least 2")),
            (Length { min_words: Some(6), ..none.clone() }, chat.clone(), None),
            (
                Length { min_words: Some(2), of: Part::Message, ..none.clone() },
                chat.clone(),
                Some("1 words, at least 2"),
            ),
            (
                Length { min_chars: Some(4), of: Part::Answer, ..none.clone() },
                chat.clone(),
                Some("3 characters, at least 4"),
            ),
            (
                Length { min_words: Some(9), ..none.clone() },
                Row::text("今日はiPhoneを買いました。"),
                Some("7 words, at least 9"),
            ),
            (Length { max_words: Some(4), of: Part::Prompt, ..none.clone() }, chat, Some("5 words, at most 4")),
        ];
        for (spec, row, dropped) in cases {
            // The answer is the one that is too short.
            let message = matches!(spec.of, Part::Message | Part::Answer).then_some(1);
            let expected = dropped.map_or(Verdict::Keep, |d| Verdict::Drop(Reason { detail: d.into(), message }));
            assert_eq!(judge(&spec, &row), expected, "{spec:?}");
        }
    }

    #[test]
    fn limits_that_make_no_sense_are_refused() {
        let error = |spec: Length| spec.compile(&Context::default()).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error(Length::default()).contains("no limit is given"));
        assert!(
            error(Length { min_chars: Some(9), max_chars: Some(3), ..Length::default() }).contains("drops every row")
        );
        assert!(error(Length { max_tokens: Some(9), ..Length::default() }).contains("output.tokenizer"));
    }
}
