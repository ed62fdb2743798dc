//! The rule `min_words_per_line`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use setaccio_base::row::Kind;

use crate::{
    context::Context,
    filter::{Filter, LineFilter, LineVerdict},
    lines::split,
    rule::{Rule, RuleError},
    spaceless::{Spaceless, has_words},
};

/// Drop lines of fewer than `min` words, which stand between white space.
///
/// # Why
/// Short lines of web pages are menus, captions and buttons.
///
/// Han, kana, Thai, Lao, Khmer and Myanmar write words without spaces: theirs are estimated as in the rule `length`.
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
    /// What words are where a script has no spaces.
    pub spaceless: Spaceless,
}

impl Default for MinWordsPerLine {
    fn default() -> Self {
        Self { min: 3, spaceless: Spaceless::default() }
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
        let enough = match self.spaceless {
            Spaceless::Estimate => has_words(line, self.min),
            Spaceless::Run => split(line).nth(self.min - 1).is_some(),
        };
        if enough { LineVerdict::Keep } else { LineVerdict::DropLine }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_words_between_white_space() {
        let estimate = MinWordsPerLine::default();
        let run = MinWordsPerLine { spaceless: Spaceless::Run, ..estimate.clone() };
        for (line, estimated, between_spaces) in [
            ("Leggi tutto.", LineVerdict::DropLine, LineVerdict::DropLine),
            ("Il gatto dorme.", LineVerdict::Keep, LineVerdict::Keep),
            ("Home  |  Contatti", LineVerdict::Keep, LineVerdict::Keep),
            ("登录。", LineVerdict::DropLine, LineVerdict::DropLine),
            ("今天的天气非常好。", LineVerdict::Keep, LineVerdict::DropLine),
        ] {
            assert_eq!(estimate.filter(line), estimated, "{line}");
            assert_eq!(run.filter(line), between_spaces, "{line}");
        }
    }
}
