//! Looks for items in rows.

use std::{collections::BTreeSet, ops::Range};

use setaccio_base::row::Content;
use setaccio_dataset::recipe::ShingleUnit;

use super::index::Index;
use crate::words::Words;

/// Characters of a span that are shown of each end of a long one.
const SHOWN: usize = 90;

/// What a row holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The item that it holds the most of: the largest share, then the most words, then the first.
    pub item: u32,
    /// The words of its text that are in the row.
    pub covered: u32,
    /// The words of its text.
    pub words: u32,
    /// The number of the row's text, in reading order, that has the longest span.
    pub part: usize,
    /// That span, in bytes.
    pub span: Range<usize>,
}

impl Found {
    /// What is said of a row: set, item, and what of it stands where.
    pub fn detail(&self, index: &Index, content: &Content) -> String {
        let text = content.texts().nth(self.part).unwrap_or_default();
        let (set, name) = (&index.sets[index.set_of(self.item)].name, index.name(self.item));
        let span = text.get(self.span.clone()).unwrap_or_default();
        let start = text.get(..self.span.start).map_or(0, |before| before.chars().count());
        let end = start + span.chars().count();
        let Self { covered, words, .. } = self;
        format!("{set} {name}: {covered} of {words} words, characters {start} to {end}: {}", shown(span))
    }
}

/// A span on one line, of a long one both ends.
fn shown(span: &str) -> String {
    let line = span.split_whitespace().collect::<Vec<_>>().join(" ");
    let characters = line.chars().count();
    if characters <= 2 * SHOWN {
        return line;
    }
    let head: String = line.chars().take(SHOWN).collect();
    let tail: String = line.chars().skip(characters - SHOWN).collect();
    format!("{head} \u{2026} {tail}")
}

/// A run that is in the row and in items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Hit {
    slot: u32,
    length: u32,
}

/// Words of a text that are in the row.
struct Covered {
    text: u32,
    at: u32,
    length: u32,
}

/// Looks for items, row by row, and counts what it finds; keeps its room from one to the next.
pub struct Finder<'a> {
    index: &'a Index,
    words: Words,
    hashes: Vec<u64>,
    hits: Vec<Hit>,
    covered: Vec<Covered>,
    /// Rows that were found, for each set.
    pub rows: Vec<u64>,
    /// Items that rows were found to hold.
    pub items: BTreeSet<u32>,
}

impl<'a> Finder<'a> {
    /// For the items of an index.
    pub fn new(index: &'a Index) -> Self {
        Self {
            index,
            words: Words::new(index.numbers),
            hashes: Vec::new(),
            hits: Vec::new(),
            covered: Vec::new(),
            rows: vec![0; index.sets.len()],
            items: BTreeSet::new(),
        }
    }

    /// The items.
    pub fn index(&self) -> &'a Index {
        self.index
    }

    /// What a row holds, if it holds enough of an item.
    pub fn find(&mut self, content: &Content) -> Option<Found> {
        if self.index.items() == 0 {
            return None;
        }
        self.hits.clear();
        for text in content.texts() {
            self.words.clear(ShingleUnit::Words);
            self.words.add(text);
            self.hashes.clear();
            self.hashes.extend(self.words.hashes());
            for runs in self.index.lengths() {
                let length = runs.length();
                runs.each(self.hashes.iter().copied(), |_, key| {
                    self.hits.extend(self.index.slot(key).map(|slot| Hit { slot, length }));
                });
            }
        }
        if self.hits.is_empty() {
            return None;
        }
        self.hits.sort_unstable();
        self.hits.dedup();
        let (item, text, covered) = self.best()?;
        self.rows[self.index.set_of(item)] += 1;
        let (part, span) = self.longest(content, text);
        Some(Found { item, covered, words: self.index.text(text).words, part, span })
    }

    /// The item, its text and the covered words of what the row holds the most of.
    fn best(&mut self) -> Option<(u32, u32, u32)> {
        self.covered.clear();
        for hit in &self.hits {
            let places = self.index.places(hit.slot).iter();
            self.covered.extend(places.map(|p| Covered { text: p.text, at: p.at(), length: hit.length }));
        }
        self.covered.sort_unstable_by_key(|c| (c.text, c.at));
        let mut best: Option<(u32, u32, u32)> = None;
        for runs in self.covered.chunk_by(|a, b| a.text == b.text) {
            let text = self.index.text(runs[0].text);
            let covered = union(runs);
            let enough =
                self.index.measure.share.is_none_or(|share| f64::from(covered) / f64::from(text.words) >= share);
            if !enough {
                continue;
            }
            self.items.insert(text.item);
            // Texts come in the order of items, so that of equal ones the first stays.
            let more = best.is_none_or(|(_, other, before)| {
                let words = self.index.text(other).words;
                let [mine, others] = [(covered, words), (before, text.words)].map(|(a, b)| u64::from(a) * u64::from(b));
                (mine, text.words) > (others, words)
            });
            if more {
                best = Some((text.item, runs[0].text, covered));
            }
        }
        best
    }

    /// The longest run of words of a row that a text shares, of equal ones the first: the number of the row's text, and the bytes.
    fn longest(&mut self, content: &Content, text: u32) -> (usize, Range<usize>) {
        let mut longest = (0, 0, 0..0);
        for (part, said) in content.texts().enumerate() {
            self.words.clear(ShingleUnit::Words);
            self.words.add_with_places(said);
            self.hashes.clear();
            self.hashes.extend(self.words.hashes());
            let mut shared: Vec<Covered> = Vec::new();
            for runs in self.index.lengths() {
                let length = runs.length();
                runs.each(self.hashes.iter().copied(), |at, key| {
                    let slot = self.index.slot(key);
                    if slot.is_some_and(|slot| self.index.places(slot).iter().any(|place| place.text == text)) {
                        shared.push(Covered { text, at: u32::try_from(at).unwrap_or(u32::MAX), length });
                    }
                });
            }
            shared.sort_unstable_by_key(|c| c.at);
            // Runs that touch are one span.
            let mut end = 0;
            let mut start = u32::MAX;
            for run in &shared {
                if start == u32::MAX || run.at > end {
                    start = run.at;
                }
                end = end.max(run.at + run.length);
                if end - start > longest.0 {
                    let places = &self.words.places;
                    longest = (end - start, part, places[start as usize].start..places[end as usize - 1].end);
                }
            }
        }
        (longest.1, longest.2)
    }
}

