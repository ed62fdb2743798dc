//! The rule `gopher_quality`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use setaccio_base::row::Kind;

use crate::{
    context::Context,
    filter::Filter,
    lists::ListRef,
    quality::{self, Bound, Measure, Measures, Text, count, number, ratio, share},
    rule::{Rule, RuleError},
    segments::{AsIn, Listed},
};

/// Signs that lines of lists begin with: those of RedPajama-v2, and the two of a keyboard.
pub(super) const BULLETS: [&str; 12] = ["•", "‣", "▶", "◀", "◦", "■", "□", "▪", "▫", "–", "-", "*"];

/// Drop texts that do not look like prose: too short or long, words of odd lengths, signs, lists, no function words.
///
/// # Why
/// Menus, tables, code and lists of keywords are no prose, and show it by how long their words are, what their lines begin and
/// end with, and that they have no function words.
///
/// The measures, in the order in which they are taken: `words`; `mean_word_length` (characters without signs around); `hashes`
/// and `ellipses` (`#`, and `...` or `…`, to words); `bullet_lines` and `ellipsis_lines` (the share of lines that begin with a
/// bullet, or end in an ellipsis); `alphabetic_words` (the share of words that have a letter; a sign between white space is a
/// word without one); `stop_words` (how many different ones of the list are there). The default list is the paper's, which is
/// English: for another language give `lists` or `stop_words`. Words of scripts without spaces are estimated as in the rule
/// `length`.
///
/// With `as_in = "datatrove"` signs are words where `alphabetic_words` are counted, `l'` is a word, stop words are compared
/// with their case, empty lines count as lines. datatrove knows the bullets `•` and `-` alone.
///
/// # Example
/// ```toml
/// [[filter]]
/// rule = "gopher_quality"
/// min_words = 5
/// stop_words = ["di", "la", "il"]
/// ```
/// ```json
/// {"text": "Scarpe uomo | scarpe donna | borse | saldi | contatti"}
/// ```
/// ```text
/// dropped by gopher_quality: alphabetic_words 0.6364, at least 0.8
/// ```
///
/// # Source
/// [Gopher](https://arxiv.org/abs/2112.11446), appendix A.1.1;
/// [datatrove](https://github.com/huggingface/datatrove/blob/main/src/datatrove/pipeline/filters/gopher_quality_filter.py).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GopherQuality {
    /// Least number of words.
    pub min_words: usize,
    /// Most.
    pub max_words: usize,
    /// Least mean length of words, in characters.
    pub min_mean_word_length: f64,
    /// Most.
    pub max_mean_word_length: f64,
    /// Most `#` to words, and most ellipses to words.
    pub max_symbols_to_words: f64,
    /// Most lines that begin with a bullet, as a share.
    pub max_bullet_lines: f64,
    /// Most lines that end in an ellipsis, as a share.
    pub max_ellipsis_lines: f64,
    /// Least share of words that have a letter.
    pub min_alphabetic_words: f64,
    /// Least number of different stop words.
    pub min_stop_words: usize,
    /// Stop words.
    pub stop_words: Vec<String>,
    /// Lists of further stop words, each by name and SHA-256.
    pub lists: Vec<ListRef>,
    /// What bullets are.
    pub bullets: Vec<String>,
    /// Whose way of counting.
    pub as_in: AsIn,
    /// Drop nothing, and write the measures to columns of the output: `gopher_quality_words` and so on.
    pub signals: bool,
}

impl Default for GopherQuality {
    fn default() -> Self {
        Self {
            min_words: 50,
            max_words: 100_000,
            min_mean_word_length: 3.0,
            max_mean_word_length: 10.0,
            max_symbols_to_words: 0.1,
            max_bullet_lines: 0.9,
            max_ellipsis_lines: 0.3,
            min_alphabetic_words: 0.8,
            min_stop_words: 2,
            stop_words: ["the", "be", "to", "of", "and", "that", "have", "with"].map(str::to_owned).into(),
            lists: Vec::new(),
            bullets: BULLETS.map(str::to_owned).into(),
            as_in: AsIn::Paper,
            signals: false,
        }
    }
}

impl GopherQuality {
    /// The filter under this name.
    pub(super) fn filter(&self, name: &'static str, prefix: &str, context: &Context) -> Result<Filter, RuleError> {
        if self.min_words > self.max_words || self.min_mean_word_length > self.max_mean_word_length {
            return Err(RuleError::setting("a `min_` is above its `max_`, which drops everything"));
        }
        let stop_words = quality::listed(&self.lists, &self.stop_words, self.as_in, context)?;
        if stop_words.words() < self.min_stop_words {
            return Err(RuleError::setting(format!(
                "min_stop_words = {} of a list of {}, which drops everything; give `lists`, or 0",
                self.min_stop_words,
                stop_words.words()
            )));
        }
        if self.bullets.iter().any(String::is_empty) {
            return Err(RuleError::setting("an empty bullet is what every line begins with; remove it"));
        }
        Ok(quality::filter(name, prefix, Compiled { spec: self.clone(), stop_words }, self.signals))
    }
}

impl Rule for GopherQuality {
    const NAME: &'static str = "gopher_quality";
    const KINDS: &'static [Kind] = &[Kind::Text];

