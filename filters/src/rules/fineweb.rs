//! The rule `fineweb`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use setaccio_base::row::Kind;

use crate::{
    context::Context,
    filter::Filter,
    lines::strip,
    quality::{self, Bound, Copies, Measure, Measures, Text, characters, duplicates, ratio, share},
    rule::{Rule, RuleError},
    segments::{AsIn, Part},
    sentences::ends_sentences,
};

/// Drop texts whose lines are no sentences: few end in a mark, many are short or twice there.
///
/// # Why
/// These are the measures that FineWeb's authors found to tell pages that made a model better from others, beside those of
/// C4 and Gopher.
///
/// `ending_lines` is the share of lines that end in a mark, `short_lines` that of lines of fewer than `short_line` characters,
/// `duplicate_line_chars` the share of characters in lines that are there more than once, `new_lines` the number of line ends to
/// that of words, which the paper does not have. Full stops of other scripts are marks too.
///
/// With `as_in = "datatrove"` a line of `short_line` characters is short, duplicates are those behind the first, and what is at
/// the bound stays. Its marks are those that end sentences, `marks = ".?!"`, without quotes, colons and `…`, and its
/// default for `max_duplicate_line_chars` is 0.01.
///
/// # Example
/// ```toml
/// [[filter]]
/// rule = "fineweb"
/// ```
/// ```json
/// {"text": "Scarpe da uomo in offerta con spedizione gratuita\nBorse da donna in offerta con spedizione gratuita"}
/// ```
/// ```text
/// dropped by fineweb: ending_lines 0, above 0.12
/// ```
///
/// # Source
/// [FineWeb](https://arxiv.org/abs/2406.17557), section 3.6;
/// [datatrove](https://github.com/huggingface/datatrove/blob/main/src/datatrove/pipeline/filters/fineweb_quality_filter.py).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FineWeb {
    /// A share of lines that end in a mark of no more than this drops the text.
    pub min_ending_lines: f64,
    /// What lines end with, beside the full stops of other scripts.
    pub marks: String,
    /// A share of short lines of this and more drops the text; above 1: none does.
    pub max_short_lines: f64,
    /// Characters from which on a line is not short.
    pub short_line: usize,
    /// A share of characters in duplicate lines of this and more drops the text; above 1: none does.
    pub max_duplicate_line_chars: f64,
    /// Most line ends to words. The paper has no such measure, datatrove 0.3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_new_lines: Option<f64>,
    /// Whose way of counting.
    pub as_in: AsIn,
    /// Drop nothing, and write the measures to columns of the output: `fineweb_ending_lines` and so on.
    pub signals: bool,
}

impl Default for FineWeb {
    fn default() -> Self {
        Self {
            min_ending_lines: 0.12,
            marks: ".?!…:;\"'”’»)".into(),
            max_short_lines: 0.67,
            short_line: 30,
            max_duplicate_line_chars: 0.1,
            max_new_lines: None,
            as_in: AsIn::Paper,
            signals: false,
        }
    }
}

impl FineWeb {
    /// The filter under this name.
    pub(super) fn filter(&self, name: &'static str, prefix: &str) -> Filter {
        quality::filter(name, prefix, self.clone(), self.signals)
    }
}

/// Each line that is not empty, and the text that they are of.
fn lines_of<'a>(text: &Text<'a>) -> (&'a str, impl Iterator<Item = &'a Part>) {
    let (shown, lines) = text.segments.lines(text.raw);
    // In datatrove white space stands around them, and may be all of them.
    let blank = |line: &str| !line.starts_with(|c: char| c.is_ascii_graphic()) && strip(line).is_empty();
    (shown, lines.iter().filter(move |line| !blank(line.said(shown))))
}

/// The share of lines of which something is so.
fn share_of<'a>(text: &str, lines: impl Iterator<Item = &'a Part>, holds: impl Fn(&str) -> bool) -> f64 {
    let (all, held) =
        lines.fold((0_usize, 0_usize), |(all, held), line| (all + 1, held + usize::from(holds(line.said(text)))));
    ratio(held, all)
}

