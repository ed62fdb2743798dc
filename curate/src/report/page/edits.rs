//! What rules that edit make of texts. No build keeps what an edit took away; but a row that was dropped lies in the rejects as it was read, and
//! the rules before the one that dropped it edited it on the way. They are asked again, one by one, about the rows that the page shows.

use std::{collections::BTreeMap, ops::Range};

use setaccio_base::{
    page::PageRow,
    row::{Content, Row as Document},
};

use super::{contents::Row, dropped::Place, marks};
use crate::plan::Single;

/// Lines that are looked through for one that stayed.
const AHEAD: usize = 200;

/// A row, and its texts before and after a rule.
pub struct Edit {
    place: Place,
    /// What each text is, how it was and what became of it; those that changed.
    texts: Vec<(String, [String; 2])>,
}

impl Edit {
    /// As a page shows it, in `budget` bytes.
    pub fn shown(&self, rows: &BTreeMap<Place, Row>, budget: usize) -> Option<PageRow> {
        let row = rows.get(&self.place)?;
        let budget = budget / (2 * self.texts.len().max(1));
        let sides = self.texts.iter().flat_map(|(label, [before, after])| {
            let marked = differing(before, after);
            let label = |side: &str| if label.is_empty() { side.to_owned() } else { format!("{label}, {side}") };
            [("before", before, &marked[0]), ("after", after, &marked[1])]
                .map(|(side, text, marks)| marks::cut(label(side), text, marks, budget))
        });
        Some(PageRow { texts: sides.collect(), beside: true, ..row.named() })
    }
}

/// What `rules` edit in these rows, `most` rows a rule, by the rules' names.
pub fn of_rules<'r>(
    rules: &[Single],
    rows: impl Iterator<Item = (&'r Place, &'r Row)>,
    most: usize,
) -> BTreeMap<String, Vec<Edit>> {
    let mut found: BTreeMap<String, Vec<Edit>> = BTreeMap::new();
    for (place, row) in rows {
        // What no filter dropped lies there as the filters left it.
        let filtered = rules.iter().any(|rule| rule.name == row.rule);
        let Some(mut document) = row.document().filter(|_| filtered) else { continue };
        for rule in rules.iter().take_while(|rule| rule.name != row.rule) {
            let before = document.content.clone();
            let mut tallies = rule.pipeline.tallies();
            if rule.pipeline.apply(&mut document, &mut tallies).is_some() {
                break;
            }
            let edits = found.entry(rule.name.clone()).or_default();
            if edits.len() < most {
                let texts = changed(&before, &document);
                edits.extend((!texts.is_empty()).then_some(Edit { place: *place, texts }));
            }
        }
    }
    found
}

/// The texts that changed.
fn changed(before: &Content, after: &Document) -> Vec<(String, [String; 2])> {
    let pairs = before.texts().zip(after.content.texts()).enumerate().filter(|(_, (before, after))| before != after);
    pairs.map(|(i, (a, b))| (before.message_name(i).unwrap_or_default(), [a.to_owned(), b.to_owned()])).collect()
}

/// Lines of a text, with their places. What is around a line is no part of it.
fn lines(text: &str) -> Vec<(Range<usize>, &str)> {
    let start = |line: &str| line.as_ptr() as usize - text.as_ptr() as usize;
    let lines = text.split('\n').map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| (start(line)..start(line) + line.len(), line)).collect()
}

/// What of each text is not in the other: whole lines, or the middle of one that was edited.
fn differing(before: &str, after: &str) -> [Vec<Range<usize>>; 2] {
    let (old, new) = (lines(before), lines(after));
    let (mut i, mut j) = (0, 0);
    let mut marks = [Vec::new(), Vec::new()];
    while let Some((place, line)) = old.get(i) {
        let Some((kept_place, kept)) = new.get(j) else {
            marks[0].push(place.clone());
            i += 1;
            continue;
        };
        if line == kept {
            (i, j) = (i + 1, j + 1);
        } else if let Some(ahead) = old[i + 1..].iter().take(AHEAD).position(|(_, line)| line == kept) {
            marks[0].extend(old[i..=i + ahead].iter().map(|(place, _)| place.clone()));
            i += ahead + 1;
        } else {
            let [a, b] = middle(line, kept);
            marks[0].extend(within(place, &a));
            marks[1].extend(within(kept_place, &b));
            (i, j) = (i + 1, j + 1);
        }
    }
    marks[1].extend(new[j..].iter().map(|(place, _)| place.clone()));
    marks
}

fn within(place: &Range<usize>, part: &Range<usize>) -> Option<Range<usize>> {
    (!part.is_empty()).then(|| place.start + part.start..place.start + part.end)
}

/// What is between the beginning and the end that two lines share.
fn middle(a: &str, b: &str) -> [Range<usize>; 2] {
    let start: usize = a.chars().zip(b.chars()).take_while(|(x, y)| x == y).map(|(x, _)| x.len_utf8()).sum();
    let (rest_a, rest_b) = (&a[start..], &b[start..]);
    let end: usize =
        rest_a.chars().rev().zip(rest_b.chars().rev()).take_while(|(x, y)| x == y).map(|(x, _)| x.len_utf8()).sum();
    [start..a.len() - end, start..b.len() - end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_went_and_what_was_edited_are_marked() {
        let marked = |before: &str, after: &str| -> [Vec<String>; 2] {
            let [a, b] = differing(before, after);
            let parts =
                |text: &str, ranges: Vec<Range<usize>>| ranges.into_iter().map(|r| text[r].to_owned()).collect();
            [parts(before, a), parts(after, b)]
        };
        for (before, after, expected) in [
            ("Menu\nIl gatto dorme.\n\nLogin", "Il gatto dorme.", [vec!["Menu", "Login"], vec![]]),
            (
                "uno\nScrivi ad a@b.example ora\ndue",
                "uno\nScrivi ad <EMAIL> ora\ndue",
                [vec!["a@b.example"], vec!["<EMAIL>"]],
            ),
            ("così [1] è", "così è", [vec!["[1] "], vec![]]),
            ("  uno  \ndue", "uno\ndue", [vec![], vec![]]),
            ("a\nb\nc", "c", [vec!["a", "b"], vec![]]),
            ("a", "a\nb", [vec![], vec!["b"]]),
            ("àé", "à", [vec!["é"], vec![]]),
        ] {
            assert_eq!(
                marked(before, after),
                expected.map(|parts| parts.into_iter().map(str::to_owned).collect::<Vec<_>>())
            );
        }
    }
}
