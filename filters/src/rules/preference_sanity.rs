//! The rule `preference_sanity`.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use setaccio_base::{
    nfc::nfc,
    row::{Content, Kind, Message},
    value,
};

use super::roles::{out_of_order, unanswered};
use crate::{
    context::Context,
    filter::{Document, DocumentFilter, Filter, Reason, Verdict},
    rule::{Rule, RuleError},
};

/// Drop pairs with equal or empty sides, no prompt, turns out of order, or scores the wrong way round.
///
/// # Why
/// Such pairs teach nothing, or the opposite of what is meant. With `ties`, pairs that the judge could not tell apart go
/// too.
///
/// # Example
/// ```toml
/// [[filter]]
/// rule = "preference_sanity"
/// ties = true
/// ```
/// ```json
/// {"prompt": [{"role": "user", "content": "Chi?"}], "chosen": [{"role": "assistant", "content": "Io."}],
///  "rejected": [{"role": "assistant", "content": "Boh."}], "score_chosen": 7.0, "score_rejected": 7.0}
/// ```
/// ```text
/// dropped by preference_sanity: chosen scores 7, rejected 7
/// ```
///
/// # Source
/// [distilabel-intel-orca-dpo-pairs](https://huggingface.co/datasets/argilla/distilabel-intel-orca-dpo-pairs) found
/// pairs whose chosen side is not the better one, and marks ties, in a set that was in wide use.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PreferenceSanity {
    /// Drop pairs whose sides are equal but for white space and how accents are typed.
    pub equal: bool,
    /// Drop pairs with an empty prompt or side.
    pub empty: bool,
    /// Drop pairs whose turns do not alternate, or do not end with the assistant.
    pub roles: bool,
    /// Drop pairs whose chosen side scores lower than the rejected one; rows without scores pass.
    pub scores: bool,
    /// Drop pairs with equal scores too.
    pub ties: bool,
    /// The columns of the chosen and the rejected side's score.
    pub score_columns: [String; 2],
}

impl Default for PreferenceSanity {
    fn default() -> Self {
        let score_columns = ["score_chosen", "score_rejected"].map(str::to_owned);
        Self { equal: true, empty: true, roles: true, scores: true, ties: false, score_columns }
    }
}

impl Rule for PreferenceSanity {
    const NAME: &'static str = "preference_sanity";
    const KINDS: &'static [Kind] = &[Kind::Preference];

    fn compile(&self, _: &Context) -> Result<Vec<Filter>, RuleError> {
        if self.ties && !self.scores {
            return Err(RuleError::setting("`ties` compares scores: set `scores = true`, or `ties = false`"));
        }
        Ok(vec![Filter::document(Self::NAME, self.clone())])
    }
}

impl DocumentFilter for PreferenceSanity {
    fn columns(&self) -> &[String] {
        if self.scores { &self.score_columns } else { &[] }
    }

    fn filter(&self, document: &mut Document<'_>) -> Verdict {
        let Content::Preference { prompt, chosen, rejected, .. } = document.content() else { return Verdict::Keep };
        let objection = (|| -> Option<Reason> {
            if self.empty {
                for (side, turns) in [("prompt", prompt), ("chosen", chosen), ("rejected", rejected)] {
                    if turns.iter().all(|t| t.content.trim().is_empty() && !t.calls_tools()) {
                        return Some(format!("{side} is empty").into());
                    }
                }
            }
            if self.equal && words(chosen).eq(words(rejected)) && others(chosen).eq(others(rejected)) {
                return Some("chosen and rejected are equal".into());
            }
            if self.roles {
                // In reading order the rejected side comes behind the chosen one, which is no part of it.
                for (turns, between) in [(chosen, 0), (rejected, chosen.len())] {
                    let whole: Vec<&Message> = prompt.iter().chain(turns).collect();
                    if let Some(mut fault) = out_of_order(&whole).or_else(|| unanswered(&whole)) {
                        fault.message = fault.message.map(|i| if i < prompt.len() { i } else { i + between });
                        return Some(fault);
                    }
                }
            }
            let [better, worse] = self.score_columns.each_ref().map(|c| document.column(c).and_then(score));
            let (better, worse) = better.zip(worse).filter(|_| self.scores)?;
            let wrong = better < worse || (self.ties && better <= worse);
            wrong.then(|| format!("chosen scores {better}, rejected {worse}").into())
        })();
        objection.map_or(Verdict::Keep, Verdict::Drop)
    }
}

