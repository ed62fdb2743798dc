//! The rule `repeats`.

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use setaccio_base::{
    nfc::nfc,
    row::{Content, Kind},
    unit::Unit,
};

use crate::{
    context::Context,
    filter::{Document, DocumentFilter, Filter, Verdict},
    fold::lowercase_into,
    rule::{Rule, RuleError},
    segments::hash,
    spaceless::count_words,
    units,
};

/// Remove paragraphs, lines or sentences that a text has had before.
///
/// # Why
/// Pages say some things twice: a teaser and the text, a notice above and below. A model that reads them learns to repeat itself.
///
/// The first stays, the others go, whatever lies between them. Upper and lower case are one, and so is any white space. What
/// other rows hold too is looked for by `[dedup.repeats]`, after all rules.
///
/// # Example
/// ```toml
/// [[filter]]
/// rule = "repeats"
/// ```
/// ```json
/// {"text": "Il museo riapre a maggio con una mostra.\n\nI biglietti costano otto euro.\n\nIl museo riapre a maggio con una mostra."}
/// ```
/// ```json
/// {"text": "Il museo riapre a maggio con una mostra.\n\nI biglietti costano otto euro."}
/// ```
///
/// # Source
/// [Gopher](https://arxiv.org/abs/2112.11446), appendix A.1.1, drops pages of which a large share is repeated (the rule
/// `gopher_repetition`); here the page stays and the repeats go, as in [C4's
/// code](https://github.com/tensorflow/datasets/blob/master/tensorflow_datasets/text/c4_utils.py), which does so with lines.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Repeats {
    /// What is removed.
    pub unit: Unit,
    /// What has fewer words stays, however often it is there: refrains, short answers, rules of dashes.
    pub min_words: usize,
}

impl Default for Repeats {
    fn default() -> Self {
        Self { unit: Unit::Paragraphs, min_words: 5 }
    }
}

impl Rule for Repeats {
    const NAME: &'static str = "repeats";
    const KINDS: &'static [Kind] = &[Kind::Text];

    fn compile(&self, _: &Context) -> Result<Vec<Filter>, RuleError> {
        Ok(vec![Filter::document(Self::NAME, self.clone())])
    }
}

impl Repeats {
    /// The text without what it has had before; `None` if it has none such.
    fn without_repeats(&self, text: &str) -> Option<String> {
        let cut = units::cut(text, self.unit);
        let (mut seen, mut form) = (HashSet::with_capacity(cut.len()), Vec::new());
        let mut repeated = |unit: &str| {
            if count_words(unit) < self.min_words {
                return false;
            }
            lowercase_into(&nfc(unit), &mut form);
            !seen.insert(hash(form.trim_ascii()))
        };
        let gone: Vec<bool> = cut.iter().map(|unit| repeated(&text[unit.clone()])).collect();
        gone.contains(&true).then(|| units::without(text, &cut, |number| gone[number]))
    }
}

impl DocumentFilter for Repeats {
    fn filter(&self, document: &mut Document<'_>) -> Verdict {
        let Content::Text(text) = document.content() else { return Verdict::Keep };
        match self.without_repeats(text) {
            Some(left) => {
                *document.change() = Content::Text(left);
                Verdict::Edited(1)
            }
            None => Verdict::Keep,
        }
    }
}

#[cfg(test)]
mod tests {
    use setaccio_base::row::Row;

    use super::*;

    #[test]
    fn the_first_stays_and_the_others_go() {
        let paragraphs = Repeats { min_words: 2, ..Repeats::default() };
        let lines = Repeats { unit: Unit::Lines, min_words: 2 };
        let sentences = Repeats { unit: Unit::Sentences, min_words: 1 };
        for (rule, text, left) in [
            (&paragraphs, "Uno due.\nTre.\n\nB b.\n\nuno  DUE.\ntre.", "Uno due.\nTre.\n\nB b."),
            (&paragraphs, "Uno due.\nTre.\n\nB b.\n\nUno due.", "Uno due.\nTre.\n\nB b.\n\nUno due."),
            (&paragraphs, "Sì.\n\nNo no.\n\nSì.\n\nNo no.\n", "Sì.\n\nNo no.\n\nSì.\n"),
            (&lines, "Uno due.\nTre.\nUno due.\n\nUno due.\nTre.", "Uno due.\nTre.\n\nTre."),
            (&lines, "Perche\u{301} no?\nPerché no?", "Perche\u{301} no?"),
            (&sentences, "Fu bello. Fu lungo. Fu bello. Fine.", "Fu bello. Fu lungo. Fine."),
        ] {
            let mut row = Row::text(text);
            let verdict = rule.apply(&mut row);
            assert_eq!(row, Row::text(left), "{text:?}");
            assert_eq!(verdict, if text == left { Verdict::Keep } else { Verdict::Edited(1) }, "{text:?}");
        }
        assert!(toml::from_str::<Repeats>("unit = 'words'").is_err());
    }
}
