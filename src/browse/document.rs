//! Texts as lines of a screen: cut where it ends, a line at a time, so that a text of any length is shown at once.

use std::ops::Range;

use ratatui::text::Span;
use setaccio_base::shown::shown;
use unicode_segmentation::UnicodeSegmentation as _;

use super::look::{Look, Part};

/// What a tab is shown as.
const TAB: &str = "    ";

/// A paragraph: text that a terminal may be given, and what its parts are.
#[derive(Clone, Debug, Default)]
pub struct Piece {
    text: String,
    parts: Vec<(usize, Part)>,
    /// Bytes of the label that its lines hang below, and columns.
    label: (usize, usize),
}

impl Piece {
    /// With more behind it. What a terminal would obey is shown as an escape.
    pub fn with(mut self, part: Part, text: &str) -> Self {
        self.parts.push((self.text.len(), part));
        self.text.push_str(&shown(text).replace('\t', TAB));
        self
    }

    /// With a text behind it in which some ranges are marked; they do not overlap, and ascend.
    pub fn with_marks(mut self, text: &str, marks: &[Range<usize>]) -> Self {
        let mut from = 0;
        for mark in marks {
            self = self.with(Part::Plain, &text[from..mark.start]).with(Part::Mark, &text[mark.clone()]);
            from = mark.end;
        }
        self.with(Part::Plain, &text[from..])
    }

    /// Lines but the first begin below what comes next.
    pub fn hanging(mut self) -> Self {
        self.label = (self.text.len(), columns(&self.text));
        self
    }

    /// Columns before a line that begins at `from`, of so many; there is none where little would be left.
    pub fn hang(&self, from: usize, width: usize) -> usize {
        if from > 0 && 2 * self.label.1 <= width { self.label.1 } else { 0 }
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where marks begin.
    pub fn marks(&self) -> impl Iterator<Item = usize> {
        self.parts.iter().filter(|(_, part)| *part == Part::Mark).map(|(at, _)| *at)
    }

    /// What a part of it looks like, with `hits` laid over it.
    pub fn spans(&self, range: &Range<usize>, hits: &[Range<usize>], look: Look) -> Vec<Span<'_>> {
        let mut ends: Vec<usize> = self.parts.iter().map(|(at, _)| *at).collect();
        ends.extend(hits.iter().flat_map(|hit| [hit.start, hit.end]));
        ends.push(range.end);
        ends.sort_unstable();
        let (mut spans, mut from) = (Vec::new(), range.start);
        for end in ends.into_iter().filter(|end| range.start < *end && *end <= range.end) {
            if end > from {
                let part = self.parts.iter().rfind(|(at, _)| *at <= from).map_or(Part::Plain, |(_, part)| *part);
                let part = if hits.iter().any(|hit| hit.contains(&from)) { Part::Hit } else { part };
                spans.push(Span::styled(&self.text[from..end], look.of(part)));
            }
            from = end;
        }
        spans
    }
}

/// A line of a document on a screen: the number of its piece, and what of its text.
pub type Line = (usize, Range<usize>);

/// A piece of a document, and a byte of its text.
pub type At = (usize, usize);

/// Pieces below each other, as far as they were cut into lines.
#[derive(Default)]
pub struct Document {
    pieces: Vec<Piece>,
    width: usize,
    lines: Vec<Line>,
    /// The piece and the byte where the next line begins.
    next: At,
}

impl Document {
    /// Of these pieces.
    pub fn new(pieces: Vec<Piece>) -> Self {
        Self { pieces, ..Self::default() }
    }

    /// Its pieces.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Lines are so wide from now on. The piece and the byte at line `top` are kept in sight: its number is given.
    pub fn set_width(&mut self, width: usize, top: usize) -> usize {
        if width == self.width {
            return top;
        }
        let at = self.lines.get(top).map(|(piece, range)| (*piece, range.start));
        (self.width, self.lines, self.next) = (width, Vec::new(), (0, 0));
        at.map_or(0, |at| self.line_of(at))
    }

    /// The number of the line that has this byte of this piece.
    pub fn line_of(&mut self, (piece, at): At) -> usize {
        while self.next <= (piece, at) && self.cut() {}
        self.lines.partition_point(|(of, range)| (*of, range.start) <= (piece, at)).saturating_sub(1)
    }

    /// The lines from `top` on, `count` of them if there are so many.
    pub fn lines(&mut self, top: usize, count: usize) -> &[Line] {
        while self.lines.len() < top + count && self.cut() {}
        &self.lines[top.min(self.lines.len())..(top + count).min(self.lines.len())]
    }

    /// How many lines there are; all are cut for this.
    pub fn length(&mut self) -> usize {
        while self.cut() {}
        self.lines.len()
    }

    /// Cut the next line; false if there is none.
    fn cut(&mut self) -> bool {
        let (number, from) = self.next;
        let Some(piece) = self.pieces.get(number) else { return false };
        let width = self.width - piece.hang(from, self.width);
        let (line, next) = first_line(&piece.text, from, width.max(1), piece.label.0);
        self.lines.push((number, line));
        self.next = next.map_or((number + 1, 0), |at| (number, at));
        true
    }
}

