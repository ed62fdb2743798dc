//! What a frame shows: a line with what it is, the view, and a line with the keys.

use ratatui::{Frame, buffer::Buffer, layout::Rect, style::Style, text::Span};
use setaccio_base::{page::PageRow, shown::shown};
use setaccio_curate::report::browse::{List, Which};
use unicode_segmentation::UnicodeSegmentation as _;

use super::{
    app::{App, Cursor, Lists, Page, Rows, Sources, View, keys, nothing, rows_of, share, title},
    document::{Document, Piece, columns},
    look::{Look, Part},
};
use crate::style::count;

/// Fewer columns or lines hold nothing that could be read.
const LEAST: (u16, u16) = (20, 4);
/// From so many columns on, lists have all that they can tell.
const WIDE: u16 = 60;

/// Draw what the app holds.
pub fn draw(app: &App<'_>, look: Look, frame: &mut Frame<'_>) {
    // How a terminal is left by a mistake in here can be tried, of a program that is not for release.
    assert!(
        !cfg!(debug_assertions) || std::env::var_os("SETACCIO_BROWSE_PANIC").is_none(),
        "a frame that cannot be drawn"
    );
    let area = frame.area();
    let mut lines = Lines { buffer: frame.buffer_mut(), area, look };
    if area.width < LEAST.0 || area.height < LEAST.1 {
        lines.put(0, &[("too small: ", Part::Plain), ("q quits", Part::Plain)]);
        return;
    }
    let (name, source) = app.about();
    if let Some(told) = app.replaced() {
        lines.head(name, "");
        lines.paragraph(&told);
        lines.put(area.height - 1, &[("q", Part::Name), (" ", Part::Plain), ("quit", Part::Faint)]);
        return;
    }
    match app.view() {
        View::Lists(lists) => {
            let source = source.map_or_else(|| "all sources".to_owned(), |source| format!("source {source}"));
            lines.head(name, &source);
            lines.lists(lists);
        }
        View::Sources(sources) => {
            lines.head("show the rows of", "");
            lines.sources(sources);
        }
        View::Rows(rows) => {
            lines.head(&title(rows.found.list()), &rows_of(rows.cursor, rows.found.list()));
            lines.rows(rows);
        }
        View::Page(page) => {
            let number = page.number.map_or_else(String::new, |n| format!("row {}", count(n + 1)));
            let place = [number.as_str(), page.place()].into_iter().filter(|part| !part.is_empty());
            lines.head(&page.title, &place.collect::<Vec<_>>().join(", "));
            lines.page(page);
        }
    }
    lines.foot(app);
    if let Some(typed) = &app.typing {
        let at = (1 + columns(&flat(typed))).min(usize::from(area.width) - 1);
        frame.set_cursor_position((u16::try_from(at).unwrap_or(0), area.height - 1));
    }
}

/// The lines of a frame.
struct Lines<'f> {
    buffer: &'f mut Buffer,
    area: Rect,
    look: Look,
}

