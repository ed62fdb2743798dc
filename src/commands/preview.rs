//! `setaccio preview`: what the rules make of the first rows, before anything is built.

use std::{borrow::Cow, collections::BTreeMap};

use anyhow::{Result, bail};
use serde::Serialize;
use setaccio_base::{
    progress::Progress,
    row::{Content, Message, Row, TOOL_CALLS},
    shown::one_line,
    suggest,
};
use setaccio_curate::{
    pipeline::filter::{self, BAD_ROW, Outcome, RowFilter},
    plan::Plan,
    recipe::pins::Pins,
    source::{Item, Names},
};
use setaccio_dataset::{
    recipe::{OnBadRow, Semantic},
    shard::Position,
};

use crate::{
    excerpt,
    fetch::Need,
    inputs,
    output::Output,
    style::{BAD, FAINT, GOOD, HEAD, NAME, count, counted, snippet},
};

/// Show kept and dropped rows with the reasons
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    inputs: inputs::Args,
    /// Rows to show, evenly from all sources
    #[arg(short = 'n', value_name = "N", default_value_t = 20)]
    rows: usize,
    /// Show rows of this source alone
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Show rows that this rule drops, as the build's table and the rejects call it
    #[arg(long, value_name = "NAME", conflicts_with = "kept")]
    rule: Option<String>,
    /// Show dropped rows alone
    #[arg(long, conflicts_with = "kept")]
    dropped: bool,
    /// Show kept rows alone
    #[arg(long)]
    kept: bool,
    #[command(flatten)]
    output: Output,
}

/// What the rules make of some rows.
#[derive(Default, Serialize)]
struct Preview {
    /// Rows that were read and are kept, shown or not.
    kept: u64,
    /// Rows that were read and are dropped, shown or not.
    dropped: u64,
    /// Those that are shown.
    rows: Vec<Shown>,
    /// What the folders of each source hold beside the files that are read.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    left_out: BTreeMap<String, Vec<String>>,
    /// Which rows a build drops besides, for what they mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    meaning: Option<String>,
    /// Columns of each source that nothing reads.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    unread: BTreeMap<String, Vec<String>>,
}

#[derive(Serialize)]
struct Shown {
    source: String,
    file: String,
    #[serde(flatten)]
    at: Position,
    kept: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    drop: Option<Drop>,
    edited: bool,
    texts: Vec<Labelled>,
}

/// Why a row is dropped.
#[derive(Serialize)]
struct Drop {
    rule: String,
    /// The matched word, or the measured value and the threshold.
    detail: String,
    /// The message of a conversation that the rule means.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// The words around a match.
    #[serde(skip_serializing_if = "Option::is_none")]
    around: Option<String>,
    /// Whether a build stops here instead.
    stops: bool,
}

/// A text of a row: its role, or its column.
#[derive(Serialize)]
struct Labelled {
    label: String,
    text: String,
}

pub fn run(args: &Args) -> Result<()> {
    let progress = args.output.bar();
    let wanted = (Need::First, &Pins::default());
    let (plan, _) = args.inputs.plan(args.inputs.load()?, wanted, &progress)?;
    progress.clear();
    check(args, &plan)?;
    let filter = RowFilter::new(&plan);
    let numbers: Vec<u16> = (0..)
        .zip(&plan.loaded.recipe.source)
        .filter(|(_, source)| args.source.as_ref().is_none_or(|name| *name == source.name))
        .map(|(number, _)| number)
        .collect();
    let mut preview = Preview::default();
    for (i, number) in numbers.iter().enumerate() {
        // The first sources show one row more if the number does not divide.
        let share = args.rows / numbers.len() + usize::from(i < args.rows % numbers.len());
        look((args, &plan, &filter), *number, share, &mut preview, &progress)?;
        let unread = filter.unread(*number, args.rows.max(1))?;
        let name = &plan.loaded.recipe.source[usize::from(*number)].name;
        if !unread.is_empty() {
            preview.unread.insert(name.clone(), unread);
        }
        let left_out = &plan.left_out[usize::from(*number)];
        if !left_out.is_empty() {
            preview.left_out.insert(name.clone(), left_out.clone());
        }
    }
    preview.meaning = plan.loaded.recipe.semantic().map(Semantic::told);
    args.output.give("preview", &preview, |preview| {
        preview.rows.iter().for_each(show);
        for (source, columns) in &preview.unread {
            let columns = one_line(&Names::of_columns(columns).to_string());
            say!("\n{FAINT}not read of {source}: {columns}{FAINT:#}");
        }
        for (source, files) in &preview.left_out {
            let (count, names) = (counted(files.len() as u64, "file"), files.iter().collect::<Names>());
            say!("\n{FAINT}{count} of {source} not read: {names}{FAINT:#}");
        }
        let [kept, dropped] = [preview.kept, preview.dropped].map(count);
        let repeats = plan.loaded.recipe.repeats().is_some();
        let unseen = if repeats { "duplicates, and repeats that rows lose," } else { "duplicates" };
        say!("\n{HEAD}{kept} kept, {dropped} dropped{HEAD:#}, of the first rows; {unseen} show in a build");
        if let Some(told) = &preview.meaning {
            say!("{FAINT}which also drops {}{FAINT:#}", one_line(told));
        }
    })
}

