//! A text cut into lines, paragraphs or sentences, and the text without some of them.

use std::ops::Range;

use setaccio_base::unit::Unit;

use crate::sentences;

/// Where the units of a text are, none of which is blank. What lies between two of them is white space.
pub fn cut(text: &str, unit: Unit) -> Vec<Range<usize>> {
    let mut units: Vec<Range<usize>> = Vec::new();
    // Whether a paragraph may go on.
    let mut open = false;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let line = line.trim_end_matches('\n');
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.trim().is_empty() {
            open = false;
            continue;
        }
        match (unit, units.last_mut()) {
            (Unit::Sentences, _) => {
                let mut from = 0;
                for end in sentences::ends(line).chain([line.len()]) {
                    let sentence = &line[from..end];
                    let [before, after] = [sentence.trim_start().len(), sentence.trim_end().len()];
                    if before > 0 {
                        units.push(start + end - before..start + from + after);
                    }
                    from = end;
                }
            }
            (Unit::Paragraphs, Some(last)) if open => last.end = start + line.len(),
            _ => units.push(start..start + line.len()),
        }
        open = true;
    }
    units
}

/// The text without those of its `units` that are `gone`. Of the white space around a gap the part with the most line breaks
/// stays, so that what was apart stays apart and nothing else is left of the gap. Nothing, if all are gone.
pub fn without(text: &str, units: &[Range<usize>], gone: impl Fn(usize) -> bool) -> String {
    let mut left = String::with_capacity(text.len());
    let (Some(first), Some(end)) = (units.first(), units.last()) else { return text.to_owned() };
    // Of the white space since the last unit that stays, the part that stays.
    let mut between = &text[..first.start];
    let mut any = false;
    for (number, unit) in units.iter().enumerate() {
        if number > 0 {
            let space = &text[units[number - 1].end..unit.start];
            let breaks = |space: &str| space.bytes().filter(|b| *b == b'\n').count();
            let after_kept = !gone(number - 1);
            if after_kept || (any && breaks(space) > breaks(between)) {
                between = space;
            }
        }
        if !gone(number) {
            left.push_str(between);
            left.push_str(&text[unit.clone()]);
            any = true;
        }
    }
    if any {
        left.push_str(&text[end.end..]);
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(text: &str, unit: Unit) -> Vec<&str> {
        cut(text, unit).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn texts_are_cut_where_a_reader_would() {
        let text = "\n  Uno. Due!  \r\n\nTre,\nquattro. Cinque\n \n";
        assert_eq!(units(text, Unit::Lines), ["  Uno. Due!  ", "Tre,", "quattro. Cinque"]);
        assert_eq!(units(text, Unit::Paragraphs), ["  Uno. Due!  ", "Tre,\nquattro. Cinque"]);
        assert_eq!(units(text, Unit::Sentences), ["Uno.", "Due!", "Tre,", "quattro.", "Cinque"]);
        assert_eq!(units("今日は晴れ。散歩に行く。", Unit::Sentences), ["今日は晴れ。", "散歩に行く。"]);
        for unit in [Unit::Lines, Unit::Paragraphs, Unit::Sentences] {
            assert_eq!(units("", unit), Vec::<&str>::new());
            assert_eq!(units(" \n\t\r\n", unit), Vec::<&str>::new());
        }
    }

    #[test]
    fn what_stays_is_typed_as_it_was() {
        for (unit, text, gone, left) in [
            (Unit::Lines, "a\nb\nc", &[1][..], "a\nc"),
            (Unit::Lines, "a\n\nb\n\nc\n", &[1], "a\n\nc\n"),
            (Unit::Lines, "a\nb\n\nc", &[1], "a\n\nc"),
            (Unit::Lines, "a\n\nb\nc", &[1], "a\n\nc"),
            (Unit::Lines, "a\n\n\nb\n\n  c", &[1], "a\n\n\n  c"),
            (Unit::Lines, "a\r\nb\r\nc\r\n", &[0, 2], "b\r\n"),
            (Unit::Lines, "\na\n\nb", &[0], "\nb"),
            (Unit::Lines, "a\nb\n", &[0, 1], ""),
            (Unit::Lines, "a\nb\nc\nd", &[1, 2], "a\nd"),
            (Unit::Sentences, "Uno. Due. Tre.\nQuattro.", &[1], "Uno. Tre.\nQuattro."),
            (Unit::Sentences, "Uno. Due.\nTre.", &[1], "Uno.\nTre."),
            (Unit::Sentences, "Uno.\nDue. Tre.", &[1], "Uno.\nTre."),
            (Unit::Sentences, "Uno. Due.", &[0], "Due."),
            (Unit::Paragraphs, "a\nb\n\nc\n\nd", &[1], "a\nb\n\nd"),
            (Unit::Lines, " \n", &[], " \n"),
        ] {
            let units = cut(text, unit);
            assert_eq!(without(text, &units, |number| gone.contains(&number)), left, "{text:?} without {gone:?}");
            assert_eq!(without(text, &units, |_| false), text);
        }
    }
}
