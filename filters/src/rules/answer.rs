//! The rule `answer`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use setaccio_base::{
    nfc::nfc,
    row::{Content, Kind, Message},
};

use super::length::answers;
use crate::{
    context::Context,
    filter::{Document, DocumentFilter, Filter, Reason, Verdict},
    rule::{Rule, RuleError},
};

/// Drop rows whose answer is empty, a placeholder, or an echo of what was asked.
///
/// # Why
/// Sets that a model wrote hold answers such as `N/A` or `<nooutput>`, and a model that is trained on them learns to
/// give them.
///
/// # Example
/// ```toml
/// [[filter]]
/// rule = "answer"
/// ```
/// ```json
/// {"messages": [{"role": "user", "content": "Chi scrisse la Commedia?"}, {"role": "assistant", "content": "N/A."}]}
/// ```
/// ```text
/// dropped by answer: the answer is "N/A."
/// ```
///
/// # Source
/// [AlpacaDataCleaned](https://github.com/gururise/AlpacaDataCleaned) lists empty and `N/A` answers among the faults of
/// Stanford's Alpaca. The echo is a check of our own.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Answer {
    /// Drop rows with an answer that is empty or white space.
    pub empty: bool,
    /// Drop rows with an answer that repeats a turn before it.
    pub echo: bool,
    /// Whole answers that say nothing, without regard to case, punctuation, white space and how accents are typed.
    pub placeholders: Vec<String>,
}

impl Default for Answer {
    fn default() -> Self {
        let placeholders =
            ["n/a", "none", "null", "nan", "<nooutput>", "<noinput>", "output", "todo", "...", "nessun output"];
        Self { empty: true, echo: true, placeholders: placeholders.map(str::to_owned).to_vec() }
    }
}

impl Rule for Answer {
    const NAME: &'static str = "answer";
    const KINDS: &'static [Kind] = &[Kind::Chat, Kind::Preference];

    fn compile(&self, _: &Context) -> Result<Vec<Filter>, RuleError> {
        let rule = Self { placeholders: self.placeholders.iter().map(|p| normal(p)).collect(), ..self.clone() };
        Ok(vec![Filter::document(Self::NAME, rule)])
    }
}

/// NFC and lower case, without punctuation around words.
fn normal(text: &str) -> String {
    let text = nfc(text);
    let words = text.split_whitespace().map(|w| w.trim_matches(|c: char| c.is_ascii_punctuation()).to_lowercase());
    let words: Vec<String> = words.filter(|w| !w.is_empty()).collect();
    if words.is_empty() { text.trim().to_owned() } else { words.join(" ") }
}

impl DocumentFilter for Answer {
    fn filter(&self, document: &mut Document<'_>) -> Verdict {
        let fault = |number, detail| Verdict::Drop(Reason { detail, message: Some(number) });
        for (number, answer) in answers(document.content()) {
            if self.empty && answer.trim().is_empty() {
                return fault(number, "the answer is empty".into());
            }
            // Long answers are neither; normalising them would be work for nothing.
            if answer.len() <= 64 && self.placeholders.contains(&normal(answer)) {
                return fault(number, format!("the answer is {:?}", answer.trim()));
            }
        }
        if self.echo
            && let Some(number) = echo(document.content())
        {
            return fault(number, "the answer repeats the question".into());
        }
        Verdict::Keep
    }
}

/// The first answer that repeats the turn before it, by its number in reading order.
fn echo(content: &Content) -> Option<usize> {
    let same = |question: Option<&str>, answer: &str| {
        // Equal texts have about equal lengths: most pairs need no normalising.
        question.is_some_and(|q| q.len().abs_diff(answer.len()) <= 64 && normal(q) == normal(answer))
    };
    match content {
        Content::Text(_) => None,
        Content::Chat { messages, .. } => {
            let echoes = |pair: &[Message]| {
                pair[1].role == "assistant" && pair[0].role == "user" && same(Some(&pair[0].content), &pair[1].content)
            };
            Some(messages.windows(2).position(echoes)? + 1)
        }
        Content::Preference { prompt, chosen, .. } => {
            let question = prompt.iter().rfind(|m| m.role == "user").map(|m| m.content.as_str());
            Some(chosen.iter().position(|m| same(question, &m.content))? + prompt.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use setaccio_base::row::Row;

    use super::*;

    #[test]
    fn answers_that_say_nothing_are_dropped() {
        for (question, answer, dropped) in [
            ("Chi scrisse la Commedia?", "Dante Alighieri.", None),
            ("Chi scrisse la Commedia?", " \n", Some("the answer is empty")),
            ("Chi scrisse la Commedia?", "N/A.", Some("the answer is \"N/A.\"")),
            ("Chi scrisse la Commedia?", "...", Some("the answer is \"...\"")),
            (
                "Chi scrisse la Commedia?",
                "Non si puo\u{300} sapere.",
                Some("the answer is \"Non si puo\\u{300} sapere.\""),
            ),
            ("È Dante?", "e\u{300} dante", Some("the answer repeats the question")),
            ("Chi scrisse la Commedia?", "None of the others did.", None),
            ("Chi scrisse la Commedia?", "chi scrisse  la commedia", Some("the answer repeats the question")),
        ] {
            let mut row = Row::chat(&[("user", question), ("assistant", answer)]);
            let expected =
                dropped.map_or(Verdict::Keep, |d| Verdict::Drop(Reason { detail: d.into(), message: Some(1) }));
            let mut rule = Answer::default();
            rule.placeholders.push("non si può sapere".into());
            let filters = rule.compile(&Context::default()).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(filters[0].on_row(&mut row), expected, "{answer}");
        }
        let mut second = Row::chat(&[("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "")]);
        assert_eq!(
            Answer::default().apply(&mut second),
            Verdict::Drop(Reason { detail: "the answer is empty".into(), message: Some(3) })
        );
    }
}
