//! The rule `min_words_per_line`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use setaccio_base::row::Kind;

use crate::{
    context::Context,
    filter::{Filter, LineFilter, LineVerdict},
    rule::{Rule, RuleError},
};

/// Drop lines of fewer than `min` words, which stand between white space.
///
/// # Why
/// Short lines of web pages are menus, captions and buttons.
///
/// # Example
/// ```toml
/// [[filter]]
/// rule = "min_words_per_line"
/// ```
/// ```json
/// {"text": "Leggi tutto.\nIl gatto dorme."}
/// ```
/// ```json
/// {"text": "Il gatto dorme."}
/// ```
///
/// # Source
/// [C4](https://jmlr.org/papers/volume21/20-074/20-074.pdf), section 2.2; rule 5 of
/// [clean_mc4_it](https://huggingface.co/datasets/gsarti/clean_mc4_it).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MinWordsPerLine {
    /// Least number of words a line must have.
    pub min: usize,
}

impl Default for MinWordsPerLine {
    fn default() -> Self {
        Self { min: 3 }
    }
}

impl Rule for MinWordsPerLine {
    const NAME: &'static str = "min_words_per_line";
    const KINDS: &'static [Kind] = &[Kind::Text];

    fn compile(&self, _: &Context) -> Result<Vec<Filter>, RuleError> {
        if self.min == 0 {
            return Err(RuleError::setting("`min` is 0, which drops nothing; give 1 or more, or remove the rule"));
        }
        Ok(vec![Filter::line(Self::NAME, self.clone())])
    }
}

impl LineFilter for MinWordsPerLine {
    fn filter(&self, line: &str) -> LineVerdict {
        if line.split_whitespace().nth(self.min - 1).is_some() { LineVerdict::Keep } else { LineVerdict::DropLine }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_words_between_white_space() {
        let rule = MinWordsPerLine::default();
        for (line, verdict) in [
            ("Leggi tutto.", LineVerdict::DropLine),
            ("Il gatto dorme.", LineVerdict::Keep),
            ("Home  |  Contatti", LineVerdict::Keep),
        ] {
            assert_eq!(rule.filter(line), verdict, "{line}");
        }
    }
}