fn line_ends(text: &str) -> usize {
    memchr::memchr_iter(b'\n', text.as_bytes()).count()
}

impl Rule for FineWeb {
    const NAME: &'static str = "fineweb";
    const KINDS: &'static [Kind] = &[Kind::Text];

    fn compile(&self, _: &Context) -> Result<Vec<Filter>, RuleError> {
        Ok(vec![self.filter(Self::NAME, "fineweb_")])
    }
}

impl Measures for FineWeb {
    const MEASURES: &'static [Measure] =
        &[share("ending_lines"), share("short_lines"), share("duplicate_line_chars"), share("new_lines")];

    fn as_in(&self) -> AsIn {
        self.as_in
    }

    fn measure(&self, number: usize, text: &Text<'_>) -> f64 {
        let paper = self.as_in == AsIn::Paper;
        let (shown, lines) = lines_of(text);
        match number {
            0 => share_of(shown, lines, |line| line.ends_with(|c: char| self.marks.contains(c) || ends_sentences(c))),
            1 => {
                let least = if paper { self.short_line } else { self.short_line + 1 };
                // Of no line are there fewer characters than a quarter of its bytes.
                share_of(shown, lines, |line| line.len() < least * 4 && characters(line) < least)
            }
            2 => {
                let copies = if paper { Copies::All } else { Copies::BehindTheFirst };
                let (_, twice) = duplicates(shown, lines, copies);
                let all = || {
                    if paper {
                        lines_of(text).1.map(|line| characters(line.said(shown))).sum()
                    } else {
                        text.segments.characters(text.raw) - line_ends(text.raw)
                    }
                };
                if twice == 0 { 0.0 } else { ratio(twice, all()) }
            }
            _ => {
                let words = if paper { text.segments.word_count(text.raw) } else { text.segments.tokens().len() };
                ratio(line_ends(text.raw), words)
            }
        }
    }

    fn bound(&self, number: usize) -> Bound {
        let paper = self.as_in == AsIn::Paper;
        let most = |most: f64| match paper {
            _ if most > 1.0 => Bound::Any,
            true => Bound::Below(most),
            false => Bound::AtMost(most),
        };
        match number {
            0 if paper => Bound::Above(self.min_ending_lines),
            0 => Bound::AtLeast(self.min_ending_lines),
            1 => most(self.max_short_lines),
            2 => most(self.max_duplicate_line_chars),
            _ => self.max_new_lines.map_or(Bound::Any, Bound::AtMost),
        }
    }
}

#[cfg(test)]
mod tests {
    use setaccio_base::row::Row;

    use super::*;
    use crate::filter::Verdict;

    // What each measure is of some 330 texts, and where each bound lies, is held against `tests/oracles/quality.py` in `quality.rs`.

    fn dropped(spec: &FineWeb, text: &str) -> Option<String> {
        let filters = spec.compile(&Context::default()).unwrap_or_else(|e| panic!("{e}"));
        filters.iter().find_map(|filter| match filter.on_row(&mut Row::text(text)) {
            Verdict::Drop(why) => Some(why.detail),
            _ => None,
        })
    }

    #[test]
    fn lines_that_are_sentences_stay() {
        let spec = FineWeb::default();
        let sentence = "La fiera del paese dura tre giorni e poi basta.";
        for (text, detail) in [
            (sentence.to_owned(), None),
            ("Scarpe da uomo in offerta con spedizione".to_owned(), Some("ending_lines 0, above 0.12")),
            ("Sì.\nNo.\nForse.".to_owned(), Some("short_lines 1, below 0.67")),
            (format!("{sentence}\n{sentence}"), Some("duplicate_line_chars 1, below 0.1")),
        ] {
            assert_eq!(dropped(&spec, &text).as_deref(), detail, "{text}");
        }
        let lists = FineWeb { max_new_lines: Some(0.1), ..FineWeb::default() };
        let text = format!("{sentence}\nE un'altra riga finisce qui con un punto.");
        assert_eq!(dropped(&lists, &text), None);
        assert!(dropped(&lists, &format!("{text}\n\n\n")).is_some_and(|d| d.starts_with("new_lines 0.2")));
    }
}
