//! An answer as a table for a person: columns side by side, as wide as there is room, long texts folded and cut. Where there is too little room
//! for columns, a row is a block with a line a column.

use setaccio_base::shown::shown;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Between two columns.
const GAP: usize = 2;
/// What a column has at least, unless it needs less.
const LEAST: usize = 8;
/// Lines of a text, at most.
const LINES: usize = 8;

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its name.
    pub name: String,
    /// Whether its values are numbers.
    pub number: bool,
}

/// Rows in lines of `width`. The first are `heads` for columns side by side, and none where a row is a block.
#[must_use]
pub fn lines(heads: &[Head], rows: &[Vec<String>], width: usize) -> Lines {
    let cells: Vec<Vec<Vec<String>>> = rows.iter().map(|row| row.iter().map(|text| plain(text)).collect()).collect();
    let names: Vec<String> = heads.iter().map(|head| plain(&head.name).join(" ")).collect();
    let natural = names.iter().enumerate().map(|(i, name)| {
        let widest = cells.iter().filter_map(|row| row.get(i)).flatten().map(|line| line.width()).max();
        name.width().max(widest.unwrap_or(0)).max(1)
    });
    let natural: Vec<usize> = natural.collect();
    match fitted(&natural, width) {
        Some(widths) => side_by_side(heads, &names, &cells, &widths),
        None => blocks(&names, &cells, width),
    }
}

/// What is shown.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// Names of columns and the line below them.
    pub head: Vec<String>,
    /// The rows.
    pub rows: Vec<String>,
}

/// A text as lines that a terminal only shows.
fn plain(text: &str) -> Vec<String> {
    shown(text).replace('\t', "\\t").split('\n').map(str::to_owned).collect()
}

/// Widths of columns that together fit: a column that needs little has it, and the others share the rest evenly.
fn fitted(natural: &[usize], width: usize) -> Option<Vec<usize>> {
    let room = width.checked_sub(GAP * natural.len().saturating_sub(1))?;
    let least: usize = natural.iter().map(|n| (*n).min(LEAST)).sum();
    if least > room {
        return None;
    }
    let mut order: Vec<usize> = (0..natural.len()).collect();
    order.sort_by_key(|i| natural[*i]);
    let (mut left, mut widths) = (room, natural.to_vec());
    for (taken, i) in order.iter().enumerate() {
        widths[*i] = natural[*i].min(left / (natural.len() - taken));
        left -= widths[*i];
    }
    Some(widths)
}

fn side_by_side(heads: &[Head], names: &[String], cells: &[Vec<Vec<String>>], widths: &[usize]) -> Lines {
    let row = |texts: &mut dyn Iterator<Item = Vec<String>>| -> Vec<String> {
        let columns: Vec<Vec<String>> = texts.zip(widths).map(|(text, width)| folded(&text, *width)).collect();
        let high = columns.iter().map(Vec::len).max().unwrap_or(0);
        let line = |at: usize| {
            let parts = columns.iter().zip(widths).zip(heads).map(|((column, width), head)| {
                let text = column.get(at).map_or("", String::as_str);
                let blank = " ".repeat(width.saturating_sub(text.width()));
                if head.number { blank + text } else { text.to_owned() + &blank }
            });
            parts.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end().to_owned()
        };
        (0..high).map(line).collect()
    };
    let mut head = row(&mut names.iter().map(|name| vec![name.clone()]));
    head.push(widths.iter().map(|width| "\u{2500}".repeat(*width)).collect::<Vec<_>>().join(&" ".repeat(GAP)));
    Lines { head, rows: cells.iter().flat_map(|cells| row(&mut cells.iter().cloned())).collect() }
}

fn blocks(names: &[String], cells: &[Vec<Vec<String>>], width: usize) -> Lines {
    let wide = names.iter().map(|name| name.width()).max().unwrap_or(0);
    let room = width.saturating_sub(wide + GAP).max(LEAST);
    let mut rows = Vec::new();
    for (number, row) in cells.iter().enumerate() {
        rows.push(format!("row {}", number + 1));
        for (name, text) in names.iter().zip(row) {
            for (at, line) in folded(text, room).into_iter().enumerate() {
                let name = if at == 0 { name.as_str() } else { "" };
                let blank = " ".repeat(wide - name.width() + GAP);
                rows.push(format!("{name}{blank}{line}").trim_end().to_owned());
            }
        }
    }
    Lines { head: Vec::new(), rows }
}

