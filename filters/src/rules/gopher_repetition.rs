//! The rule `gopher_repetition`.

use std::sync::LazyLock;

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use setaccio_base::row::Kind;

use crate::{
    context::Context,
    filter::Filter,
    lines::strip,
    quality::{self, Bound, Copies, Measure, Measures, Text, characters, duplicates, ratio, share},
    rule::{Rule, RuleError},
    segments::{AsIn, Part, Parts},
};

/// Drop texts that repeat themselves: lines, paragraphs, or runs of words.
///
/// # Why
/// What repeats itself is a template, a menu or a keyword page, and a model that reads much of it repeats itself too.
///
/// `duplicate_paragraphs` and `duplicate_lines` are shares of paragraphs and lines, `duplicate_paragraph_chars` and
/// `duplicate_line_chars` shares of characters. `top_2gram` to `top_4gram` are the share of characters, of all in words, that
/// the most frequent run of so many words makes up (0 if none is there twice), `duplicate_5gram` to `duplicate_10gram` that of
/// all runs that are there more than once; what lies in several runs counts once. A setting of 1 switches a measure off.
///
/// With `as_in = "datatrove"` duplicates are those behind the first; signs are words; a run's characters count as often as it
/// is there, also if that is once, with the spaces in it; duplicate runs are taken from left to right; shares are of all
/// characters of the text. One thing differs: datatrove joins duplicate runs without a space, so that `ab c` and `a bc` are
/// the same to it.
///
/// # Example
/// ```toml
/// [[filter]]
/// rule = "gopher_repetition"
/// ```
/// ```json
/// {"text": "Leggi il resto\nIl mercato apre ogni sabato mattina.\nLeggi il resto\nLa fiera dura tre giorni."}
/// ```
/// ```text
/// dropped by gopher_repetition: duplicate_lines 0.5, at most 0.3
/// ```
///
/// # Source
/// [Gopher](https://arxiv.org/abs/2112.11446), appendix A.1.1 and table A1;
/// [datatrove](https://github.com/huggingface/datatrove/blob/main/src/datatrove/pipeline/filters/gopher_repetition_filter.py).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GopherRepetition {
    /// Most paragraphs that are duplicates, as a share; empty lines end a paragraph.
    pub max_duplicate_paragraphs: f64,
    /// Most characters in these.
    pub max_duplicate_paragraph_chars: f64,
    /// Most lines that are duplicates, as a share.
    pub max_duplicate_lines: f64,
    /// Most characters in these.
    pub max_duplicate_line_chars: f64,
    /// Most characters of the most frequent run of 2, 3 and 4 words.
    pub max_top_ngrams: [f64; 3],
    /// Most characters of duplicate runs of 5 to 10 words.
    pub max_duplicate_ngrams: [f64; 6],
    /// Whose way of counting.
    pub as_in: AsIn,
    /// Drop nothing, and write the measures to columns of the output: `gopher_repetition_top_2gram` and so on.
    pub signals: bool,
}

impl Default for GopherRepetition {
    fn default() -> Self {
        Self {
            max_duplicate_paragraphs: 0.3,
            max_duplicate_paragraph_chars: 0.2,
            max_duplicate_lines: 0.3,
            max_duplicate_line_chars: 0.2,
            max_top_ngrams: [0.2, 0.18, 0.16],
            max_duplicate_ngrams: [0.15, 0.14, 0.13, 0.12, 0.11, 0.1],
            as_in: AsIn::Paper,
            signals: false,
        }
    }
}

impl GopherRepetition {
    /// The filter under this name.
    pub(super) fn filter(&self, name: &'static str, prefix: &str) -> Filter {
        quality::filter(name, prefix, self.clone(), self.signals)
    }
}

impl Rule for GopherRepetition {
    const NAME: &'static str = "gopher_repetition";
    const KINDS: &'static [Kind] = &[Kind::Text];

    fn compile(&self, _: &Context) -> Result<Vec<Filter>, RuleError> {
        Ok(vec![self.filter(Self::NAME, "gopher_repetition_")])
    }
}

static EMPTY_LINES: LazyLock<Regex> = LazyLock::new(|| Regex::new("\n{2,}").unwrap_or_else(|e| unreachable!("{e}")));
/// An empty line may hold white space.
static BLANK_LINES: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\n[^\S\n]*\n\s*").unwrap_or_else(|e| unreachable!("{e}")));

impl GopherRepetition {
    fn paragraphs(&self, text: &Text<'_>) -> Parts {
        text.segments.count_paragraphs(|| {
            let (shown, paragraphs): (_, Vec<&str>) = match self.as_in {
                AsIn::Paper => {
                    let form = text.segments.form(text.raw);
                    (form, BLANK_LINES.split(form).map(str::trim).filter(|part| !part.is_empty()).collect())
                }
                AsIn::Datatrove => (text.raw, EMPTY_LINES.split(strip(text.raw)).collect()),
            };
            let paragraphs: Vec<Part> = paragraphs.into_iter().map(|part| Part::within(shown, part)).collect();
            self.counted(text, shown, &paragraphs, paragraphs.len())
        })
    }

