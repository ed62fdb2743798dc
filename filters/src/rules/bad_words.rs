//! The rule `bad_words`.

use std::ops::ControlFlow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use setaccio_base::row::Kind;

use crate::{
    context::Context,
    filter::{Document, DocumentFilter, Filter, Verdict},
    lists::{self, ListRef},
    rule::{Rule, RuleError},
    words::Finder,
};

/// Drop documents that hold a word of the lists: whole words, without regard to case.
///
/// # Why
/// A word of such a list marks pages that nobody wants a model to write like. It also drops pages that only speak of
/// the subject: `except` and `tolerate` are for these.
///
/// # Example
/// ```toml
/// [[filter]]
/// rule = "bad_words"
/// words = ["accidenti"]
/// ```
/// ```json
/// {"text": "Ma accidenti, che prezzi!"}
/// ```
/// ```text
/// dropped by bad_words: accidenti
/// ```
///
/// # Source
/// [C4](https://jmlr.org/papers/volume21/20-074/20-074.pdf), section 2.2, with the lists of
/// [LDNOOBW](https://github.com/LDNOOBW/List-of-Dirty-Naughty-Obscene-and-Otherwise-Bad-Words); rule 1 of
/// [clean_mc4_it](https://huggingface.co/datasets/gsarti/clean_mc4_it).
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BadWords {
    /// The lists, each by name and SHA-256.
    pub lists: Vec<ListRef>,
    /// Further words.
    pub words: Vec<String>,
    /// Entries of the lists that are let pass.
    pub except: Vec<String>,
    /// Matches that a document may hold without being dropped.
    pub tolerate: usize,
}

impl BadWords {
    /// The filter under this name.
    pub(super) fn filter(&self, name: &'static str, context: &Context) -> Result<Filter, RuleError> {
        let mut words = self.words.clone();
        for list in &self.lists {
            words.extend(lists::load(list, context)?);
        }
        if let Some(unknown) = self.except.iter().find(|e| !words.contains(e)) {
            return Err(RuleError::setting(format!("`except` names {unknown:?}, which is in none of the lists")));
        }
        words.retain(|w| !self.except.contains(w));
        words.sort();
        words.dedup();
        Ok(Filter::document(name, BadWordsFilter { finder: Finder::new(words, true)?, tolerate: self.tolerate }))
    }
}

impl Rule for BadWords {
    const NAME: &'static str = "bad_words";
    const KINDS: &'static [Kind] = Kind::ALL;

    fn compile(&self, context: &Context) -> Result<Vec<Filter>, RuleError> {
        Ok(vec![self.filter(Self::NAME, context)?])
    }
}

struct BadWordsFilter {
    finder: Finder,
    tolerate: usize,
}

impl DocumentFilter for BadWordsFilter {
    fn filter(&self, document: &mut Document<'_>) -> Verdict {
        let mut left = self.tolerate;
        let mut dropped = None;
        for text in document.content.texts() {
            self.finder.find(text, |word| {
                if left == 0 {
                    dropped = Some(word.to_owned());
                    return ControlFlow::Break(());
                }
                left -= 1;
                ControlFlow::Continue(())
            });
            if let Some(word) = dropped {
                return Verdict::Drop(word);
            }
        }
        Verdict::Keep
    }
}

#[cfg(test)]
mod tests {
    use setaccio_base::row::Row;

    use super::*;

    fn judge(rule: &BadWords, row: &mut Row) -> Verdict {
        rule.filter("bad_words", &Context::default()).unwrap_or_else(|e| panic!("{e}")).on_row(row)
    }

    #[test]
    fn the_match_is_reported_and_some_can_be_tolerated() {
        let words = vec!["cavolo".to_owned(), "acciderba".to_owned()];
        let rule = BadWords { words, ..BadWords::default() };
        assert_eq!(judge(&rule, &mut Row::text("Che Cavolo dici?")), Verdict::Drop("cavolo".into()));
        assert_eq!(judge(&rule, &mut Row::text("cavolfiore")), Verdict::Keep);
        let chat = Row::chat(&[("user", "Ciao"), ("assistant", "Acciderba!")]);
        assert_eq!(judge(&rule, &mut chat.clone()), Verdict::Drop("acciderba".into()));
        let lenient = BadWords { tolerate: 1, ..rule.clone() };
        assert_eq!(judge(&lenient, &mut chat.clone()), Verdict::Keep);
        let except = BadWords { except: vec!["acciderba".into()], ..rule };
        assert_eq!(judge(&except, &mut chat.clone()), Verdict::Keep);
    }

    #[test]
    fn an_exception_from_nothing_and_a_rule_of_nothing_are_refused() {
        let rule = BadWords { words: vec!["a".into()], except: vec!["b".into()], ..BadWords::default() };
        assert!(rule.compile(&Context::default()).is_err_and(|e| e.to_string().contains("none of the lists")));
        assert!(BadWords::default().compile(&Context::default()).is_err_and(|e| e.to_string().contains("no words")));
    }
}