impl Lines<'_> {
    /// Lines of the middle.
    fn middle(&self) -> usize {
        usize::from(self.area.height - 2)
    }

    /// Write a line, from the left, as far as it fits. What is in it is shown, and never obeyed.
    fn put(&mut self, y: u16, parts: &[(&str, Part)]) -> u16 {
        let mut x = self.area.x;
        for (text, part) in parts {
            let width = usize::from(self.area.right().saturating_sub(x));
            let style = self.look.of(*part);
            x = self.buffer.set_stringn(x, self.area.y + y, fitted(&flat(text), width), width, style).0;
        }
        x
    }

    /// The first line: what it is on the left, and where somebody is on the right.
    fn head(&mut self, left: &str, right: &str) {
        let (width, right) = (usize::from(self.area.width), flat(right));
        let left = fitted(&flat(left), width.saturating_sub(columns(&right) + 1));
        self.put(0, &[(left.as_str(), Part::Head)]);
        let at = width.saturating_sub(columns(&right));
        let x = self.area.x + u16::try_from(at).unwrap_or(0);
        self.buffer.set_stringn(x, self.area.y, right, width - at, self.look.of(Part::Plain));
    }

    /// The last line: what is typed, what is said, or the keys.
    fn foot(&mut self, app: &App<'_>) {
        let y = self.area.height - 1;
        if let Some(typed) = &app.typing {
            // Its end is where somebody types.
            let typed = flat(typed);
            let width = usize::from(self.area.width) - 2;
            self.put(y, &[("/", Part::Head), (ending(&typed, width), Part::Plain)]);
            return;
        }
        if !app.note.is_empty() {
            self.put(y, &[(app.note.as_str(), Part::Head)]);
            return;
        }
        let mut keys = keys(app.view());
        let wide = |keys: &[(&str, &str)]| keys.iter().map(|(key, what)| key.len() + what.len() + 3).sum::<usize>();
        while wide(&keys) > usize::from(self.area.width) + 2 && keys.len() > 2 {
            keys.remove(0);
        }
        let mut parts = Vec::new();
        for (i, (key, what)) in keys.iter().enumerate() {
            parts.extend([(if i > 0 { "  " } else { "" }, Part::Plain), (*key, Part::Name), (" ", Part::Plain)]);
            parts.push((*what, Part::Faint));
        }
        self.put(y, &parts);
    }

    /// What stands before a line of a list, and what its words look like.
    fn pointer(at: bool) -> (&'static str, Style) {
        if at { (">", Look::chosen()) } else { (" ", Style::new()) }
    }

    fn lists(&mut self, Lists { lists, cursor }: &Lists) {
        let read: u64 = lists.iter().take(2).map(|list| list.rows).sum();
        let wide = self.area.width >= WIDE;
        let stages = widest(lists.iter().map(List::stage), 12);
        let rules = widest(lists.iter().map(List::name), 28);
        for (line, (n, list)) in in_sight(lists, *cursor, self.middle()).enumerate() {
            let (pointer, style) = Self::pointer(n == cursor.at);
            let counts = if wide {
                format!("{pointer} {:>11} {:>6} ", count(list.rows), share(list.rows, read))
            } else {
                format!("{pointer} {:>9} ", count(list.rows))
            };
            let (part, name) = match (&list.which, wide) {
                (Which::Kept, _) => (Part::Good, "kept".to_owned()),
                (Which::Dropped, _) => (Part::Bad, "dropped".to_owned()),
                (Which::By { stage, rule }, true) => (Part::Name, format!("  {stage:<stages$} {rule:<rules$}")),
                (Which::By { rule, .. }, false) => (Part::Name, format!("  {rule}")),
            };
            let y = 1 + u16::try_from(line).unwrap_or(0);
            let about = if wide { list.about.as_str() } else { "" };
            let part = if list.rows == 0 { Part::Faint } else { part };
            let end = self.put(y, &[(counts.as_str(), Part::Plain), (name.as_str(), part)]);
            self.turn(y, end, style);
            self.behind(y, end + 1, about);
        }
    }

    fn sources(&mut self, Sources { sources, cursor }: &Sources) {
        let wide = self.area.width >= WIDE;
        let all = sources.iter().fold([0, 0], |[read, kept], of| [read + of.read, kept + of.kept]);
        let every = std::iter::once(("all sources", all));
        let lines: Vec<(&str, [u64; 2])> =
            every.chain(sources.iter().map(|of| (of.source.as_str(), [of.read, of.kept]))).collect();
        let names = widest(lines.iter().map(|(name, _)| *name), 40);
        for (line, (n, (name, [read, kept]))) in in_sight(&lines, *cursor, self.middle()).enumerate() {
            let (pointer, style) = Self::pointer(n == cursor.at);
            let y = 1 + u16::try_from(line).unwrap_or(0);
            let name = format!("{pointer} {name:<names$}");
            let end = self.put(y, &[(name.as_str(), Part::Name)]);
            self.turn(y, end, style);
            let (kept, dropped) = (count(*kept), count(read - kept));
            let told = if wide { format!("{kept:>11} kept {dropped:>11} dropped") } else { format!("{kept:>9} kept") };
            self.behind(y, end + 1, &told);
        }
    }

    fn rows(&mut self, rows: &Rows) {
        let list = rows.found.list();
        if list.held == 0 {
            self.paragraph(&nothing(list));
            return;
        }
        let last = list.held.min(rows.cursor.top + self.middle() as u64);
        // As wide as what they hold, in sight and near.
        let widths = [
            widest(rows.lines.values().map(|row| row.source.as_str()), 12),
            widest(rows.lines.values().map(|row| row.why.as_str()), 24),
        ];
        for (y, n) in (1..).zip(rows.cursor.top..last) {
            let (pointer, style) = Self::pointer(n == rows.cursor.at);
            let number = format!("{pointer} {:>8} ", count(n + 1));
            let Some(row) = rows.lines.get(&n) else {
                self.put(y, &[(number.as_str(), Part::Plain), ("not read", Part::Faint)]);
                continue;
            };
            let end = self.row(y, &number, row, (list, widths));
            self.turn(y, end, style);
        }
    }

    /// A row of a list: its number, its source, why it was dropped, and what it says around what is marked. Given is where its text begins.
    fn row(&mut self, y: u16, number: &str, row: &PageRow, (list, [sources, reasons]): (&List, [usize; 2])) -> u16 {
        let wide = self.area.width >= WIDE;
        let mut end = self.put(y, &[(number, Part::Plain)]);
        let mut column = |lines: &mut Self, text: &str, width: usize, part: Part| {
            let text = fitted(&flat(text), width);
            let pad = " ".repeat(width - columns(&text) + 1);
            let style = lines.look.of(part);
            end = lines.buffer.set_stringn(end, lines.area.y + y, text + &pad, width + 1, style).0;
        };
        if wide && list.source.is_none() {
            column(self, &row.source, sources, Part::Name);
        }
        if wide && list.which != Which::Kept {
            column(self, &row.why, reasons, Part::Plain);
        }
        let text = row.texts.iter().find(|text| text.parts.len() > 1).or(row.texts.first());
        let Some(text) = text else { return end };
        let mut x = end;
        let mut parts: Vec<String> = text.parts.iter().map(|part| flat(part)).collect();
        let mut cut = text.before > 0;
        if let [before, behind @ ..] = &mut parts[..]
            && let Some(mark) = behind.first()
        {
            // What is marked is seen, with something of what comes before it, and as much as there is room for.
            let (room, marked) = (usize::from(self.area.right().saturating_sub(end)), columns(mark));
            if columns(before) + marked + 1 > room {
                let behind: usize = behind.iter().map(|part| columns(part)).sum();
                let least = room.saturating_sub(marked + 2) / 2;
                *before = ending(before, room.saturating_sub(behind + 1).max(least)).to_owned();
                cut = true;
            }
        }
        let dots = if cut { "\u{2026}" } else { "" };
        let parts = parts.into_iter().enumerate().map(|(i, part)| (part, i % 2 == 1));
        for (part, marked) in std::iter::once((dots.to_owned(), false)).chain(parts) {
            let width = usize::from(self.area.right().saturating_sub(x));
            let style = self.look.of(if marked { Part::Mark } else { Part::Plain });
            x = self.buffer.set_stringn(x, self.area.y + y, fitted(&part, width), width, style).0;
        }
        end
    }

    fn page(&mut self, page: &Page) {
        for (y, (piece, range, hits)) in (1..).zip(page.lines()) {
            let hang = piece.hang(range.start, usize::from(self.area.width));
            let mut x = self.area.x + u16::try_from(hang).unwrap_or(0);
            for Span { content, style } in piece.spans(range, hits, self.look) {
                let width = usize::from(self.area.right().saturating_sub(x));
                x = self.buffer.set_stringn(x, self.area.y + y, content, width, style).0;
            }
        }
    }

    /// Words below the first line.
    fn paragraph(&mut self, text: &str) {
        let mut document = Document::new(vec![Piece::default().with(Part::Plain, text)]);
        document.set_width(usize::from(self.area.width), 0);
        let lines = document.lines(0, self.middle()).to_vec();
        for (y, (piece, range)) in (1..).zip(lines) {
            self.put(y, &[(&document.pieces()[piece].text()[range], Part::Plain)]);
        }
    }

    /// Give what was written of a line this style, too.
    fn turn(&mut self, y: u16, end: u16, style: Style) {
        let width = end.saturating_sub(self.area.x);
        self.buffer.set_style(Rect::new(self.area.x, self.area.y + y, width, 1), style);
    }

    /// More of a line, which may be skipped.
    fn behind(&mut self, y: u16, x: u16, text: &str) {
        let width = usize::from(self.area.right().saturating_sub(x));
        if width > 0 {
            let text = fitted(&flat(text), width);
            self.buffer.set_stringn(x, self.area.y + y, text, width, self.look.of(Part::Faint));
        }
    }
}

