//! A recipe's filters in order, applied to one row at a time.
//!
//! Neighbouring line filters share one pass: each line runs through all of them before the next line is
//! looked at, as in the script that made clean_mc4_it, so a phrase that drops the document ("lorem ipsum",
//! `{`) is looked for only in what the line filters before it left.

use std::ops::Range;

use serde_json::Value;
use setaccio_base::{
    filter_report::Tally,
    row::{Content, Kind, Row},
};

use crate::{
    filter::{Filter, LineVerdict, Reason, Scope, Seen, Signal, Verdict},
    lines::{split_lines, strip},
    rule::RuleError,
    sieve::Sieve,
};

/// The reason a row was dropped for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Index of the filter.
    pub filter: usize,
    /// The matched word or the measured value.
    pub detail: String,
    /// The message that it is said of, by its number in reading order: filters edit messages and take none away.
    pub message: Option<usize>,
}

/// The compiled rules of a recipe.
pub struct Pipeline {
    filters: Vec<Filter>,
    passes: Vec<Pass>,
}

/// What goes over a row at once: filters by their places.
enum Pass {
    /// A document filter.
    Document(usize),
    /// Neighbouring line filters.
    Lines {
        run: Range<usize>,
        /// The phrases that some of them look for.
        sieve: Option<Sieve>,
    },
}

impl Pipeline {
    /// Put `filters` in order, numbering repeated names (`length`, `length#2`).
    ///
    /// # Errors
    /// A line filter in a recipe whose rows have no lines.
    pub fn new(mut filters: Vec<Filter>, kind: Kind) -> Result<Self, RuleError> {
        for i in 0..filters.len() {
            if kind != Kind::Text && matches!(filters[i].scope, Scope::Line(_)) {
                return Err(RuleError::setting(format!(
                    "`{}` works on the lines of texts, and this recipe's kind is {}",
                    filters[i].name,
                    kind.name()
                )));
            }
            let base = filters[i].name.clone();
            let mut n = 2;
            while filters[..i].iter().any(|s| s.name == filters[i].name) {
                filters[i].name = format!("{base}#{n}").into();
                n += 1;
            }
            let before = filters[..i].iter().flat_map(Filter::signals);
            if let Some(twice) = before.into_iter().find(|s| filters[i].signals().iter().any(|t| t.column == s.column))
            {
                return Err(RuleError::setting(format!(
                    "two filters write the column `{}`; take `signals` from one of them",
                    twice.column
                )));
            }
        }
        let passes = passes(&filters);
        Ok(Self { filters, passes })
    }

