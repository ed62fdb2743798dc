//! The rule `bad_words`.

use std::{collections::HashSet, ops::ControlFlow};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use setaccio_base::row::Kind;

use crate::{
    context::Context,
    filter::{Document, DocumentFilter, Filter, Reason, Verdict},
    fold::{Folding, Invisible, WhiteSpace},
    lists::{self, ListRef},
    rule::{Rule, RuleError},
    words::{WordFinder, form},
};

/// What of the lists is let pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AllowList {
    /// Nothing but `except`.
    #[default]
    None,
    /// What C4 lets pass because it is part of common words: `sm`, `グロ` and `女の子` of Japanese, `性` of Chinese.
    C4,
}

impl AllowList {
    fn entries(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::C4 => &["sm", "グロ", "女の子", "性"],
        }
    }
}

/// Drop documents that hold a word of the lists: whole words, without regard to case.
///
/// # Why
/// A word of such a list marks pages that nobody wants a model to write like. It also drops pages that only speak of
/// the subject: `except` and `tolerate` are for these.
///
/// A word is whole where no letter, digit or underscore touches it. Han, kana, Thai, Lao, Khmer and Myanmar write words
/// without spaces: a word of these is found inside running text, as in C4. Texts and lists are compared in Unicode's
/// form NFC, case folded (`ß` is `ss`); the entry is reported as it is listed.
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
/// [clean_mc4_it](https://huggingface.co/datasets/gsarti/clean_mc4_it). C4's
/// [code](https://github.com/tensorflow/datasets/blob/master/tensorflow_datasets/text/c4.py) has the allow-list.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BadWords {
    /// The lists, each by name and SHA-256.
    pub lists: Vec<ListRef>,
    /// Further words.
    pub words: Vec<String>,
    /// Entries of the lists that are let pass.
    pub except: Vec<String>,
    /// What else of the lists, but not of `words`, is let pass.
    pub allow_list: AllowList,
    /// What white space is within words.
    pub white_space: WhiteSpace,
    /// What soft hyphens and characters of no width are within words.
    pub invisible: Invisible,
    /// Matches that a document may hold without being dropped.
    pub tolerate: usize,
}

impl BadWords {
    /// The filter under this name.
    pub(super) fn filter(&self, name: &'static str, context: &Context) -> Result<Filter, RuleError> {
        let folding = Folding { white_space: self.white_space, invisible: self.invisible };
        let form = |word: &str| form(word, folding);
        let allowed: Vec<String> = self.allow_list.entries().iter().map(|w| form(w)).collect();
        let mut words = self.words.clone();
        for list in &self.lists {
            words.extend(lists::load(list, context)?.into_iter().filter(|w| !allowed.contains(&form(w))));
        }
        let forms: HashSet<String> = words.iter().map(|w| form(w)).collect();
        if let Some(unknown) = self.except.iter().find(|e| !forms.contains(&form(e))) {
            return Err(RuleError::setting(format!("`except` names {unknown:?}, which is in none of the lists")));
        }
        let except: HashSet<String> = self.except.iter().map(|e| form(e)).collect();
        words.retain(|w| !except.contains(&form(w)));
        words.sort();
        words.dedup();
        let finder = WordFinder::new(words, folding)?;
        Ok(Filter::document(name, BadWordsFilter { finder, tolerate: self.tolerate }))
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
    finder: WordFinder,
    tolerate: usize,
}

impl DocumentFilter for BadWordsFilter {
    fn filter(&self, document: &mut Document<'_>) -> Verdict {
        let mut left = self.tolerate;
        let mut dropped = None;
        for (number, text) in document.content().texts().enumerate() {
            self.finder.find(text, |word| {
                if left == 0 {
                    dropped = Some(word.to_owned());
                    return ControlFlow::Break(());
                }
                left -= 1;
                ControlFlow::Continue(())
            });
            if let Some(word) = dropped {
                return Verdict::Drop(Reason::of_text(document.content(), number, word));
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
        assert_eq!(
            judge(&rule, &mut chat.clone()),
            Verdict::Drop(Reason { detail: "acciderba".into(), message: Some(1) })
        );
        let lenient = BadWords { tolerate: 1, ..rule.clone() };
        assert_eq!(judge(&lenient, &mut chat.clone()), Verdict::Keep);
        let except = BadWords { except: vec!["acciderba".into()], ..rule };
        assert_eq!(judge(&except, &mut chat.clone()), Verdict::Keep);
    }

    #[test]
    fn what_is_let_pass_is_found_however_it_is_typed() {
        let words = ["Pipì", "性", "sm", "cavolo"].map(str::to_owned).to_vec();
        let except = BadWords { words, except: vec!["pipi\u{300}".into(), "CAVOLO".into()], ..BadWords::default() };
        let (dir, list) = crate::lists::tests::list("性\nグロ\n女の子\nsm\n性交\nエロ\n");
        let context = Context { list_dirs: vec![dir.path().to_owned()], ..Context::default() };
        let c4 = BadWords { lists: vec![list], allow_list: AllowList::C4, ..BadWords::default() };
        let whole = BadWords { allow_list: AllowList::None, ..c4.clone() };
        for (rule, text, dropped) in [
            (&except, "La pipì e il cavolo", None),
            // The allow-list is of lists; what a recipe names itself it means.
            (&except, "他的性格", Some("性")),
            (&c4, "女の子の性格はグロくない。SM も", None),
            (&c4, "这是性交", Some("性交")),
            (&whole, "女の子です", Some("女の子")),
            (&whole, "这是性交", Some("性")),
        ] {
            let filter = rule.filter("bad_words", &context).unwrap_or_else(|e| panic!("{e}"));
            let expected = dropped.map_or(Verdict::Keep, |word| Verdict::Drop(word.into()));
            assert_eq!(filter.on_row(&mut Row::text(text)), expected, "{text}");
        }
    }

    #[test]
    fn an_exception_from_nothing_and_a_rule_of_nothing_are_refused() {
        let rule = BadWords { words: vec!["a".into()], except: vec!["b".into()], ..BadWords::default() };
        assert!(rule.compile(&Context::default()).is_err_and(|e| e.to_string().contains("none of the lists")));
        assert!(BadWords::default().compile(&Context::default()).is_err_and(|e| e.to_string().contains("no words")));
    }
}