/// How many words lie in runs that are sorted by where they begin.
fn union(runs: &[Covered]) -> u32 {
    let (mut covered, mut end) = (0, 0);
    for run in runs {
        let (from, to) = (run.at.max(end), run.at + run.length);
        covered += to.saturating_sub(from);
        end = end.max(to);
    }
    covered
}

#[cfg(test)]
mod tests {
    use setaccio_base::row::Row;
    use setaccio_dataset::decontamination::{Decontamination, Preset};

    use super::*;
    use crate::contamination::Builder;

    fn index(settings: &Decontamination) -> Index {
        let mut builder = Builder::new(settings, true);
        builder.set("quiz");
        // 14 words, then 8, then 5, then 2.
        builder.item("q1", ["Quale fiume attraversa la città di Torino prima di ricevere la Dora e la Stura?"]);
        builder.item("q2", ["Quanto fa sette volte otto meno sei diviso due"]);
        builder.item("q3", ["Chi scrisse i Promessi Sposi"]);
        builder.item("q4", ["Che ora"]);
        builder.finish()
    }

    fn found(index: &Index, row: &Row) -> Option<String> {
        let found = Finder::new(index).find(&row.content)?;
        Some(found.detail(index, &row.content))
    }

    #[test]
    fn half_of_an_item_in_one_row_is_enough_and_less_is_not() {
        let index = index(&Decontamination::default());
        for (text, expected) in [
            ("Che ora è? Nulla di tutto questo è in un quiz, nemmeno il fiume Po.", None),
            // Seven words in a row are no 8-gram.
            ("Si chiede quale fiume attraversa la città di Torino.", None),
            (
                "Si chiede: quale fiume ATTRAVERSA la citta di Torino, prima del Po.",
                Some("quiz q1: 8 of 15 words, characters 11 to 59: quale fiume ATTRAVERSA la citta di Torino, prima"),
            ),
            (
                "E poi: chi scrisse\ni «promessi sposi»? Manzoni.",
                Some("quiz q3: 5 of 5 words, characters 7 to 36: chi scrisse i «promessi sposi"),
            ),
            ("chi scrisse i promessi", None),
        ] {
            assert_eq!(found(&index, &Row::text(text)).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn runs_of_several_turns_come_together_and_the_longest_is_shown() {
        let settings = Decontamination { ngram: Some(3), share: Some(1.0), ..Decontamination::default() };
        let index = index(&settings);
        let row =
            Row::chat(&[("user", "Quanto fa sette volte?"), ("assistant", "Sette volte otto meno sei diviso due.")]);
        let found = Finder::new(&index).find(&row.content).unwrap_or_else(|| panic!("it is there"));
        assert_eq!((found.covered, found.words, found.part), (9, 9, 1));
        assert_eq!(row.content.message_name(found.part).as_deref(), Some("messages[1] (assistant)"));
    }

    #[test]
    fn one_run_of_thirteen_words_is_enough_for_gpt3() {
        let index = index(&Decontamination { preset: Preset::Gpt3, ..Decontamination::default() });
        let run = "fiume attraversa la città di Torino prima di ricevere la Dora e la";
        assert!(found(&index, &Row::text(run)).is_some_and(|f| f.starts_with("quiz q1: 13 of 15 words")));
        assert!(found(&index, &Row::text(run.replace("fiume ", ""))).is_none());
        // Items of fewer words are looked for whole.
        assert!(found(&index, &Row::text("quanto fa sette volte otto meno sei diviso due?")).is_some());
    }

    #[test]
    fn the_item_that_is_there_the_most_is_named_and_all_are_counted() {
        let mut builder = Builder::new(&Decontamination::default(), true);
        builder.set("a");
        builder.item("half", ["uno due tre quattro cinque sei sette otto nove dieci undici dodici"]);
        builder.set("b");
        builder.item("whole", ["uno due tre quattro cinque sei sette otto"]);
        builder.item("twin", ["uno due tre quattro cinque sei sette otto"]);
        let index = builder.finish();
        let mut finder = Finder::new(&index);
        let row = Row::text("Conta: uno, due, tre, quattro, cinque, sei, sette, otto, basta.");
        let found = finder.find(&row.content).map(|f| index.name(f.item).to_owned());
        assert_eq!((found.as_deref(), finder.rows, finder.items.len()), (Some("whole"), vec![0, 1], 3));
    }
}