/// The things in sight, with their numbers.
fn in_sight<T>(all: &[T], cursor: Cursor, height: usize) -> impl Iterator<Item = (u64, &T)> {
    let top = usize::try_from(cursor.top).unwrap_or(usize::MAX);
    (cursor.top..).zip(all.iter().skip(top).take(height))
}

/// A text on one line that a terminal may be given.
fn flat(text: &str) -> String {
    shown(&text.replace(['\n', '\t'], " "))
}

/// Columns that the widest of these texts takes, as far as there are so many.
fn widest<'t>(texts: impl Iterator<Item = &'t str>, most: usize) -> usize {
    texts.map(|text| columns(&flat(text))).max().unwrap_or(0).min(most)
}

/// As much of the end of a text as so many columns hold.
fn ending(text: &str, width: usize) -> &str {
    let mut taken = 0;
    let fits = |(_, grapheme): &(usize, &str)| {
        taken += columns(grapheme);
        taken <= width
    };
    let from = text.grapheme_indices(true).rev().take_while(fits).last();
    &text[from.map_or(text.len(), |(at, _)| at)..]
}

/// As much of a text as so many columns hold.
fn fitted(text: &str, width: usize) -> String {
    let (mut cut, mut taken) = (text.len(), 0);
    for (at, grapheme) in text.grapheme_indices(true) {
        taken += columns(grapheme);
        if taken < width {
            cut = at + grapheme.len();
        }
        if taken > width {
            return if width > 0 { format!("{}\u{2026}", &text[..cut.min(at)]) } else { String::new() };
        }
    }
    text.to_owned()
}