/// The line of a text that begins at `from`, and where the next begins, if one does. A label of so many bytes does not stand alone.
fn first_line(text: &str, from: usize, width: usize, label: usize) -> (Range<usize>, Option<usize>) {
    let (mut taken, mut space) = (0, None);
    for (at, grapheme) in text[from..].grapheme_indices(true) {
        let at = from + at;
        if grapheme == "\n" {
            return (from..at, Some(at + 1));
        }
        let wide = columns(grapheme);
        if taken + wide > width && at > from {
            return match space {
                // What is between two lines belongs to none.
                _ if grapheme == " " => (from..at, Some(at + 1)),
                Some(space) => (from..space, Some(space + 1)),
                None => (from..at, Some(at)),
            };
        }
        if grapheme == " " && at > from && at >= label {
            space = Some(at);
        }
        taken += wide;
    }
    (from..text.len(), None)
}

/// Columns of a screen that a text takes, as what is drawn takes them.
pub fn columns(text: &str) -> usize {
    use ratatui::buffer::CellWidth as _;
    text.graphemes(true).map(|grapheme| usize::from(grapheme.cell_width())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, width: usize) -> Vec<String> {
        let mut document = Document::new(vec![Piece::default().with(Part::Plain, text)]);
        document.set_width(width, 0);
        let count = document.length();
        let lines = document.lines(0, count).to_vec();
        lines.into_iter().map(|(piece, range)| document.pieces()[piece].text()[range].to_owned()).collect()
    }

    #[test]
    fn texts_are_cut_at_spaces_and_long_words_where_the_line_ends() {
        for (text, width, expected) in [
            ("uno due tre", 7, vec!["uno due", "tre"]),
            ("uno due tre", 8, vec!["uno due", "tre"]),
            ("unodue tre", 3, vec!["uno", "due", "tre"]),
            ("a\n\nb\n", 9, vec!["a", "", "b", ""]),
            ("", 9, vec![""]),
            // Two columns each; an accent that stands on its letter takes none.
            ("漢字漢", 5, vec!["漢字", "漢"]),
            ("e\u{300}e\u{300}e", 2, vec!["e\u{300}e\u{300}", "e"]),
            ("漢", 1, vec!["漢"]),
            ("a\tb", 9, vec!["a    b"]),
            ("\u{1b}[31m", 20, vec!["\\u{1b}[31m"]),
        ] {
            assert_eq!(lines(text, width), expected, "{text:?}");
        }
    }

    #[test]
    fn lines_hang_below_what_follows_a_label_where_there_is_room() {
        let cut = |width| {
            let piece = Piece::default().with(Part::Faint, "of:  ").hanging().with(Part::Plain, "uno due tre");
            let mut document = Document::new(vec![piece]);
            document.set_width(width, 0);
            let count = document.length();
            let lines = document.lines(0, count).to_vec();
            let line = |(piece, range): (usize, Range<usize>)| {
                let piece = &document.pieces()[piece];
                format!("{:1$}{2}", "", piece.hang(range.start, width), &piece.text()[range])
            };
            lines.into_iter().map(line).collect::<Vec<_>>()
        };
        assert_eq!(cut(12), ["of:  uno due", "     tre"]);
        assert_eq!(cut(10), ["of:  uno", "     due", "     tre"]);
        assert_eq!(cut(9), ["of:  uno", "due tre"]);
        assert_eq!(cut(6), ["of:  u", "no due", "tre"]);
    }

    #[test]
    fn a_text_is_cut_as_far_as_it_is_looked_at() {
        let mut document = Document::new(vec![Piece::default().with(Part::Plain, &["parola"; 1_000_000].join(" "))]);
        document.set_width(80, 0);
        assert_eq!((document.lines(0, 24).len(), document.lines.len()), (24, 24));
        // What is in sight stays there when the screen gets narrower.
        let (_, at) = document.lines(10, 1)[0].clone();
        let top = document.set_width(40, 10);
        assert!(document.lines(top, 1)[0].1.contains(&at.start));
        assert!(document.lines.len() < 100);
        let end = document.length();
        assert_eq!(document.line_of((0, 6_999_990)), end - 1);
    }

    #[test]
    fn marks_stand_where_they_are_though_escapes_come_before() {
        let text = "\u{1b}[31m cavolo \u{202e}x";
        let mark = text.find("cavolo").map(|at| at..at + 6);
        let piece = Piece::default().with_marks(text, mark.as_slice());
        let spans = piece.spans(&(0..piece.text().len()), &[], Look::plain());
        let told: Vec<&str> = spans.iter().map(|span| span.content.as_ref()).collect();
        assert_eq!(told, ["\\u{1b}[31m ", "cavolo", " \\u{202e}x"]);
        assert_eq!(spans[1].style, Look::plain().of(Part::Mark));
        // What was searched for lies over it.
        let spans = piece.spans(&(0..13), std::slice::from_ref(&(10..13)), Look::plain());
        let told: Vec<&str> = spans.iter().map(|span| span.content.as_ref()).collect();
        assert_eq!(told, ["\\u{1b}[31m", " ", "ca"]);
    }
}
