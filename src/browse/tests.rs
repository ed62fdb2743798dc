//! What is seen of a small build, at two sizes, with and without colours. Snapshots hold the screen as text, then what of it is not plain.

use std::{fmt::Write as _, fs, path::PathBuf};

use clap::Parser as _;
use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
    style::{Color, Modifier},
};
use serde_json::json;
use setaccio_base::progress::Progress;
use setaccio_curate::report::browse::Browser;

use super::{
    app::{App, Next},
    draw::draw,
    look::Look,
};

const RECIPE: &str = r#"
name = "notes"
title = "Notes from two places"
about = "A few lines each."
kind = "text"

[[source]]
name = "web"
schema = "text"
path = "web.jsonl"
language = "it"

[[source]]
name = "forum"
schema = "text"
path = "forum.jsonl"
language = "it"

[[filter]]
rule = "bad_words"
as = "planted"
words = ["piantato"]

[[filter]]
rule = "length"
min_chars = 60

[dedup]
"#;

/// What a terminal would obey, and what it would turn around.
const PLANTED: &str = "Prima di tutto: \u{1b}[31mrosso\u{1b}[0m, \u{202e}oirartnoc\u{202c} e \u{7}\u{9b}2J, poi Piantato nel mezzo.\n\
                       Una seconda riga, con una tabulazione\tqui e ancora piantato alla fine.";

const ENDS: [&str; 5] = ["al sole", "di notte", "sotto casa", "in cortile", "vicino al fiume"];

fn text(n: usize) -> String {
    let who = ["Il gatto", "La nonna", "Un contadino", "Il fornaio"][n % 4];
    format!("{who} numero {n} racconta una storia lunga {}, e nessuno la interrompe prima della fine.", ENDS[n % 5])
}

/// A build in a folder of its own.
struct Built {
    dir: tempfile::TempDir,
}

impl Built {
    fn new() -> Self {
        let built = Self { dir: tempfile::tempdir().unwrap() };
        let mut web: Vec<String> = (0..30).map(text).collect();
        web.extend(["Breve.", "Troppo breve.", "Anche questa."].map(str::to_owned));
        web.extend([text(3), text(3), PLANTED.to_owned()]);
        let mut forum: Vec<String> = (30..38).map(text).collect();
        forum.push("Poco.".into());
        for (name, rows) in [("web", web), ("forum", forum)] {
            let lines: Vec<String> = rows.iter().map(|text| json!({ "text": text }).to_string() + "\n").collect();
            fs::write(built.dir.path().join(format!("{name}.jsonl")), lines.concat()).unwrap();
        }
        fs::write(built.dir.path().join("recipe.toml"), RECIPE).unwrap();
        built.build();
        built
    }

    fn build(&self) {
        let recipe = self.dir.path().join("recipe.toml");
        let args = ["setaccio", "build", recipe.to_str().unwrap(), "--out", self.out().to_str().unwrap(), "--quiet"]
            .map(str::to_owned);
        crate::Cli::try_parse_from(args).unwrap_or_else(|e| panic!("{e}")).command.run().unwrap();
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }
}

/// Somebody who walks through it.
struct Walk<'b> {
    app: App<'b>,
    terminal: Terminal<TestBackend>,
    look: Look,
}

impl<'b> Walk<'b> {
    fn new(browser: &'b Browser<'b>, size: (u16, u16), colours: bool) -> Self {
        let terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
        Self { app: App::new(browser), terminal, look: Look::new(colours) }
    }

    fn frame(&mut self) {
        loop {
            let size = self.terminal.size().unwrap();
            self.app.prepare((size.width, size.height), &()).unwrap();
            self.terminal.draw(|frame| draw(&self.app, self.look, frame)).unwrap();
            if !self.app.later(&()).unwrap() {
                return;
            }
        }
    }

    /// Keys by their names; others a letter each.
    fn press(&mut self, keys: &str) -> Next {
        let mut next = Next::Frame;
        for word in keys.split(' ') {
            let named = match word {
                "Enter" => Some(KeyCode::Enter),
                "Esc" => Some(KeyCode::Esc),
                "Down" => Some(KeyCode::Down),
                "Left" => Some(KeyCode::Left),
                "Right" => Some(KeyCode::Right),
                "End" => Some(KeyCode::End),
                "Backspace" => Some(KeyCode::Backspace),
                "Space" => Some(KeyCode::Char(' ')),
                _ => None,
            };
            let codes = named.map_or_else(|| word.chars().map(KeyCode::Char).collect(), |code| vec![code]);
            for code in codes {
                self.frame();
                next = self.app.key(KeyEvent::new(code, KeyModifiers::NONE), &()).unwrap();
            }
        }
        self.frame();
        next
    }

