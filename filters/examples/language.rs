//! Precision and recall of the rule `language` for one language, by length of document.
//!
//!     gzip -dc handbook.json.gz | cargo run --release -p setaccio-filters --example language -- it "mode = 'whole'" ""
//!
//! Reads JSON lines `{text, lang}` from standard input. From each page, stretches of each length are cut at the
//! beginnings of paragraphs, one every `STRIDE` paragraphs, once those common to several languages are out, and with them
//! pages of which too little is left to tell; each is judged under every setting given (TOML, `;` between keys; an empty one
//! is the default). Prints a Markdown table: of the rows kept, the share that is of the language
//! (precision); of the rows of the language, the share kept (recall); the share judged as under the first setting;
//! and megabytes a second on one core.

use setaccio_base::row::{Kind, Row};
use std::{
    collections::{HashMap, HashSet},
    error::Error,
    io::BufRead,
    time::Instant,
};

use setaccio_filters::{context::Context, pipeline::Pipeline, registry};

/// Lengths in characters; the last is whole pages.
const LENGTHS: [usize; 7] = [50, 100, 200, 500, 1000, 3000, usize::MAX];

/// The rule takes a text of fewer letters for too short to tell.
const MIN_LETTERS: usize = 20;

/// A stretch begins at every so many paragraphs of a page.
const STRIDE: usize = 7;

struct Page {
    text: String,
    language: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let keep = args.next().ok_or("which language? for instance `it`")?;
    let settings: Vec<String> = args.collect();
    let mut pages = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let page: serde_json::Value = serde_json::from_str(&line?)?;
        let field = |name: &str| page[name].as_str().map(str::to_owned).ok_or(format!("a page has no `{name}`"));
        pages.push(Page { text: field("text")?, language: field("lang")? });
    }
    drop_shared_paragraphs(&mut pages);
    println!("| characters | setting | {keep} | other | precision | recall | agrees | MB/s |");
    println!("|---:|---|---:|---:|---:|---:|---:|---:|");
    for length in LENGTHS {
        let rows: Vec<(Row, bool)> = pages
            .iter()
            .flat_map(|p| stretches(&p.text, length).map(move |t| (t, &p.language)))
            .map(|(text, language)| (Row::text(text), *language == keep))
            .collect();
        let mut first: Option<Vec<bool>> = None;
        for setting in &settings {
            let pipeline = pipeline(&keep, setting)?;
            let start = Instant::now();
            let kept: Vec<bool> = rows
                .iter()
                .map(|(row, _)| pipeline.apply(&mut row.clone(), &mut pipeline.tallies()).is_none())
                .collect();
            let seconds = start.elapsed().as_secs_f64();
            let agreed = first.get_or_insert_with(|| kept.clone()).iter().zip(&kept).filter(|(a, b)| a == b).count();
            print_line(length, setting, &rows, &kept, agreed, seconds);
        }
    }
    Ok(())
}

/// A paragraph that stands in pages of several languages was left untranslated, or is a command: what it is in
/// says nothing of what it is.
fn drop_shared_paragraphs(pages: &mut Vec<Page>) {
    let mut languages: HashMap<&str, HashSet<&str>> = HashMap::new();
    for page in pages.iter() {
        for paragraph in page.text.lines() {
            languages.entry(paragraph).or_default().insert(&page.language);
        }
    }
    let own = |paragraph: &&str| languages[paragraph].len() == 1;
    let texts: Vec<String> = pages.iter().map(|p| p.text.lines().filter(own).collect::<Vec<_>>().join("\n")).collect();
    for (page, text) in pages.iter_mut().zip(texts) {
        page.text = text;
    }
    pages.retain(|p| p.text.chars().filter(|c| c.is_alphabetic()).count() >= MIN_LETTERS);
}

#[allow(clippy::cast_precision_loss, reason = "shares and rates are shown to a few digits")]
fn print_line(length: usize, setting: &str, rows: &[(Row, bool)], kept: &[bool], agreed: usize, seconds: f64) {
    let count = |of: bool, is: bool| rows.iter().zip(kept).filter(|((_, o), k)| *o == of && **k == is).count() as f64;
    let (right, missed, wrong, other) =
        (count(true, true), count(true, false), count(false, true), count(false, false));
    let bytes: u64 = rows.iter().map(|(row, _)| row.content.bytes()).sum();
    let length = if length == usize::MAX { "whole page".into() } else { length.to_string() };
    println!(
        "| {length} | {} | {} | {} | {:.4} | {:.4} | {:.4} | {:.1} |",
        if setting.is_empty() { "default" } else { setting },
        right + missed,
        wrong + other,
        right / (right + wrong),
        right / (right + missed),
        agreed as f64 / rows.len() as f64,
        bytes as f64 / 1e6 / seconds
    );
}

fn pipeline(keep: &str, setting: &str) -> Result<Pipeline, Box<dyn Error>> {
    let mut table: toml::Table = setting.replace(';', "\n").parse()?;
    table.insert("keep".into(), vec![keep.to_owned()].into());
    let filters = registry::find("language")?.compile(table, &Context::default())?;
    Ok(Pipeline::new(filters, Kind::Text)?)
}

/// Stretches of `length` characters of a page, whole ones only.
fn stretches(text: &str, length: usize) -> impl Iterator<Item = &str> {
    let whole = (length == usize::MAX).then_some(text);
    let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).step_by(STRIDE);
    let cut = starts.filter_map(move |start| {
        let rest = &text[start..];
        let (end, _) = rest.char_indices().nth(length)?;
        Some(&rest[..end])
    });
    whole.into_iter().chain(cut)
}