    fn lines(&self, text: &Text<'_>) -> Parts {
        text.segments.count_lines(|| {
            let (shown, lines) = text.segments.lines(text.raw);
            // What is before the first line end and behind the last counts in datatrove, also if it is empty.
            let ends = match self.as_in {
                AsIn::Paper => 0,
                AsIn::Datatrove if shown.is_empty() => 1,
                AsIn::Datatrove => usize::from(shown.starts_with('\n')) + usize::from(shown.ends_with('\n')),
            };
            let mut parts = self.counted(text, shown, lines, lines.len() + ends);
            parts.twice += usize::from(ends == 2);
            parts
        })
    }

    fn counted(&self, text: &Text<'_>, shown: &str, parts: &[Part], all: usize) -> Parts {
        let paper = self.as_in == AsIn::Paper;
        let (twice, twice_chars) =
            duplicates(shown, parts.iter(), if paper { Copies::All } else { Copies::BehindTheFirst });
        // The characters of all are needed only where some are there twice.
        let chars = match twice {
            0 => 1,
            _ if paper => parts.iter().map(|part| characters(part.said(shown))).sum(),
            _ => text.segments.characters(text.raw),
        };
        Parts { all, twice, twice_chars, chars }
    }
}

impl Measures for GopherRepetition {
    const MEASURES: &'static [Measure] = &[
        share("duplicate_paragraphs"),
        share("duplicate_paragraph_chars"),
        share("duplicate_lines"),
        share("duplicate_line_chars"),
        share("top_2gram"),
        share("top_3gram"),
        share("top_4gram"),
        share("duplicate_5gram"),
        share("duplicate_6gram"),
        share("duplicate_7gram"),
        share("duplicate_8gram"),
        share("duplicate_9gram"),
        share("duplicate_10gram"),
    ];

    fn as_in(&self) -> AsIn {
        self.as_in
    }

    fn measure(&self, number: usize, text: &Text<'_>) -> f64 {
        let of_number = |parts: &Parts| ratio(parts.twice, parts.all);
        let of_chars = |parts: &Parts| ratio(parts.twice_chars, parts.chars);
        let ngrams = || text.segments.ngrams();
        let chars = || match self.as_in {
            AsIn::Paper => ngrams().chars,
            AsIn::Datatrove => text.segments.characters(text.raw) as u64,
        };
        match number {
            0 => of_number(&self.paragraphs(text)),
            1 => of_chars(&self.paragraphs(text)),
            2 => of_number(&self.lines(text)),
            3 => of_chars(&self.lines(text)),
            4..=6 => ratio(ngrams().top[number - 4], chars()),
            _ => ratio(ngrams().duplicate[number - 7], chars()),
        }
    }

    fn bound(&self, number: usize) -> Bound {
        let most = match number {
            0 => self.max_duplicate_paragraphs,
            1 => self.max_duplicate_paragraph_chars,
            2 => self.max_duplicate_lines,
            3 => self.max_duplicate_line_chars,
            4..=6 => self.max_top_ngrams[number - 4],
            _ => self.max_duplicate_ngrams[number - 7],
        };
        if most < 1.0 { Bound::AtMost(most) } else { Bound::Any }
    }
}

#[cfg(test)]
mod tests {
    use setaccio_base::row::Row;

    use super::*;
    use crate::filter::Verdict;

    // What each measure is of some 330 texts, and where each bound lies, is held against `tests/oracles/quality.py` in `quality.rs`.

    fn dropped(spec: &GopherRepetition, text: &str) -> Option<String> {
        let filters = spec.compile(&Context::default()).unwrap_or_else(|e| panic!("{e}"));
        filters.iter().find_map(|filter| match filter.on_row(&mut Row::text(text)) {
            Verdict::Drop(why) => Some(why.detail),
            _ => None,
        })
    }

    #[test]
    fn what_repeats_itself_goes() {
        let spec = GopherRepetition::default();
        let block = "Il mercato apre.\n\n";
        for (text, detail) in [
            ("Il mercato del paese apre ogni sabato mattina.\nLa fiera dura tre giorni.", None),
            (
                &[block, block, "La fiera dura tre giorni e basta."].concat(),
                Some("duplicate_paragraphs 0.6667, at most 0.3"),
            ),
            ("uno\ndue\nuno\ntre", Some("duplicate_lines 0.5, at most 0.3")),
            ("di oggi, di oggi, di oggi e di ieri", Some("top_2gram 0.72, at most 0.2")),
        ] {
            assert_eq!(dropped(&spec, text).as_deref(), detail, "{text}");
        }
        let first = GopherRepetition { as_in: AsIn::Datatrove, ..spec };
        assert_eq!(dropped(&first, "uno\ndue\nuno\ntre").as_deref(), Some("top_2gram 0.4667, at most 0.2"));
    }
}