/// A score; some sets write theirs as text.
fn score(held: &Value) -> Option<f64> {
    value::as_f64(held).or_else(|| held.as_str()?.trim().parse().ok())
}

fn others(turns: &[Message]) -> impl Iterator<Item = (&String, &Value)> {
    turns.iter().flat_map(Message::others)
}

fn words(turns: &[Message]) -> impl Iterator<Item = Cow<'_, str>> {
    turns.iter().flat_map(|t| t.content.split_whitespace().map(nfc))
}

#[cfg(test)]
mod tests {
    use setaccio_base::row::Row;

    use super::*;

    fn turns(text: &str) -> Vec<Message> {
        text.split('|')
            .filter(|t| !t.is_empty())
            .filter_map(|t| t.split_once(':'))
            .map(|(r, c)| Message::new(r, c))
            .collect()
    }

    #[test]
    fn each_check_names_what_is_wrong() {
        let rule = PreferenceSanity { ties: true, ..PreferenceSanity::default() };
        for (prompt, chosen, rejected, scores, dropped) in [
            ("user:Chi?", "assistant:Dante.", "assistant:Boh.", None, None),
            ("user:Chi?", "assistant:Dante.", "assistant: Dante. ", None, Some("chosen and rejected are equal")),
            (
                "user:Chi?",
                "assistant:E\u{300}\u{a0}lui.",
                "assistant:È lui.",
                None,
                Some("chosen and rejected are equal"),
            ),
            ("", "assistant:Dante.", "assistant:Boh.", None, Some("prompt is empty")),
            ("user:Chi?", "assistant: ", "assistant:Boh.", None, Some("chosen is empty")),
            ("user:Chi?", "assistant:Dante.", "", None, Some("rejected is empty")),
            ("user:Chi?|user:Eh?", "assistant:a", "assistant:b", None, Some("prompt[1] (user): user follows user")),
            (
                "user:Chi?",
                "assistant:a",
                "assistant:b|user:c",
                None,
                Some("rejected[1] (user): the last turn is the user's"),
            ),
            ("user:Chi?", "assistant:a", "assistant:b", Some((7.0, 8.5)), Some("chosen scores 7, rejected 8.5")),
            ("user:Chi?", "assistant:a", "assistant:b", Some((7.0, 7.0)), Some("chosen scores 7, rejected 7")),
            ("user:Chi?", "assistant:a", "assistant:b", Some((8.5, 7.0)), None),
        ] {
            let [prompt, chosen, rejected] = [prompt, chosen, rejected].map(turns);
            let mut row = Row::new(Content::preference(prompt, chosen, rejected));
            if let Some((better, worse)) = scores {
                row.columns.insert("score_chosen".into(), better.into());
                row.columns.insert("score_rejected".into(), worse.to_string().into());
            }
            let told = match rule.apply(&mut row) {
                Verdict::Drop(Reason { detail, message: Some(number) }) => {
                    Some(format!("{}: {detail}", row.content.message_name(number).unwrap_or_default()))
                }
                Verdict::Drop(reason) => Some(reason.detail),
                _ => None,
            };
            assert_eq!(told.as_deref(), dropped, "{row:?}");
        }
    }

    #[test]
    fn checks_can_be_switched_off() {
        let rule = PreferenceSanity { equal: false, empty: false, roles: false, scores: false, ..Default::default() };
        let mut row = Row::new(Content::preference(vec![], vec![], vec![]));
        assert_eq!(rule.apply(&mut row), Verdict::Keep);
        let error = PreferenceSanity { ties: true, ..rule }.compile(&Context::default());
        assert!(error.is_err_and(|e| e.to_string().contains("`scores = true`")));
    }
}
