//! `setaccio build`: follow a recipe from sources to shards, rejects, ledger and card.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use setaccio_curate::{
    build::{self, BuildOptions, BuildOutcome, Part},
    plan::Plan,
    recipe::pins::{self, Pins},
    report::card,
    source::origin::Origin,
};
use setaccio_dataset::ledger::Ledger;

use crate::{
    fetch::Need,
    inputs,
    progress::Bar,
    style::{FAINT, GOOD, HEAD, NAME, count, megabytes},
};

/// Build a data set: shards, rejects, ledger, lock and card
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    inputs: inputs::Args,
    /// Folder to write [default: data/out/NAME OF THE RECIPE, below the current folder]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Do slice I of N and nothing more; any machine that sees DIR can do another
    #[arg(long, value_name = "I/N", conflicts_with = "finish", value_parser = slice)]
    task: Option<Part>,
    /// Join the slices that are done
    #[arg(long)]
    finish: bool,
    /// Build again even if DIR holds this very build
    #[arg(long)]
    force: bool,
}

fn slice(text: &str) -> Result<Part, String> {
    let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    match parts {
        Some((number, of)) if (1..=of).contains(&number) => Ok(Part::Slice { number, of }),
        _ => Err("write I/N with I from 1 to N, for instance 3/7".into()),
    }
}

pub fn run(args: &Args) -> Result<()> {
    let progress = Bar::new()?;
    let loaded = args.inputs.load()?;
    let out = args.out.clone().unwrap_or_else(|| Path::new("data/out").join(&loaded.recipe.name));
    let part = if args.finish { Part::Finish } else { args.task.unwrap_or(Part::Whole) };
    if out.is_file() {
        bail!("{} is a file; name a folder with --out", out.display());
    }
    // A branch keeps the commit that it had when this folder's build first asked, until --force asks anew.
    let pins = if args.force { Pins::default() } else { pins::of(&out) };
    let (plan, _) = args.inputs.plan(loaded, (Need::All, &pins), &progress, false)?;
    let done = build::run(&plan, &out, BuildOptions { part, force: args.force, jobs: args.inputs.jobs() }, &progress);
    progress.clear();
    match done? {
        BuildOutcome::UpToDate(ledger) => {
            anstream::println!(
                "{GOOD}up to date:{GOOD:#} {} holds this very build; --force builds it again",
                out.display()
            );
            summary(&ledger, &plan, &out);
        }
        BuildOutcome::Slice { tasks, reused } => {
            let new = tasks - reused;
            anstream::println!(
                "{GOOD}slice done:{GOOD:#} {tasks} tasks, {new} of them now; `--finish` joins all slices"
            );
        }
        BuildOutcome::Whole { ledger, reused } => {
            let tasks = plan.tasks.len();
            anstream::println!("{GOOD}built:{GOOD:#} {tasks} tasks, {reused} of them done before");
            summary(&ledger, &plan, &out);
        }
    }
    Ok(())
}

fn summary(ledger: &Ledger, plan: &Plan, out: &Path) {
    let recipe = &plan.loaded.recipe;
    anstream::println!("\n{HEAD}{:<28} {:>12} {:>12} {:>12}{HEAD:#}", "stage and rule", "in", "dropped", "out");
    for stage in &ledger.stages {
        let flow = stage.flow;
        let dropped = flow.rows_in - flow.rows_out;
        let [rows_in, dropped, rows_out] = [flow.rows_in, dropped, flow.rows_out].map(count);
        anstream::println!("{NAME}{:<28}{NAME:#} {rows_in:>12} {dropped:>12} {rows_out:>12}", stage.stage);
        for rule in stage.rules.iter().filter(|r| r.rule != stage.stage) {
            let edits = card::edits(&rule.tally);
            if rule.tally.dropped == 0 && edits.is_empty() {
                continue;
            }
            let dropped = count(rule.tally.dropped);
            anstream::println!("  {:<26} {:>12} {dropped:>12} {:>12}  {FAINT}{}{FAINT:#}", rule.rule, "", "", edits);
        }
    }
    for split in &ledger.splits {
        let (rows, mb) = (count(split.rows), megabytes(split.bytes));
        anstream::println!("\n{HEAD}{}{HEAD:#}: {rows} rows, {mb} of text", split.split);
    }
    for note in &ledger.notes {
        anstream::println!("note: {note}");
    }
    anstream::println!("\n{}  {FAINT}card: {}{FAINT:#}", out.display(), out.join("README.md").display());
    if plan.origin == Origin::Samples {
        anstream::println!("\nThese are the bundled samples. The full data would come from");
        for source in recipe.source.iter().filter(|source| !source.local()) {
            let rows = source.rows.map_or(String::new(), |n| format!(", about {} rows", count(n)));
            anstream::println!(
                "  {NAME}{}{NAME:#}  https://huggingface.co/datasets/{} at {} ({}{rows})",
                source.name,
                source.repo,
                source.revision,
                source.license
            );
        }
        anstream::println!(
            "`--from hub` fetches it; `--from DIR` reads it from DIR/<owner>/<name>; `setaccio plan` shows what is there"
        );
    }
}
