//! Where a text says what a rule matched, and as much of a long text as a page holds.

use std::ops::Range;

use setaccio_base::page::{Text, size};
use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

/// Characters in which a match is looked for: rows of fifty megabytes are rows, too.
const LOOKED_AT: usize = 1 << 20;

/// Matches that are marked in one text.
const MOST: usize = 50;

/// A character without case and accents, and the bytes that it stands for.
type Folded = (char, Range<usize>);

/// In lower case, without accents, every run of white space one space.
fn folded(text: &str) -> Vec<Folded> {
    let mut out: Vec<Folded> = Vec::new();
    for (at, c) in text.char_indices().take(LOOKED_AT) {
        let bytes = at..at + c.len_utf8();
        if c.is_whitespace() {
            match out.last_mut() {
                Some((' ', space)) => space.end = bytes.end,
                _ => out.push((' ', bytes)),
            }
        } else if is_combining_mark(c) {
            // It belongs to what it stands on.
            if let Some((_, before)) = out.last_mut() {
                before.end = bytes.end;
            }
        } else {
            let plain = c.to_lowercase().nfd().filter(|c| !is_combining_mark(*c));
            out.extend(plain.map(|plain| (plain, bytes.clone())));
        }
    }
    out
}

/// Where `text` says `matched`, whatever case, accents and white space: between other characters than letters and digits if it
/// does so anywhere, else within words.
pub fn find(text: &str, matched: &str) -> Vec<Range<usize>> {
    let wanted: Vec<char> = folded(matched.trim()).into_iter().map(|(c, _)| c).collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let there = folded(text);
    let letter = |at: Option<usize>| at.and_then(|at| there.get(at)).is_some_and(|(c, _)| c.is_alphanumeric());
    let ends = |at: usize| !letter(at.checked_sub(1)) && !letter(Some(at + wanted.len()));
    let (mut words, mut within) = (Vec::new(), Vec::new());
    let mut from = 0;
    for (at, window) in there.windows(wanted.len()).enumerate() {
        if at < from || !window.iter().map(|(c, _)| c).eq(&wanted) {
            continue;
        }
        let found = window[0].1.start..window[window.len() - 1].1.end;
        if ends(at) {
            words.push(found);
        } else {
            within.push(found);
        }
        from = at + wanted.len();
        if words.len() == MOST {
            break;
        }
    }
    within.truncate(MOST);
    if words.is_empty() { within } else { words }
}

/// The characters of a span that a detail of `decontamination` names, as bytes of the text.
pub fn span(text: &str, detail: &str) -> Option<Range<usize>> {
    let (_, rest) = detail.split_once(" words, characters ")?;
    let (start, rest) = rest.split_once(" to ")?;
    let (end, _) = rest.split_once(':')?;
    let [start, end]: [usize; 2] = [start.parse().ok()?, end.parse().ok()?];
    let place = |n: usize| text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(n);
    Some(place(start)?..place(end)?).filter(|span| span.start < span.end)
}

/// A text that takes about `budget` bytes of a page, around its first mark if that is far behind the start.
pub fn cut(label: String, text: &str, marks: &[Range<usize>], budget: usize) -> Text {
    let sizes = |text: &str| text.chars().map(size).sum::<usize>();
    let first = marks.first().map_or(0, |mark| mark.start);
    let mut start = 0;
    if sizes(&text[..first]) > budget / 2 {
        let mut left = budget / 4;
        let back = text[..first].char_indices().rev().take_while(|(_, c)| {
            let fits = size(*c) <= left;
            left = left.saturating_sub(size(*c));
            fits
        });
        start = back.last().map_or(first, |(at, _)| at);
    }
    let mut left = budget;
    let fits = text[start..].char_indices().find(|(_, c)| {
        let over = size(*c) > left;
        left = left.saturating_sub(size(*c));
        over
    });
    let end = fits.map_or(text.len(), |(at, _)| start + at);
    let (mut parts, mut from) = (Vec::new(), start);
    for mark in marks {
        let mark = mark.start.max(from)..mark.end.min(end);
        if mark.start < mark.end {
            parts.extend([text[from..mark.start].to_owned(), text[mark.clone()].to_owned()]);
            from = mark.end;
        }
    }
    parts.push(text[from..end].to_owned());
    Text { label, before: text[..start].chars().count(), parts, after: text[end..].chars().count() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found<'t>(text: &'t str, matched: &str) -> Vec<&'t str> {
        find(text, matched).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn what_a_rule_matched_is_found_as_it_is_written() {
        for (text, matched, expected) in [
            ("Che Càvolo dici? cavolo!", "cavolo", vec!["Càvolo", "cavolo"]),
            ("scavolo e cavolo", "cavolo", vec!["cavolo"]),
            ("scavolo", "cavolo", vec!["cavolo"]),
            ("usa  i\n cookie", "usa i cookie", vec!["usa  i\n cookie"]),
            ("cavo\u{300}lo", "cavolo", vec!["cavo\u{300}lo"]),
            ("aaa", "aa", vec!["aa"]),
            ("STRASSE", "", vec![]),
            ("4 sentences", "4 sentences, at least 5", vec![]),
        ] {
            assert_eq!(found(text, matched), expected, "{text:?} {matched:?}");
        }
    }

    #[test]
    fn a_span_is_counted_in_characters() {
        let text = "È vero: la capitale.";
        let detail = "arc 7: 3 of 3 words, characters 8 to 19: la capitale";
        assert_eq!(span(text, detail).map(|range| &text[range]), Some("la capitale"));
        assert_eq!(span(text, "arc 7: 3 of 3 words, characters 8 to 99: x"), None);
        assert_eq!(span(text, "cavolo"), None);
    }

    #[test]
    fn a_long_text_is_cut_around_its_mark() {
        let text = format!("{}X{}", "è".repeat(1000), "b".repeat(1000));
        let mark = 2000..2001;
        let cut = |budget| super::cut(String::new(), &text, std::slice::from_ref(&mark), budget);
        let Text { before, parts, after, .. } = cut(100);
        assert_eq!((parts[0].as_str(), parts[1].as_str()), ("è".repeat(12).as_str(), "X"));
        assert_eq!((before, after), (988, 1000 - parts[2].len()));
        assert_eq!(parts.concat().chars().map(size).sum::<usize>(), 100);
        let whole = cut(10_000);
        assert_eq!((whole.parts.concat(), whole.before, whole.after), (text.clone(), 0, 0));
        // A text that is nothing but what takes room.
        assert_eq!(super::cut(String::new(), "<<<", &[], 13).parts, ["<<"]);
    }
}
