//! The rule `line_end`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use setaccio_base::row::Kind;

use crate::{
    context::Context,
    filter::{Filter, LineFilter, LineVerdict},
    rule::{Rule, RuleError},
};

/// Drop lines that do not end in one of `marks`, or end in one of `not`.
///
/// # Why
/// A line that ends as no sentence does is a menu, a title or a caption, and `...` ends a teaser that was cut.
///
/// # Example
/// ```toml
/// [[filter]]
/// rule = "line_end"
/// ```
/// ```json
/// {"text": "Home page\nIl gatto dorme.\nLeggi tutto..."}
/// ```
/// ```json
/// {"text": "Il gatto dorme."}
/// ```
///
/// # Source
/// [C4](https://jmlr.org/papers/volume21/20-074/20-074.pdf), section 2.2; the ellipsis is in
/// [C4's code](https://github.com/tensorflow/datasets/blob/master/tensorflow_datasets/text/c4_utils.py);
/// rule 4 of [clean_mc4_it](https://huggingface.co/datasets/gsarti/clean_mc4_it).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LineEnd {
    /// Endings that keep a line.
    pub marks: Vec<String>,
    /// Endings that drop it all the same.
    pub not: Vec<String>,
    /// Keep lines that end in the typographic `…`, `”` or `»` too, which the original loses.
    pub accept_typographic: bool,
}

impl Default for LineEnd {
    fn default() -> Self {
        let owned = |marks: &[&str]| marks.iter().map(|m| (*m).to_owned()).collect();
        Self { marks: owned(&[".", "?", "!", "\""]), not: owned(&["..."]), accept_typographic: false }
    }
}

impl Rule for LineEnd {
    const NAME: &'static str = "line_end";
    const KINDS: &'static [Kind] = &[Kind::Text];

    fn compile(&self, _: &Context) -> Result<Vec<Filter>, RuleError> {
        if self.marks.is_empty() && !self.accept_typographic {
            return Err(RuleError::setting("`marks` is empty, which drops every line"));
        }
        let mut rule = self.clone();
        if self.accept_typographic {
            rule.marks.extend(["\u{2026}", "\u{201d}", "\u{bb}"].map(str::to_owned));
        }
        Ok(vec![Filter::line(Self::NAME, rule)])
    }
}

impl LineFilter for LineEnd {
    fn filter(&self, line: &str) -> LineVerdict {
        let ends = |marks: &[String]| marks.iter().any(|m| line.ends_with(m.as_str()));
        if ends(&self.marks) && !ends(&self.not) { LineVerdict::Keep } else { LineVerdict::DropLine }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_original_or_with_typographic_marks() {
        let rule = |accept_typographic| {
            let spec = LineEnd { accept_typographic, ..LineEnd::default() };
            spec.compile(&Context::default()).unwrap_or_else(|e| panic!("{e}")).remove(0)
        };
        for (line, original, typographic) in [
            ("Il gatto dorme.", true, true),
            ("Dorme ancora?", true, true),
            ("Disse \"buonanotte\"", true, true),
            ("Leggi tutto...", false, false),
            ("E poi si vedrà…", false, true),
            ("Disse “buonanotte”", false, true),
            ("Disse «buonanotte»", false, true),
            ("Home page", false, false),
        ] {
            for (accept, kept) in [(false, original), (true, typographic)] {
                let expected = if kept { LineVerdict::Keep } else { LineVerdict::DropLine };
                assert_eq!(rule(accept).on_line(line), expected, "{line} {accept}");
            }
        }
    }
}
