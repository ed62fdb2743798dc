//! `setaccio review`: rows for a person to judge, and how often each rule was wrong.

use std::{
    io::{BufRead as _, stdin},
    path::PathBuf,
};

use anyhow::Result;
use serde::Serialize;
use setaccio_curate::report::review::{self, KEPT, Rate, Review, Sampled, Verdict};

use crate::{
    output::Output,
    style::{BAD, FAINT, GOOD, HEAD, NAME, counted},
};

/// Characters of a row that are shown.
const SHOWN: usize = 2000;

/// Show rows that were kept and dropped, one by one, and remember what a person thinks of each
#[derive(clap::Args)]
pub struct Args {
    /// Folder of a finished build
    out: PathBuf,
    /// Rows to judge, half of those kept and half of those dropped
    #[arg(long, value_name = "N", default_value_t = 100)]
    rows: usize,
    /// Ask nothing, and tell how often each rule was wrong so far
    #[arg(long)]
    rates: bool,
    /// Ask nothing, and write how often each rule was wrong as a section in Markdown, for the card
    #[arg(long, conflicts_with_all = ["rates", "json"])]
    markdown: bool,
    #[command(flatten)]
    output: Output,
}

/// What was found.
#[derive(Serialize)]
struct Told {
    /// Where judgements are.
    file: PathBuf,
    /// Each rule.
    rates: Vec<Rate>,
}

pub fn run(args: &Args) -> Result<()> {
    let review = Review::open(&args.out)?;
    if args.markdown {
        say!("{}", review::markdown(&review.rates()?).trim_end());
        return Ok(());
    }
    if !args.rates {
        let progress = args.output.bar();
        let sampled = review.sample(args.rows, &progress)?;
        progress.clear();
        ask(&review, &sampled)?;
    }
    let told = Told { file: review.file.clone(), rates: review.rates()? };
    args.output.give("review", &told, |Told { file, rates }| {
        for rate in rates {
            let Rate { rule, judged, wrong, interval: [low, high] } = rate;
            let [low, high] = [low, high].map(|end| end * 100.0);
            let rows = counted(*judged as u64, "row");
            say!("{NAME}{rule:<28}{NAME:#} {wrong} of {rows} judged otherwise, {low:.1}% to {high:.1}% of all (95%)");
        }
        say!("{FAINT}judgements are in {}{FAINT:#}", file.display());
    })
}

/// What a person may say.
enum Said {
    Verdict(Verdict, String),
    Skip,
    Back,
    Quit,
}

/// Ask about the rows that were not judged, until all were or the person has enough.
fn ask(review: &Review, sampled: &[Sampled]) -> Result<()> {
    let judged = review.judged()?;
    let left: Vec<&Sampled> =
        sampled.iter().filter(|row| !judged.contains(&(row.rule.clone(), row.row.id.clone()))).collect();
    let mut lines = stdin().lock().lines();
    let mut at = 0;
    while let Some(sampled) = left.get(at) {
        show(sampled, at + 1, left.len());
        match answer(&mut lines)? {
            Said::Verdict(verdict, note) => {
                review.judge(sampled, verdict, &note)?;
                at += 1;
            }
            Said::Skip => at += 1,
            Said::Back => at = at.saturating_sub(1),
            Said::Quit => break,
        }
    }
    Ok(())
}

fn answer(lines: &mut impl Iterator<Item = std::io::Result<String>>) -> Result<Said> {
    loop {
        tell!("{FAINT}k keep, d drop, each with a note behind it if you like; s skip, b back, q quit{FAINT:#}");
        let Some(line) = lines.next().transpose()? else { return Ok(Said::Quit) };
        let (word, note) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
        let note = note.trim().to_owned();
        return Ok(match word {
            "k" | "keep" => Said::Verdict(Verdict::Keep, note),
            "d" | "drop" => Said::Verdict(Verdict::Drop, note),
            "s" | "skip" => Said::Skip,
            "b" | "back" => Said::Back,
            "q" | "quit" => Said::Quit,
            _ => continue,
        });
    }
}

fn show(sampled: &Sampled, number: usize, of: usize) {
    let Sampled { rule, row } = sampled;
    let became = if rule == KEPT {
        format!("{GOOD}kept{GOOD:#}")
    } else {
        format!("{BAD}dropped by {rule}{BAD:#}: {}", row.detail)
    };
    tell!("\n{HEAD}{number} of {of}{HEAD:#}  {NAME}{}{NAME:#}  {became}", row.source);
    let shown = row.shown(None, SHOWN);
    for text in &shown.texts {
        let dots = |cut: usize| if cut > 0 { "\u{2026}" } else { "" };
        // What a rule matched is every second part.
        let parts = text.parts.iter().enumerate();
        let parts: String =
            parts.map(|(i, part)| if i % 2 == 1 { format!("{HEAD}{part}{HEAD:#}") } else { part.clone() }).collect();
        if !text.label.is_empty() {
            tell!("{FAINT}{}{FAINT:#}", text.label);
        }
        tell!("{}{parts}{}", dots(text.before), dots(text.after));
    }
}