    /// The filters' names in order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.filters.iter().map(|s| s.name.as_ref())
    }

    /// The source's columns that the filters read, some perhaps twice.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.filters.iter().flat_map(Filter::columns).map(String::as_str)
    }

    /// The columns that the filters write.
    pub fn signals(&self) -> impl Iterator<Item = &Signal> {
        self.filters.iter().flat_map(Filter::signals)
    }

    /// A zeroed tally for every filter.
    #[must_use]
    pub fn tallies(&self) -> Vec<Tally> {
        vec![Tally::default(); self.filters.len()]
    }

    /// Run one row through. A dropped row is left as it was read, for the rejects; a kept one is edited.
    /// `tallies` has one entry a filter ([`Pipeline::tallies`]).
    pub fn apply(&self, row: &mut Row, tallies: &mut [Tally]) -> Option<Rejection> {
        let bytes = row.content.bytes();
        let language = row.language.clone();
        let mut as_read: Option<Content> = None;
        // What stood where measures are written; most pipelines write none.
        let columns: Vec<(&str, Option<Value>)> =
            self.signals().map(|s| (s.column.as_str(), row.columns.get(&s.column).cloned())).collect();
        // Of the row as it is; an edit takes it away.
        let mut seen = Seen::default();
        for pass in &self.passes {
            let verdict = match pass {
                Pass::Document(at) => {
                    let at = *at;
                    let Scope::Document(filter) = &self.filters[at].scope else { unreachable!("a document filter") };
                    let (verdict, before) = filter.apply_sharing(row, &seen);
                    if matches!(verdict, Verdict::Edited(_)) {
                        tallies[at].rows_edited += 1;
                        seen = Seen::default();
                    }
                    as_read = as_read.or(before);
                    match verdict {
                        Verdict::Drop(Reason { detail, message }) => Some(Rejection { filter: at, detail, message }),
                        _ => None,
                    }
                }
                Pass::Lines { run, sieve } => {
                    let Content::Text(text) = &mut row.content else { unreachable!("checked in Pipeline::new") };
                    match self.lines(run.clone(), sieve.as_ref(), text, tallies) {
                        Ok(None) => None,
                        Ok(Some(edited)) => {
                            let read = std::mem::replace(text, edited);
                            as_read.get_or_insert(Content::Text(read));
                            seen = Seen::default();
                            None
                        }
                        Err(dropped) => Some(dropped),
                    }
                }
            };
            if let Some(dropped) = verdict {
                tallies[dropped.filter].dropped += 1;
                tallies[dropped.filter].dropped_bytes += bytes;
                if let Some(content) = as_read {
                    row.content = content;
                }
                row.language = language;
                for (column, held) in columns {
                    match held {
                        Some(held) => drop(row.columns.insert(column.to_owned(), held)),
                        None => drop(row.columns.shift_remove(column)),
                    }
                }
                return Some(dropped);
            }
        }
        None
    }

    /// One pass of the line filters in the range `run` over `text`: the new text, or `None` if nothing changed.
    /// Lines are stripped before, and the text after; empty lines vanish without being counted, as the original's do.
    fn lines(
        &self,
        run: Range<usize>,
        sieve: Option<&Sieve>,
        text: &str,
        tallies: &mut [Tally],
    ) -> Result<Option<String>, Rejection> {
        let nowhere = sieve.is_some_and(|s| !s.holds_any(text));
        let mut kept = String::with_capacity(text.len());
        'lines: for line in split_lines(text).map(strip).filter(|l| !l.is_empty()) {
            let mut edited: Option<String> = None;
            // Whether a phrase is in the line as it is now: an edit may bring one about.
            let mut holds_any = nowhere.then_some(false);
            for at in run.clone() {
                let Scope::Line(filter) = &self.filters[at].scope else { unreachable!("a run of line filters") };
                if let Some(sieve) = sieve
                    && filter.phrases().is_some_and(|finder| sieve.covers(finder))
                    && !*holds_any.get_or_insert_with(|| sieve.holds_any(edited.as_deref().unwrap_or(line)))
                {
                    continue;
                }
                match filter.filter(edited.as_deref().unwrap_or(line)) {
                    LineVerdict::Keep => {}
                    LineVerdict::Edit(text) => {
                        tallies[at].lines_edited += 1;
                        edited = Some(text);
                        holds_any = None;
                    }
                    LineVerdict::DropLine => {
                        tallies[at].lines_dropped += 1;
                        continue 'lines;
                    }
                    LineVerdict::DropDocument(detail) => {
                        return Err(Rejection { filter: at, detail, message: None });
                    }
                }
            }
            if !kept.is_empty() {
                kept.push('\n');
            }
            kept.push_str(edited.as_deref().unwrap_or(line));
        }
        // A line may begin with the space before a mark that was deleted; the text does not.
        let stripped = strip(&kept);
        let kept = if stripped.len() < kept.len() { stripped.to_owned() } else { kept };
        Ok((kept != text).then_some(kept))
    }
}

