//! The rule `sentences`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use setaccio_base::row::Kind;

use crate::{
    context::Context,
    filter::{Document, DocumentFilter, Filter, Verdict},
    rule::{Rule, RuleError},
    sentences::count,
};

/// Drop documents of fewer than `min` sentences.
///
/// # Why
/// A page of one or two sentences is rarely a text.
///
/// A sentence ends with a terminator, what closes with it (quotes, brackets), white space, and what can begin a sentence;
/// not after an abbreviation, an initial or an ordinal. Scripts without case begin one with any letter. The full stops of
/// Chinese, Japanese, Khmer and Burmese need no white space; Thai and Lao have none, and end a sentence or a clause with a
/// space, which is counted.
///
/// # Example
/// ```toml
/// [[filter]]
/// rule = "sentences"
/// min = 2
/// ```
/// ```json
/// {"text": "L'opera è di G. Verdi."}
/// ```
/// ```text
/// dropped by sentences: 1 sentences, at least 2
/// ```
///
/// # Source
/// [C4](https://jmlr.org/papers/volume21/20-074/20-074.pdf), section 2.2; rule 10 of
/// [clean_mc4_it](https://huggingface.co/datasets/gsarti/clean_mc4_it) counts by NLTK's Punkt.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sentences {
    /// Least number of sentences.
    pub min: usize,
}

impl Default for Sentences {
    fn default() -> Self {
        Self { min: 5 }
    }
}

impl Rule for Sentences {
    const NAME: &'static str = "sentences";
    const KINDS: &'static [Kind] = &[Kind::Text];

    fn compile(&self, _: &Context) -> Result<Vec<Filter>, RuleError> {
        Ok(vec![Filter::document(Self::NAME, self.clone())])
    }
}

impl DocumentFilter for Sentences {
    fn filter(&self, document: &mut Document<'_>) -> Verdict {
        let mut found = 0;
        for line in document.content().texts().flat_map(str::lines) {
            found += count(line, self.min - found.min(self.min));
            if found >= self.min {
                return Verdict::Keep;
            }
        }
        Verdict::Drop(format!("{found} sentences, at least {}", self.min).into())
    }
}

#[cfg(test)]
mod tests {
    use setaccio_base::row::Row;

    use super::*;

    #[test]
    fn a_document_needs_five() {
        let rule = Sentences::default();
        let text = |n: usize| Row::text(vec!["Piove ancora. Fa freddo."; n].join("\n"));
        assert_eq!(rule.apply(&mut text(2)), Verdict::Drop("4 sentences, at least 5".into()));
        assert_eq!(rule.apply(&mut text(3)), Verdict::Keep);
    }
}