/// Check that what is asked for can be there.
fn check(args: &Args, plan: &Plan) -> Result<()> {
    let sources = || plan.loaded.recipe.source.iter().map(|source| source.name.as_str());
    if let Some(name) = args.source.as_deref().filter(|name| sources().all(|source| source != *name)) {
        let near = suggest::nearest(name, sources());
        bail!(
            "{} has no source `{name}`{near}; there are {}",
            plan.loaded.file,
            sources().collect::<Vec<_>>().join(", ")
        );
    }
    let rules = || filter::names(plan).into_iter().chain([BAD_ROW]);
    if let Some(name) = args.rule.as_deref().filter(|name| rules().all(|rule| !is_rule(name, rule))) {
        let near = suggest::nearest(name, rules());
        bail!("{} has no rule `{name}`{near}; there are {}", plan.loaded.file, rules().collect::<Vec<_>>().join(", "));
    }
    Ok(())
}

/// Whether `name` asks for a rule: for it, or for the preset that it is a part of.
fn is_rule(name: &str, rule: &str) -> bool {
    rule.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Read rows of one source until `share` of them are shown.
fn look(
    (args, plan, filter): (&Args, &Plan, &RowFilter<'_>),
    number: u16,
    share: usize,
    preview: &mut Preview,
    progress: &dyn Progress,
) -> Result<()> {
    let stops = plan.loaded.recipe.read.on_bad_row == OnBadRow::Stop;
    let mut shown = 0;
    for part in plan.parts(number) {
        if shown == share {
            break;
        }
        let file = &plan.files[part.file];
        for item in plan.read(part)? {
            if shown == share {
                break;
            }
            if progress.cancelled() {
                return Err(setaccio_base::Error::Interrupted.into());
            }
            let row = judged(filter, item?, number, stops);
            let counter = if row.kept { &mut preview.kept } else { &mut preview.dropped };
            *counter += 1;
            let rule = row.drop.as_ref().map(|drop| drop.rule.as_str());
            let wanted = match (&args.rule, rule) {
                (Some(name), rule) => rule.is_some_and(|rule| is_rule(name, rule)),
                (None, Some(_)) => !args.kept,
                (None, None) => !args.dropped,
            };
            if wanted {
                shown += 1;
                let (source, file) = (plan.source(file).name.clone(), file.input.name.clone());
                preview.rows.push(Shown { source, file, ..row });
            }
        }
    }
    Ok(())
}

/// What becomes of a row.
fn judged(filter: &RowFilter<'_>, item: Item, source: u16, stops: bool) -> Shown {
    let shown = |at, drop: Option<Drop>, edited, texts| Shown {
        source: String::new(),
        file: String::new(),
        at,
        kept: drop.is_none(),
        drop,
        edited,
        texts,
    };
    match item {
        Item::Bad { at, reason, raw } => {
            let drop = Drop { rule: BAD_ROW.to_owned(), detail: reason, message: None, around: None, stops };
            shown(at, Some(drop), false, vec![Labelled { label: "raw".into(), text: raw }])
        }
        Item::Row { at, row } => {
            let mut tallies = filter.tallies();
            match filter.apply(row, at, source, &mut tallies) {
                Outcome::Drop { rule, detail, message, row } => {
                    let around = excerpt::around(row.content.texts(), &detail);
                    let stops = stops && rule == filter::OUTPUT;
                    shown(at, Some(Drop { rule, detail, message, around, stops }), false, labelled(&row))
                }
                Outcome::Keep(kept) => {
                    let edited = tallies.iter().any(|t| t.lines_dropped + t.lines_edited + t.rows_edited > 0);
                    shown(at, None, edited, labelled(&kept.row))
                }
            }
        }
    }
}

fn labelled(row: &Row) -> Vec<Labelled> {
    let one = |label: &str, text: &str| Labelled { label: label.to_owned(), text: text.to_owned() };
    match &row.content {
        Content::Preference { prompt, chosen, rejected, .. } => {
            let sides = [("prompt", prompt), ("chosen", chosen), ("rejected", rejected)];
            sides.map(|(side, turns)| one(side, &turns.last().map_or(Cow::Borrowed(""), said))).into()
        }
        content => match content.messages().next() {
            Some(_) => content.messages().map(|turn| one(&turn.role, &said(turn))).collect(),
            None => content.texts().map(|text| one("text", text)).collect(),
        },
    }
}

/// What a turn says, and which tools it calls.
fn said(turn: &Message) -> Cow<'_, str> {
    match turn.field(TOOL_CALLS) {
        Some(calls) => format!("{} {calls}", turn.content).trim_start().to_owned().into(),
        None => Cow::Borrowed(&turn.content),
    }
}

fn show(row: &Shown) {
    let Shown { source, file, at, drop, edited, texts, .. } = row;
    if let Some(Drop { rule, detail, message, around, stops }) = drop {
        say!("{BAD}- dropped{BAD:#} {NAME}{source}{NAME:#}  {BAD}{rule}: {}{BAD:#}", one_line(detail));
        if *stops {
            line("a build", "stops here; with --on-bad-row skip it drops such rows");
        }
        if let Some(message) = message {
            line("of", message);
        }
        if let Some(around) = around {
            line("around it", around);
        }
    } else {
        let edited = if *edited { ", edited" } else { "" };
        say!("{GOOD}+ kept{GOOD:#}    {NAME}{source}{NAME:#}{edited}");
    }
    line("from", &format!("{file}, {at}"));
    for Labelled { label, text } in texts {
        line(label, &snippet(text, 96));
    }
}

fn line(label: &str, text: &str) {
    say!("    {FAINT}{label:<10}{FAINT:#} {}", one_line(text));
}