    fn compile(&self, context: &Context) -> Result<Vec<Filter>, RuleError> {
        Ok(vec![self.filter(Self::NAME, "gopher_quality_", context)?])
    }
}

struct Compiled {
    spec: GopherQuality,
    stop_words: Listed,
}

/// Whether a line ends in an ellipsis.
pub(super) fn ends_in_ellipsis(line: &str) -> bool {
    line.ends_with("...") || line.ends_with('…')
}

/// The share of lines of which something is so.
pub(super) fn of_lines(text: &Text<'_>, as_in: AsIn, holds: impl Fn(&str) -> bool) -> f64 {
    let (mut all, mut held, mut last) = (0_usize, 0_usize, "");
    let lines = text.segments.stripped_lines(text.raw);
    for line in lines.filter(|line| as_in == AsIn::Datatrove || !line.is_empty()) {
        all += 1;
        held += usize::from(holds(line));
        last = line;
    }
    // As `str.splitlines` has them, but for the line that it does not make of a last line's end.
    if as_in == AsIn::Datatrove && all > 0 && last.is_empty() {
        all -= 1;
        held -= usize::from(holds(last));
    }
    ratio(held, all)
}

impl Measures for Compiled {
    const MEASURES: &'static [Measure] = &[
        number("words"),
        share("mean_word_length"),
        share("hashes"),
        share("ellipses"),
        share("bullet_lines"),
        share("ellipsis_lines"),
        share("alphabetic_words"),
        number("stop_words"),
    ];

    fn as_in(&self) -> AsIn {
        self.spec.as_in
    }

    fn measure(&self, number: usize, text: &Text<'_>) -> f64 {
        let (tokens, totals) = (text.segments.tokens().len(), text.segments.totals());
        match number {
            0 => count(text.segments.word_count(text.raw)),
            1 => {
                let words = match self.spec.as_in {
                    AsIn::Paper if totals.spaceless => text.segments.word_count(text.raw),
                    _ => totals.words,
                };
                ratio(totals.chars, words)
            }
            2 => ratio(text.segments.symbols(text.raw).0, tokens),
            3 => ratio(text.segments.symbols(text.raw).1, tokens),
            4 => of_lines(text, self.spec.as_in, |line| self.spec.bullets.iter().any(|b| line.starts_with(b.as_str()))),
            5 => of_lines(text, self.spec.as_in, ends_in_ellipsis),
            6 => ratio(totals.alphabetic, tokens),
            // A verdict needs no more of them than there are to be.
            _ => {
                let enough = if self.spec.signals { usize::MAX } else { self.spec.min_stop_words };
                count(text.segments.listed(&self.stop_words, enough))
            }
        }
    }

    fn bound(&self, number: usize) -> Bound {
        let spec = &self.spec;
        match number {
            0 => Bound::Between(count(spec.min_words), count(spec.max_words)),
            1 => Bound::Between(spec.min_mean_word_length, spec.max_mean_word_length),
            2 | 3 => Bound::AtMost(spec.max_symbols_to_words),
            4 => Bound::AtMost(spec.max_bullet_lines),
            5 => Bound::AtMost(spec.max_ellipsis_lines),
            6 => Bound::AtLeast(spec.min_alphabetic_words),
            _ => Bound::AtLeast(count(spec.min_stop_words)),
        }
    }
}

#[cfg(test)]
mod tests {
    use setaccio_base::row::Row;

    use super::*;
    use crate::filter::Verdict;

    // What each measure is of some 330 texts, and where each bound lies, is held against `tests/oracles/quality.py` in `quality.rs`.

    fn dropped(spec: &GopherQuality, text: &str) -> Option<String> {
        let filters = spec.compile(&Context::default()).unwrap_or_else(|e| panic!("{e}"));
        filters.iter().find_map(|filter| match filter.on_row(&mut Row::text(text)) {
            Verdict::Drop(why) => Some(why.detail),
            _ => None,
        })
    }

    #[test]
    fn prose_stays_and_what_is_none_says_why() {
        let spec =
            GopherQuality { min_words: 4, stop_words: vec!["di".into(), "il".into()], ..GopherQuality::default() };
        for (text, detail) in [
            ("Il gatto di casa dorme sul divano.", None),
            ("IL GATTO DI CASA dorme sul divano.", None),
            ("Il gatto di", Some("words 3, from 4 to 100000")),
            ("a b c d e f", Some("mean_word_length 1, from 3 to 10")),
            ("#gatto #divano #casa #sonno", Some("hashes 1, at most 0.1")),
            ("- il gatto\n* di casa dorme", Some("bullet_lines 1, at most 0.9")),
            ("Il gatto di casa...", Some("ellipses 0.25, at most 0.1")),
            ("gatto | cane | topo | lupo", Some("alphabetic_words 0.5714, at least 0.8")),
            ("Gatto, cane, topo, il lupo.", Some("stop_words 1, at least 2")),
        ] {
            assert_eq!(dropped(&spec, text).as_deref(), detail, "{text}");
        }
        let cased = GopherQuality { as_in: AsIn::Datatrove, ..spec };
        assert_eq!(dropped(&cased, "IL GATTO DI CASA dorme sul divano.").as_deref(), Some("stop_words 0, at least 2"));
    }
}