/// The passes of a pipeline, in order.
fn passes(filters: &[Filter]) -> Vec<Pass> {
    let mut passes = Vec::new();
    let mut at = 0;
    for run in filters.chunk_by(|a, b| matches!((&a.scope, &b.scope), (Scope::Line(_), Scope::Line(_)))) {
        let end = at + run.len();
        passes.push(if matches!(run[0].scope, Scope::Document(_)) {
            Pass::Document(at)
        } else {
            let finders: Vec<_> = run.iter().filter_map(Filter::phrases).collect();
            Pass::Lines { run: at..end, sieve: Sieve::new(&finders) }
        });
        at = end;
    }
    passes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        context::Context,
        filter::{Document, DocumentFilter},
        registry::find,
    };

    fn pipeline(rules: &[&str], kind: Kind) -> Result<Pipeline, RuleError> {
        let filters = rules.iter().map(|r| find(r)?.compile(toml::Table::new(), &Context::default()));
        Pipeline::new(filters.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect(), kind)
    }

    #[test]
    fn rows_in_are_rows_kept_and_dropped() -> Result<(), RuleError> {
        let filters = [("line_end", ""), ("length", "min_chars = 10"), ("phrases", "phrases = ['pubblicità']")];
        let filters = filters.iter().map(|(r, t)| find(r)?.compile(t.parse().unwrap_or_default(), &Context::default()));
        let pipeline =
            Pipeline::new(filters.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect(), Kind::Text)?;
        let mut tallies = pipeline.tallies();
        let texts =
            ["Menu\nIl gatto dorme sul divano.", "Menu", "Il cane.", "Solo pubblicità qui dentro.\nE poi basta così."];
        let kept = texts.iter().filter(|t| pipeline.apply(&mut Row::text(**t), &mut tallies).is_none()).count() as u64;
        assert_eq!(kept + tallies.iter().map(|t| t.dropped).sum::<u64>(), texts.len() as u64);
        assert_eq!(tallies.iter().map(|t| t.dropped).collect::<Vec<_>>(), [0, 2, 0]);
        assert_eq!(tallies.iter().map(|t| t.lines_dropped).collect::<Vec<_>>(), [2, 0, 1]);
        Ok(())
    }

    #[test]
    fn a_language_set_by_a_filter_is_taken_back_on_a_drop() -> Result<(), RuleError> {
        let mut filters = find("language")?.compile(toml::Table::new(), &Context::default())?;
        filters.extend(find("length")?.compile(toml::toml!(min_chars = 100), &Context::default())?);
        let pipeline = Pipeline::new(filters, Kind::Text)?;
        let mut row = Row::text("Il gatto dorme sul divano.");
        assert!(pipeline.apply(&mut row, &mut pipeline.tallies()).is_some());
        assert_eq!(row.language, None);
        Ok(())
    }

    struct TooShort;
    impl DocumentFilter for TooShort {
        fn filter(&self, document: &mut Document<'_>) -> Verdict {
            let bytes = document.content().bytes();
            if bytes < 20 { Verdict::Drop(format!("{bytes} bytes").into()) } else { Verdict::Keep }
        }
    }

    #[test]
    fn a_dropped_row_is_left_as_read() {
        let rule = find("min_words_per_line").and_then(|r| r.compile(toml::Table::new(), &Context::default()));
        let mut filters = rule.unwrap_or_else(|e| panic!("{e}"));
        filters.push(Filter::document("too_short", TooShort));
        let pipeline = Pipeline::new(filters, Kind::Text).unwrap_or_else(|e| panic!("{e}"));
        let mut tallies = pipeline.tallies();
        let mut row = Row::text("Home\nIl gatto dorme.");
        assert_eq!(
            pipeline.apply(&mut row, &mut tallies),
            Some(Rejection { filter: 1, detail: "15 bytes".into(), message: None })
        );
        assert_eq!(row, Row::text("Home\nIl gatto dorme."));
        assert_eq!(tallies[0], Tally { lines_dropped: 1, ..Tally::default() });
        assert_eq!(tallies[1], Tally { dropped: 1, dropped_bytes: 20, ..Tally::default() });
    }

    #[test]
    fn repeated_rules_are_numbered_and_line_filters_need_lines() {
        let rules = ["min_words_per_line", "min_words_per_line"];
        let names: Vec<String> =
            pipeline(&rules, Kind::Text).map(|s| s.names().map(str::to_owned).collect()).unwrap_or_default();
        assert_eq!(names, ["min_words_per_line", "min_words_per_line#2"]);
        let refused = pipeline(&rules, Kind::Chat).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(refused.contains("works on the lines of texts, and this recipe's kind is chat"), "{refused}");
    }
}
