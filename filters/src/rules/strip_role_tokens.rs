//! The rule `strip_role_tokens`.

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use setaccio_base::{
    nfc::{Normal, nfc},
    row::Kind,
};

use crate::{
    context::Context,
    filter::{Document, DocumentFilter, Filter, Verdict},
    rule::{Rule, RuleError},
};

/// Delete `<<human>>:`, `<<assistant>>:` and their variants, with the white space around them.
///
/// # Why
/// The roles are said by the turns already; tokens of another set's template would be learned as text.
///
/// # Example
/// ```toml
/// [[filter]]
/// rule = "strip_role_tokens"
/// ```
/// ```json
/// {"messages": [{"role": "user", "content": "<<human>>: Ciao"}, {"role": "assistant", "content": "Salve"}]}
/// ```
/// ```json
/// {"messages": [{"role": "user", "content": "Ciao"}, {"role": "assistant", "content": "Salve"}]}
/// ```
///
/// # Source
/// [wizard_alpaca_dolly_orca](https://huggingface.co/datasets/Chat-Error/wizard_alpaca_dolly_orca) carries such tokens;
/// [ANITA](https://arxiv.org/abs/2405.07101) was trained on it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StripRoleTokens {
    /// The names between `<<` and `>>`, without regard to case; a colon after them goes too.
    pub roles: Vec<String>,
    /// Further tokens, deleted as they stand.
    pub tokens: Vec<String>,
}

impl Default for StripRoleTokens {
    fn default() -> Self {
        let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        Self { roles: owned(&["human", "user", "assistant", "bot", "ai", "gpt", "system"]), tokens: Vec::new() }
    }
}

impl Rule for StripRoleTokens {
    const NAME: &'static str = "strip_role_tokens";
    const KINDS: &'static [Kind] = Kind::ALL;

    fn compile(&self, _: &Context) -> Result<Vec<Filter>, RuleError> {
        let literal = |token: &String| regex::escape(&nfc(token));
        let mut parts: Vec<String> = self.tokens.iter().map(literal).collect();
        if !self.roles.is_empty() {
            let roles = self.roles.iter().map(literal).collect::<Vec<_>>().join("|");
            parts.push(format!(r"(?i:<<\s*(?:{roles})\s*>>\s*:?)"));
        }
        if parts.is_empty() {
            return Err(RuleError::setting("`roles` and `tokens` are empty: there is nothing to delete"));
        }
        let pattern = format!(r"[ \t]*(?:{})[ \t]*(\r?\n)?", parts.join("|"));
        let pattern = Regex::new(&pattern).map_err(|e| RuleError::setting(e.to_string()))?;
        Ok(vec![Filter::document(Self::NAME, Strip(pattern))])
    }
}

struct Strip(Regex);

impl Strip {
    /// `text` without the tokens, or `None` if it has none. What stays is left as it is typed.
    fn without_tokens(&self, text: &str) -> Option<String> {
        let normal = Normal::new(text);
        let mut without = String::new();
        let mut from = None;
        for found in self.0.captures_iter(normal.text()) {
            let Some(token) = found.get(0).map(|m| normal.typed(m.range())) else { continue };
            // A token in the middle of a line leaves one space, at a line's end the line break.
            let newline = found.get(1).map_or("", |m| m.as_str());
            let inside = newline.is_empty() && token.start > 0 && !text[..token.start].ends_with('\n');
            without.push_str(&text[from.unwrap_or(0)..token.start]);
            without.push_str(if inside { " " } else { newline });
            from = Some(token.end);
        }
        without.push_str(&text[from?..]);
        Some(without.trim().to_owned())
    }
}

impl DocumentFilter for Strip {
    fn filter(&self, document: &mut Document<'_>) -> Verdict {
        let without: Vec<Option<String>> = document.content().texts().map(|text| self.without_tokens(text)).collect();
        let edited = without.iter().flatten().count() as u64;
        if edited == 0 {
            return Verdict::Keep;
        }
        for (text, without) in document.change().texts_mut().into_iter().zip(without) {
            if let Some(without) = without {
                *text = without;
            }
        }
        Verdict::Edited(edited)
    }
}

#[cfg(test)]
mod tests {
    use setaccio_base::row::Row;

    use super::*;

    #[test]
    fn tokens_go_and_text_stays() {
        let mut rule = StripRoleTokens::default();
        rule.roles.push("perché".into());
        let filters = rule.compile(&Context::default()).unwrap_or_else(|e| panic!("{e}"));
        for (text, expected) in [
            ("<<human>>: Ciao", "Ciao"),
            ("<<HUMAN>> Ciao\n<<Assistant>>: Salve", "Ciao\nSalve"),
            ("Domanda. << assistant >>: Risposta.", "Domanda. Risposta."),
            ("Domanda.<<assistant>>:Risposta.", "Domanda. Risposta."),
            ("Fine <<assistant>>:", "Fine"),
            ("<<human>>:\nCiao", "Ciao"),
            ("a << b >> c", "a << b >> c"),
            ("L'humano parla", "L'humano parla"),
            ("<<perche\u{301}>>: così\u{300}.<<perché>>", "così\u{300}."),
        ] {
            let mut row = Row::text(text);
            let verdict = filters[0].on_row(&mut row);
            assert_eq!(row, Row::text(expected), "{text}");
            assert_eq!(verdict, if text == expected { Verdict::Keep } else { Verdict::Edited(1) }, "{text}");
        }
    }
}
