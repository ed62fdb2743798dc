//! The rule `redpajama`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use setaccio_base::{row::Kind, suggest};

use super::gopher_quality::{BULLETS, ends_in_ellipsis, of_lines};
use crate::{
    context::Context,
    filter::Filter,
    lists::ListRef,
    quality::{self, Bound, Measure, Measures, Text, count, number, ratio, share},
    rule::{Rule, RuleError},
    segments::{AsIn, Listed},
    sentences,
};

/// Measure texts as RedPajama-v2 does, and write the measures to columns, or drop by those that have a bound.
///
/// # Why
/// What a good page is depends on what it is for: RedPajama-v2 drops nothing, and gives every page some forty measures, by which
/// whoever uses it chooses.
///
/// With `signals = true`, the default, every measure is a column of the output; with `signals = false` those that `min` and `max`
/// name decide. They are called as in RedPajama-v2, and are shares but for counts: what is said of each line there is the
/// share of lines here. Words are those of the rule `gopher_quality`, where RedPajama-v2 deletes all signs of ASCII; letters are
/// those of any script, where it knows `a` to `z` (`è` has none there). Measures that need its lists or models (its classifiers,
/// the perplexity, bad words and blocked addresses) are left to other rules.
///
/// # Example
/// ```toml
/// [[filter]]
/// rule = "redpajama"
/// signals = false
/// max = { rps_doc_curly_bracket = 0.02 }
/// ```
/// ```json
/// {"text": "function apri() { return { porta: 1 }; }"}
/// ```
/// ```text
/// dropped by redpajama: rps_doc_curly_bracket 0.1, at most 0.02
/// ```
///
/// # Source
/// [RedPajama-v2](https://github.com/togethercomputer/RedPajama-Data), its quality signals; the paper of
/// [RedPajama](https://arxiv.org/abs/2411.12372).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RedPajama {
    /// Least value of a measure, by its name.
    pub min: BTreeMap<String, f64>,
    /// Most, by its name.
    pub max: BTreeMap<String, f64>,
    /// Lists of the words that `rps_doc_stop_word_fraction` counts, each by name and SHA-256.
    pub lists: Vec<ListRef>,
    /// Further such words.
    pub stop_words: Vec<String>,
    /// Drop nothing, and write the measures to columns of the output.
    pub signals: bool,
}

impl Default for RedPajama {
    fn default() -> Self {
        Self { min: BTreeMap::new(), max: BTreeMap::new(), lists: Vec::new(), stop_words: Vec::new(), signals: true }
    }
}

impl Rule for RedPajama {
    const NAME: &'static str = "redpajama";
    const KINDS: &'static [Kind] = &[Kind::Text];

    fn compile(&self, context: &Context) -> Result<Vec<Filter>, RuleError> {
        let names = || Compiled::MEASURES.iter().map(|m| m.name);
        if let Some(unknown) = self.min.keys().chain(self.max.keys()).find(|key| names().all(|name| name != *key)) {
            return Err(RuleError::setting(format!(
                "there is no measure `{unknown}`{}",
                suggest::nearest(unknown, names())
            )));
        }
        if self.signals != (self.min.is_empty() && self.max.is_empty()) {
            return Err(RuleError::setting(
                "with `signals` nothing is dropped, and `min` and `max` say nothing; without, they say what is dropped",
            ));
        }
        let stop_words = quality::listed(&self.lists, &self.stop_words, AsIn::Paper, context)?;
        let bounded = |name: &str| self.min.contains_key(name) || self.max.contains_key(name);
        if stop_words.words() == 0 && bounded("rps_doc_stop_word_fraction") {
            return Err(RuleError::setting("rps_doc_stop_word_fraction needs `lists` or `stop_words`"));
        }
        let compiled = Compiled { min: self.min.clone(), max: self.max.clone(), stop_words };
        Ok(vec![quality::filter(Self::NAME, "", compiled, self.signals)])
    }
}

struct Compiled {
    min: BTreeMap<String, f64>,
    max: BTreeMap<String, f64>,
    stop_words: Listed,
}

/// Full stops, as RedPajama-v2 has them.
const END_MARKS: [char; 4] = ['.', '!', '?', '”'];

