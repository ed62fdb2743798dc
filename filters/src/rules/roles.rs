//! The rule `roles`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use setaccio_base::row::{Kind, Message};

use crate::{
    context::Context,
    filter::{Document, DocumentFilter, Filter, Reason, Verdict},
    rule::{Rule, RuleError},
};

/// Drop conversations whose turns are not: one system turn at most, then user and assistant in turn, the
/// assistant last. Tool turns may stand between assistant turns.
///
/// # Why
/// Chat templates of many models refuse turns that do not alternate, and without an answer at the end there is
/// nothing to learn.
///
/// # Example
/// ```toml
/// [[filter]]
/// rule = "roles"
/// ```
/// ```json
/// {"messages": [{"role": "user", "content": "Ciao"}, {"role": "user", "content": "Ci sei?"}]}
/// ```
/// ```text
/// dropped by roles: user follows user
/// ```
///
/// # Source
/// The chat template of
/// [Gemma 2](https://github.com/ggml-org/llama.cpp/blob/aa6fb1321333fae8853d0cdc26bcb5d438e650a1/models/templates/google-gemma-2-2b-it.jinja)
/// is one that refuses them.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Roles {
    /// Most turns, system turns not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_turns: Option<usize>,
    /// Let the last turn be the user's.
    pub open_end: bool,
}

impl Rule for Roles {
    const NAME: &'static str = "roles";
    const KINDS: &'static [Kind] = &[Kind::Chat];

    fn compile(&self, _: &Context) -> Result<Vec<Filter>, RuleError> {
        Ok(vec![Filter::document(Self::NAME, self.clone())])
    }
}

impl DocumentFilter for Roles {
    fn filter(&self, document: &mut Document<'_>) -> Verdict {
        let turns: Vec<&Message> = document.content().messages().collect();
        let fault = out_of_order(&turns).or_else(|| if self.open_end { None } else { unanswered(&turns) });
        let said = turns.iter().filter(|t| t.role != "system").count();
        let long = self.max_turns.filter(|max| said > *max).map(|max| format!("{said} turns, at most {max}").into());
        fault.or(long).map_or(Verdict::Keep, Verdict::Drop)
    }
}

/// Which turn is out of order, and why.
pub(super) fn out_of_order(turns: &[&Message]) -> Option<Reason> {
    let mut before = "";
    for (i, turn) in turns.iter().enumerate() {
        let fault = |detail| Some(Reason { detail, message: Some(i) });
        let follows = match turn.role.as_str() {
            "system" => i == 0,
            "user" => matches!(before, "" | "system" | "assistant"),
            "assistant" => matches!(before, "user" | "tool"),
            "tool" => matches!(before, "assistant" | "tool"),
            other => return fault(format!("the role {other:?} is unknown")),
        };
        if !follows {
            let place = if before.is_empty() { "comes first".to_owned() } else { format!("follows {before}") };
            return fault(format!("{} {place}", turn.role));
        }
        before = &turn.role;
    }
    None
}

/// Why the conversation has no answer at its end.
pub(super) fn unanswered(turns: &[&Message]) -> Option<Reason> {
    match turns.last() {
        Some(last) if last.role == "assistant" => None,
        Some(last) => {
            let detail = format!("the last turn is the {}'s", last.role);
            Some(Reason { detail, message: Some(turns.len() - 1) })
        }
        None => Some("there are no turns".into()),
    }
}

#[cfg(test)]
mod tests {
    use setaccio_base::row::Row;

    use super::*;

    #[test]
    fn turns_alternate_and_end_with_an_answer() {
        for (roles, dropped) in [
            ("user assistant", None),
            ("system user assistant user assistant", None),
            ("user assistant tool assistant", None),
            ("user assistant user", Some(("the last turn is the user's", Some(2)))),
            ("user user assistant", Some(("user follows user", Some(1)))),
            ("assistant user assistant", Some(("assistant comes first", Some(0)))),
            ("user system assistant", Some(("system follows user", Some(1)))),
            ("user narrator assistant", Some(("the role \"narrator\" is unknown", Some(1)))),
            ("", Some(("there are no turns", None))),
            ("user assistant user assistant user assistant", Some(("6 turns, at most 4", None))),
        ] {
            let turns: Vec<(&str, &str)> = roles.split_whitespace().map(|r| (r, "x")).collect();
            let rule = Roles { max_turns: Some(4), open_end: false };
            let expected = dropped.map_or(Verdict::Keep, |(detail, message)| {
                Verdict::Drop(Reason { detail: detail.to_owned(), message })
            });
            assert_eq!(rule.apply(&mut Row::chat(&turns)), expected, "{roles}");
        }
        let open = Roles { open_end: true, ..Roles::default() };
        assert_eq!(open.apply(&mut Row::chat(&[("user", "x")])), Verdict::Keep);
    }
}