    fn text(&self) -> String {
        let buffer = self.terminal.backend().buffer();
        let width = usize::from(buffer.area.width);
        let lines = buffer.content.chunks(width).map(|cells| {
            let line: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
            line.trim_end().to_owned()
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The screen, and the runs of cells that are not plain.
    fn screen(&self) -> String {
        let mut told = format!("{}\n\n", self.text());
        let buffer = self.terminal.backend().buffer();
        for (y, cells) in buffer.content.chunks(usize::from(buffer.area.width)).enumerate() {
            let mut x = 0;
            for run in cells.chunk_by(|a, b| (a.fg, a.bg, a.modifier) == (b.fg, b.bg, b.modifier)) {
                let style = (run[0].fg, run[0].bg, run[0].modifier);
                if style != (Color::Reset, Color::Reset, Modifier::empty()) {
                    let text: String = run.iter().map(ratatui::buffer::Cell::symbol).collect();
                    let (fg, bg, modifier) = style;
                    writeln!(told, "line {y}, column {x}: {:?}, {fg}, {bg}, {modifier:?}", text.trim_end()).unwrap();
                }
                x += run.len();
            }
        }
        told
    }
}

fn assert_snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn what_is_seen_at_two_sizes_with_and_without_colours() {
    let built = Built::new();
    let out = built.out();
    let browser = Browser::open(&out).unwrap();
    for (size, colours, name) in [
        ((80, 24), true, "wide-coloured"),
        ((80, 24), false, "wide"),
        ((40, 12), true, "narrow-coloured"),
        ((40, 12), false, "narrow"),
    ] {
        let mut walk = Walk::new(&browser, size, colours);
        let mut told = String::new();
        for (what, keys) in [
            ("the lists", ""),
            ("a list", "/planted Enter Enter"),
            ("a row of it", "Enter"),
            ("what was searched for in it", "/tabulazione Enter"),
            ("back, and rows that repeat others", "Esc Esc /dedup Enter Enter"),
            ("the first", "Enter"),
            ("the row that it repeats", "o"),
            ("back, the sources", "Esc Esc Esc s"),
            ("one of them", "Down Down Enter"),
            ("help", "?"),
        ] {
            assert_eq!(walk.press(keys), Next::Frame);
            writeln!(told, "## {what}: {keys}\n\n{}", walk.screen()).unwrap();
        }
        assert_snapshot(name, &told);
        let coloured = |c: Color| c != Color::Reset;
        let any = walk.terminal.backend().buffer().content.iter().any(|cell| coloured(cell.fg) || coloured(cell.bg));
        assert_eq!(any, colours, "{name}");
    }
}

#[test]
fn counts_are_the_ledgers_and_rows_are_as_many() {
    let built = Built::new();
    let out = built.out();
    let browser = Browser::open(&out).unwrap();
    let ledger: serde_json::Value = serde_json::from_slice(&fs::read(out.join("ledger.json")).unwrap()).unwrap();
    let rules: Vec<(String, u64)> = ledger["stages"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|stage| stage["rules"].as_array().unwrap())
        .map(|rule| (rule["rule"].as_str().unwrap().to_owned(), rule["dropped"].as_u64().unwrap()))
        .collect();
    let lists = browser.lists(None);
    let by: Vec<(String, u64)> = lists[2..].iter().map(|list| (list.name().to_owned(), list.rows)).collect();
    assert_eq!(by, rules);
    let sources: Vec<(String, u64, u64)> =
        browser.sources().into_iter().map(|of| (of.source, of.read, of.kept)).collect();
    assert_eq!(sources, [("web".into(), 36, 30), ("forum".into(), 9, 8)]);
    // Each list has as many rows as it says, all of them what it says.
    for source in [None, Some("web"), Some("forum")] {
        for list in browser.lists(source) {
            let mut found = setaccio_curate::report::browse::Found::new(list.clone());
            let places: Vec<_> = (0..=list.rows).map_while(|n| browser.place(&mut found, n, &()).unwrap()).collect();
            assert_eq!(places.len() as u64, list.rows, "{list:?}");
            for place in places {
                let row = browser.row(place).unwrap().row;
                assert!(source.is_none_or(|source| row.source == source));
                assert!(list.stage().is_empty() || row.rule == list.name());
            }
        }
    }
}

#[test]
fn rows_are_searched_from_where_somebody_is() {
    let built = Built::new();
    let out = built.out();
    let browser = Browser::open(&out).unwrap();
    let mut walk = Walk::new(&browser, (80, 24), false);
    walk.press("Enter");
    let at = |walk: &Walk<'_>| walk.text().lines().find(|line| line.starts_with('>')).map(str::to_owned).unwrap();
    walk.press("/NUMERO Space");
    assert_eq!(walk.text().lines().last(), Some("/NUMERO"));
    walk.press("33 Enter");
    assert!(at(&walk).contains("numero 33 "), "{}", at(&walk));
    let there = at(&walk);
    assert_eq!(walk.press("n"), Next::Frame);
    assert!(walk.text().ends_with("nothing further from here on says NUMERO 33"), "{}", walk.text());
    assert_eq!(at(&walk), there);
    // In the row it is marked; the rows beside it are where they were.
    walk.press("Enter");
    assert!(walk.screen().contains("\"numero 33\", Reset, Reset, BOLD | UNDERLINED"), "{}", walk.screen());
    walk.press("Right Left");
    assert!(walk.text().contains("numero 33 "), "{}", walk.text());
    walk.press("Esc G N");
    assert_eq!(at(&walk), there);
    walk.press("/ Backspace");
    assert!(walk.text().ends_with("quit"), "{}", walk.text());
}

#[test]
fn what_was_gone_to_stays_in_sight_on_a_smaller_screen() {
    let built = Built::new();
    let out = built.out();
    let browser = Browser::open(&out).unwrap();
    let mut walk = Walk::new(&browser, (80, 24), false);
    walk.press("/planted Enter Enter Enter m m");
    for size in [(80, 24), (40, 5), (20, 4), (30, 4), (80, 24)] {
        walk.terminal.backend_mut().resize(size.0, size.1);
        walk.frame();
        assert!(walk.text().contains("piantato alla"), "{size:?}\n{}", walk.text());
    }
    walk.press("g");
    assert!(walk.text().contains("dropped web"), "{}", walk.text());
}

#[test]
fn long_work_is_stopped_and_said_so() {
    struct Stopped;
    impl Progress for Stopped {
        fn cancelled(&self) -> bool {
            true
        }
    }
    let built = Built::new();
    let out = built.out();
    let browser = Browser::open(&out).unwrap();
    let mut walk = Walk::new(&browser, (80, 24), false);
    walk.press("Enter");
    for key in "/casa".chars() {
        walk.app.key(KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE), &()).unwrap();
    }
    walk.app.key(KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE), &Stopped).unwrap();
    walk.frame();
    assert!(walk.text().ends_with("stopped"), "{}", walk.text());
}

#[test]
fn no_row_of_another_build_is_shown() {
    let built = Built::new();
    let out = built.out();
    let browser = Browser::open(&out).unwrap();
    let mut walk = Walk::new(&browser, (80, 24), false);
    walk.press("Enter Enter");
    assert!(walk.text().contains("numero"), "{}", walk.text());
    let other: String = (100..110).map(|n| json!({ "text": text(n) }).to_string() + "\n").collect();
    fs::write(built.dir.path().join("web.jsonl"), other).unwrap();
    built.build();
    for keys in ["Right", "Esc", "Down", "/numero Enter", "?", "End"] {
        assert_eq!(walk.press(keys), Next::Frame);
        let seen = walk.text();
        assert!(seen.contains("Another build took the place of this one") && !seen.contains("numero"), "{seen}");
        assert!(seen.ends_with("q quit"), "{seen}");
    }
    assert_eq!(walk.press("q"), Next::Quit);
}

#[test]
fn a_second_question_mark_leaves_the_help() {
    let built = Built::new();
    let out = built.out();
    let browser = Browser::open(&out).unwrap();
    let mut walk = Walk::new(&browser, (80, 24), false);
    walk.press("Enter");
    let list = walk.text();
    walk.press("?");
    assert!(walk.text().contains("this page"), "{}", walk.text());
    walk.press("?");
    assert_eq!(walk.text(), list);
    walk.press("??? Esc");
    assert_eq!(walk.text(), list);
}

#[test]
fn any_size_is_drawn() {
    let built = Built::new();
    let out = built.out();
    let browser = Browser::open(&out).unwrap();
    let mut walk = Walk::new(&browser, (80, 24), true);
    for keys in ["", "Enter", "Enter", "?", "Esc Esc Esc s", "Esc / perché"] {
        walk.press(keys);
        for size in [(0, 0), (1, 1), (3, 2), (20, 4), (19, 50), (200, 3), (300, 90), (80, 24)] {
            walk.terminal.backend_mut().resize(size.0, size.1);
            walk.frame();
        }
    }
}

/// The page of the book shows what is drawn.
#[test]
fn the_book_shows_what_is_seen() {
    let built = Built::new();
    let out = built.out();
    let browser = Browser::open(&out).unwrap();
    let mut walk = Walk::new(&browser, (80, 14), false);
    let book = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reports.md")).unwrap();
    for keys in ["/planted Enter", "Enter Enter"] {
        walk.press(keys);
        assert!(book.contains(&walk.text()), "docs/reports.md does not show this:\n{}", walk.text());
    }
}
