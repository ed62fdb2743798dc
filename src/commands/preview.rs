//! `setaccio preview`: what the rules make of the first rows, before anything is built.

use anyhow::Result;
use setaccio_base::row::{Content, Row};
use setaccio_curate::{
    pipeline::filter::{Outcome, RowFilter},
    plan::Plan,
    recipe::pins::Pins,
    source::Item,
};

use crate::{
    fetch::Need,
    inputs,
    progress::Bar,
    style::{BAD, FAINT, GOOD, HEAD, NAME, snippet},
};

/// Show kept and dropped rows with the reasons
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    inputs: inputs::Args,
    /// Rows to show, evenly from all sources
    #[arg(short = 'n', value_name = "N", default_value_t = 20)]
    rows: usize,
    /// Show dropped rows alone
    #[arg(long)]
    dropped: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let progress = Bar::new()?;
    let wanted = (Need::First, &Pins::default());
    let (plan, _) = args.inputs.plan(args.inputs.load()?, wanted, &progress, false)?;
    progress.clear();
    let filter = RowFilter::new(&plan);
    let sources = plan.loaded.recipe.source.len();
    let (mut kept, mut dropped) = (0, 0);
    for (number, source) in plan.loaded.recipe.source.iter().enumerate() {
        // The first sources show one row more if the number does not divide.
        let share = args.rows / sources + usize::from(number < args.rows % sources);
        let mut shown = 0;
        for item in items(&plan, number) {
            if shown == share {
                break;
            }
            let (reason, text) = match item? {
                Item::Bad { at, reason, raw } => {
                    (Some(format!("bad_row: {at} {reason}")), vec![("raw".to_owned(), raw)])
                }
                Item::Row { at, row } => {
                    let mut tallies = filter.tallies();
                    match filter.apply(row, at, u16::try_from(number)?, &mut tallies) {
                        Outcome::Drop { rule, detail, row } => (Some(format!("{rule}: {detail}")), told(&row, "")),
                        Outcome::Keep(kept) => {
                            let edited = tallies.iter().any(|t| t.lines_dropped + t.lines_edited + t.rows_edited > 0);
                            (None, told(&kept.row, if edited { " (edited)" } else { "" }))
                        }
                    }
                }
            };
            if reason.is_some() {
                dropped += 1;
            } else {
                kept += 1;
            }
            if args.dropped && reason.is_none() {
                continue;
            }
            shown += 1;
            match reason {
                Some(reason) => {
                    anstream::println!("{BAD}- dropped{BAD:#} {NAME}{}{NAME:#}  {BAD}{reason}{BAD:#}", source.name);
                }
                None => anstream::println!("{GOOD}+ kept{GOOD:#}    {NAME}{}{NAME:#}", source.name),
            }
            for (label, text) in text {
                anstream::println!("    {FAINT}{label:<10}{FAINT:#} {}", snippet(&text, 96));
            }
        }
    }
    anstream::println!("\n{HEAD}{kept} kept, {dropped} dropped{HEAD:#}, of the first rows; duplicates show in a build");
    Ok(())
}

/// Rows of one source in order.
fn items(plan: &Plan, source: usize) -> impl Iterator<Item = Result<Item>> {
    let tasks = plan.tasks.iter().filter(move |t| usize::from(plan.files[t.file].source) == source);
    tasks.flat_map(|task| {
        let items: Box<dyn Iterator<Item = _>> = match plan.read(task) {
            Ok(items) => Box::new(items.map(|i| i.map_err(Into::into))),
            Err(error) => Box::new(std::iter::once(Err(error.into()))),
        };
        items
    })
}

fn told(row: &Row, note: &str) -> Vec<(String, String)> {
    match &row.content {
        Content::Text(text) => vec![(format!("text{note}"), text.clone())],
        Content::Chat { messages, .. } => messages.iter().map(|t| (t.role.clone(), t.content.clone())).collect(),
        Content::Preference { prompt, chosen, rejected, .. } => {
            let last =
                |turns: &[setaccio_base::row::Message]| turns.last().map_or_else(String::new, |t| t.content.clone());
            vec![("prompt".into(), last(prompt)), ("chosen".into(), last(chosen)), ("rejected".into(), last(rejected))]
        }
    }
}
