//! The rule `long_tokens`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use setaccio_base::row::Kind;

use crate::{
    context::Context,
    filter::{Filter, LineFilter, LineVerdict},
    lines::split,
    rule::{Rule, RuleError},
};

/// Drop lines that hold a run of more than `max` characters without white space.
///
/// # Why
/// No language has such words: they are encoded data or minified code.
///
/// # Example
/// ```toml
/// [[filter]]
/// rule = "long_tokens"
/// max = 20
/// ```
/// ```json
/// {"text": "Il gatto dorme.\nSGVsbG8gd29ybGQsIGhlbGxv c29sZQ."}
/// ```
/// ```json
/// {"text": "Il gatto dorme."}
/// ```
///
/// # Source
/// [C4's code](https://github.com/tensorflow/datasets/blob/master/tensorflow_datasets/text/c4_utils.py);
/// rule 2 of [clean_mc4_it](https://huggingface.co/datasets/gsarti/clean_mc4_it).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LongTokens {
    /// Characters that a token may have.
    pub max: usize,
}

impl Default for LongTokens {
    fn default() -> Self {
        Self { max: 1000 }
    }
}

impl Rule for LongTokens {
    const NAME: &'static str = "long_tokens";
    const KINDS: &'static [Kind] = &[Kind::Text];

    fn compile(&self, _: &Context) -> Result<Vec<Filter>, RuleError> {
        Ok(vec![Filter::line(Self::NAME, self.clone())])
    }
}

impl LineFilter for LongTokens {
    fn filter(&self, line: &str) -> LineVerdict {
        // Bytes are at least as many as characters, and most lines are short in bytes already.
        let long =
            line.len() > self.max && split(line).any(|t| t.len() > self.max && t.chars().nth(self.max).is_some());
        if long { LineVerdict::DropLine } else { LineVerdict::Keep }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_characters_not_bytes() {
        let rule = LongTokens::default();
        let case =
            |token: &str, n: usize| LineFilter::filter(&rule, &format!("Il codice {} è finito.", token.repeat(n)));
        assert_eq!(case("a", 1000), LineVerdict::Keep);
        assert_eq!(case("a", 1001), LineVerdict::DropLine);
        assert_eq!(case("è", 1000), LineVerdict::Keep);
        assert_eq!(case("è", 1001), LineVerdict::DropLine);
        assert_eq!(case("una parola ", 400), LineVerdict::Keep);
    }
}