/// A text in lines of a width, at most a few of them; the last one then counts what is left out.
fn folded(text: &[String], width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut left = 0;
    for line in text {
        let mut rest = line.as_str();
        loop {
            let (first, more) = cut(rest, width);
            if lines.len() < LINES {
                lines.push(first.to_owned());
            } else {
                left += first.chars().count();
            }
            match more {
                Some(more) => rest = more,
                None => break,
            }
        }
    }
    if left > 0 {
        let more = format!("\u{2026} {left} characters");
        lines.push(cut(&more, width.max(more.width())).0.to_owned());
    }
    lines
}

/// The beginning of a line that is this wide at most, up to a space if one is near its end, and what comes behind it.
fn cut(line: &str, width: usize) -> (&str, Option<&str>) {
    let mut wide = 0;
    let Some(end) = line.char_indices().find_map(|(at, c)| {
        wide += c.width().unwrap_or(0);
        (wide > width && at > 0).then_some(at)
    }) else {
        return (line, None);
    };
    if line[end..].starts_with(' ') {
        return (&line[..end], Some(line[end..].trim_start_matches(' ')));
    }
    match line[..end].rfind(' ').filter(|at| *at > end / 2) {
        Some(space) => (line[..space].trim_end(), Some(&line[space + 1..])),
        None => (&line[..end], Some(&line[end..])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(names: &[(&str, bool)]) -> Vec<Head> {
        names.iter().map(|(name, number)| Head { name: (*name).into(), number: *number }).collect()
    }

    fn all(heads: &[Head], rows: &[&[&str]], width: usize) -> String {
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|text| (*text).to_owned()).collect()).collect();
        let Lines { head, rows } = lines(heads, &rows, width);
        [head, rows].concat().join("\n")
    }

    #[test]
    fn numbers_stand_right_and_texts_left() {
        let heads = head(&[("rule", false), ("rows", true)]);
        let rows: [&[&str]; 3] = [&["length", "9"], &["bad_words", "12345"], &["", "NULL"]];
        assert_eq!(
            all(&heads, &rows, 80),
            "rule        rows\n─────────  ─────\nlength         9\nbad_words  12345\n            NULL"
        );
        assert_eq!(all(&heads, &[], 80), "rule  rows\n────  ────");
    }

    #[test]
    fn long_texts_are_folded_where_words_end() {
        let heads = head(&[("id", false), ("text", false)]);
        let said = all(&heads, &[&["a1", "Nel mezzo del cammin di nostra vita"]], 20);
        assert_eq!(said, "id  text\n──  ────────────────\na1  Nel mezzo del\n    cammin di nostra\n    vita");
        // What is wide takes two places, what joins takes none.
        assert_eq!(cut("漢字漢字", 5), ("漢字", Some("漢字")));
        assert_eq!(cut("perche\u{301} no", 6), ("perche\u{301}", Some("no")));
        assert_eq!(cut("x", 0), ("x", None));
    }

    #[test]
    fn a_text_without_end_is_cut_and_what_is_left_is_counted() {
        let lines = folded(&["abcdefghij".repeat(10)], 10);
        assert_eq!((lines.len(), lines[LINES].as_str()), (LINES + 1, "\u{2026} 20 characters"));
        let lines = folded(&vec!["x".to_owned(); 11], 10);
        assert_eq!((lines.len(), lines[LINES].as_str()), (LINES + 1, "\u{2026} 3 characters"));
    }

    #[test]
    fn columns_share_what_room_there_is() {
        assert_eq!(fitted(&[3, 5], 80), Some(vec![3, 5]));
        assert_eq!(fitted(&[3, 50, 500], 47), Some(vec![3, 20, 20]));
        assert_eq!(fitted(&[500, 3], 40), Some(vec![35, 3]));
        assert_eq!(fitted(&[10, 10, 10], 24), None);
        assert_eq!(fitted(&[], 10), Some(vec![]));
    }

    #[test]
    fn without_room_for_columns_a_row_is_a_block() {
        let heads = head(&[("one", false), ("number", true), ("text", false)]);
        let said = all(&heads, &[&["a long value", "123456789", "uno due tre"], &["b", "2", "c"]], 20);
        let expected = "row 1\none     a long value\nnumber  123456789\ntext    uno due tre\nrow 2\none     b\nnumber  2\ntext    c";
        assert_eq!(said, expected);
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        let heads = head(&[("t", false)]);
        let said = all(&heads, &[&["\u{1b}[31mred\u{202e}\tx\r\nnext"]], 80);
        assert!(said.ends_with("\n\\u{1b}[31mred\\u{202e}\\tx\nnext"), "{said}");
    }
}