impl Measures for Compiled {
    const MEASURES: &'static [Measure] = &[
        number("rps_doc_word_count"),
        share("rps_doc_mean_word_length"),
        share("rps_doc_frac_unique_words"),
        share("rps_doc_unigram_entropy"),
        share("rps_doc_stop_word_fraction"),
        share("rps_doc_symbol_to_word_ratio"),
        share("rps_doc_frac_no_alph_words"),
        share("rps_doc_frac_all_caps_words"),
        share("rps_doc_curly_bracket"),
        share("rps_doc_lorem_ipsum"),
        number("rps_doc_num_sentences"),
        share("rps_doc_frac_lines_end_with_ellipsis"),
        share("rps_lines_start_with_bulletpoint"),
        share("rps_lines_ending_with_terminal_punctution_mark"),
        share("rps_lines_uppercase_letter_fraction"),
        share("rps_lines_numerical_chars_fraction"),
        share("rps_doc_frac_chars_top_2gram"),
        share("rps_doc_frac_chars_top_3gram"),
        share("rps_doc_frac_chars_top_4gram"),
        share("rps_doc_frac_chars_dupe_5grams"),
        share("rps_doc_frac_chars_dupe_6grams"),
        share("rps_doc_frac_chars_dupe_7grams"),
        share("rps_doc_frac_chars_dupe_8grams"),
        share("rps_doc_frac_chars_dupe_9grams"),
        share("rps_doc_frac_chars_dupe_10grams"),
    ];

    fn as_in(&self) -> AsIn {
        AsIn::Paper
    }

    fn measure(&self, number: usize, text: &Text<'_>) -> f64 {
        let (segments, raw) = (text.segments, text.raw);
        let words = || segments.totals().words;
        let all = || segments.characters(raw);
        let of_chars = |holds: fn(char) -> bool| ratio(raw.chars().filter(|c| holds(*c)).count(), all());
        match number {
            0 => count(words()),
            1 => ratio(segments.totals().chars, words()),
            2 => ratio(frequencies(text).len(), words()),
            3 => entropy(&frequencies(text)),
            4 => ratio(segments.listed_words(&self.stop_words), words()),
            5 => {
                let (hashes, ellipses) = segments.symbols(raw);
                ratio(hashes + ellipses, segments.tokens().len())
            }
            6 => ratio(segments.tokens().len() - segments.totals().alphabetic, segments.tokens().len()),
            7 => {
                let capital =
                    |word: &str| word.chars().any(char::is_uppercase) && !word.chars().any(char::is_lowercase);
                ratio(raw.split_whitespace().filter(|word| capital(word)).count(), raw.split_whitespace().count())
            }
            8 => of_chars(|c| matches!(c, '{' | '}')),
            9 => ratio(segments.form(raw).matches("lorem ipsum").count(), all()),
            10 => count(raw.lines().map(|line| sentences::count(line, usize::MAX)).sum()),
            11 => of_lines(text, AsIn::Paper, ends_in_ellipsis),
            12 => of_lines(text, AsIn::Paper, |line| BULLETS[..10].iter().any(|bullet| line.starts_with(bullet))),
            13 => of_lines(text, AsIn::Paper, |line| line.ends_with(END_MARKS)),
            14 => of_chars(char::is_uppercase),
            15 => of_chars(char::is_numeric),
            16..=18 => ratio(segments.ngrams().top[number - 16], segments.ngrams().chars),
            _ => ratio(segments.ngrams().duplicate[number - 19], segments.ngrams().chars),
        }
    }

    fn bound(&self, number: usize) -> Bound {
        let name = Self::MEASURES[number].name;
        match (self.min.get(name), self.max.get(name)) {
            (None, None) => Bound::Any,
            (Some(least), None) => Bound::AtLeast(*least),
            (None, Some(most)) => Bound::AtMost(*most),
            (Some(least), Some(most)) => Bound::Between(*least, *most),
        }
    }
}

/// How often each word is there, the rarest first.
fn frequencies(text: &Text<'_>) -> Vec<usize> {
    let mut hashes: Vec<u64> = text.segments.words().map(|word| word.hash).collect();
    hashes.sort_unstable();
    let mut counts: Vec<usize> = hashes.chunk_by(|a, b| a == b).map(<[u64]>::len).collect();
    counts.sort_unstable();
    counts
}

/// The entropy of words, in nats. Logarithms differ in their last digits between systems, so six digits are kept.
fn entropy(counts: &[usize]) -> f64 {
    let all = counts.iter().sum::<usize>();
    let sum: f64 = counts.iter().map(|n| ratio(*n, all)).map(|p| -p * p.ln()).sum();
    (sum * 1e6).round() / 1e6 + 0.0
}

#[cfg(test)]
mod tests {
    use setaccio_base::row::Row;

    use super::*;
    use crate::filter::Verdict;

    // What each measure is of some 330 texts, and where each bound lies, is held against `tests/oracles/quality.py` in `quality.rs`.

    fn dropped(spec: &RedPajama, text: &str) -> Option<String> {
        let filters = spec.compile(&Context::default()).unwrap_or_else(|e| panic!("{e}"));
        filters.iter().find_map(|filter| match filter.on_row(&mut Row::text(text)) {
            Verdict::Drop(why) => Some(why.detail),
            _ => None,
        })
    }

    #[test]
    fn measures_that_have_a_bound_decide() {
        let bounded = |name: &str, min: Option<f64>, max: Option<f64>| RedPajama {
            min: min.map(|v| (name.to_owned(), v)).into_iter().collect(),
            max: max.map(|v| (name.to_owned(), v)).into_iter().collect(),
            signals: false,
            ..RedPajama::default()
        };
        let text = "LA FIERA dura tre giorni: 12 e 14. Poi basta.";
        for (name, value) in [
            ("rps_doc_word_count", 10.0),
            ("rps_doc_num_sentences", 2.0),
            ("rps_doc_frac_all_caps_words", 0.2),
            ("rps_doc_frac_unique_words", 1.0),
        ] {
            assert_eq!(dropped(&bounded(name, Some(value), Some(value)), text), None, "{name}");
            let short = format!("{name} {value}, at least {}", value + 0.5);
            assert_eq!(dropped(&bounded(name, Some(value + 0.5), None), text), Some(short));
            let long = format!("{name} {value}, at most {}", value - 0.1);
            assert_eq!(dropped(&bounded(name, None, Some(value - 0.1)), text), Some(long));
        }
    }
}
