//! `setaccio compare`: what differs between two builds, two runs or two chains.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use setaccio_curate::report::compare::{self, Comparison, Counts};

use super::train;
use crate::{
    kind::Kind,
    output::Output,
    style::{BAD, FAINT, GOOD, HEAD, NAME, count, counted},
};

/// Tell what differs between two builds: rows by source and rule, settings and inputs; between two runs or chains: recipes, data, losses, samples
#[derive(clap::Args)]
pub struct Args {
    /// Folder of a finished build, or of a run or a chain
    a: PathBuf,
    /// Folder of another one
    b: PathBuf,
    /// Write the rows of builds that differ to this Parquet file
    #[arg(long, value_name = "FILE")]
    rows: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

pub fn run(args: &Args) -> Result<()> {
    let [a, b] = [Kind::of(&args.a)?, Kind::of(&args.b)?];
    if [a, b] != [Kind::Build; 2] {
        let [one, other] = [&args.a, &args.b].map(|folder| Path::display(folder));
        ensure!(a == b, "{one} holds a {}, {other} a {}: nothing of one is in the other", a.name(), b.name());
        ensure!(args.rows.is_none(), "--rows writes rows of builds, and {one} holds a {}", a.name());
        return match a {
            Kind::Chain => train::compare_chains(&args.a, &args.b, args.output),
            Kind::Run | Kind::Build => train::compare_runs(&args.a, &args.b, args.output),
        };
    }
    let progress = args.output.bar();
    let found = compare::compare(&args.a, &args.b, args.rows.as_deref(), &progress)?;
    progress.clear();
    args.output.give("compare", &found, show)?;
    if let Some(file) = &args.rows {
        tell!("{FAINT}the rows that differ are in {}{FAINT:#}", file.display());
    }
    Ok(())
}

fn show(found: &Comparison) {
    let Comparison { a, b, rows, sources, fates, changes, settings, inputs } = found;
    if a.fingerprint == b.fingerprint {
        say!("{GOOD}the same:{GOOD:#} both builds have the fingerprint {}", a.fingerprint);
    }
    say!("{HEAD}rows{HEAD:#}  {} and {}", count(a.rows), count(b.rows));
    counts("all", *rows);
    if sources.len() > 1 {
        for (source, rows) in sources {
            counts(source, *rows);
        }
    }
    for fate in fates {
        let what = match fate.rule.as_str() {
            "" => "that the other build has nowhere by this text".to_owned(),
            rule if rule == fate.stage => format!("that the other build dropped by {NAME}{rule}{NAME:#}"),
            rule => format!("that the other build dropped by {NAME}{rule}{NAME:#}, in the stage {}", fate.stage),
        };
        for (sign, style, rows, word) in [('+', GOOD, fate.added, "added"), ('-', BAD, fate.removed, "removed")] {
            if rows > 0 {
                say!("{style}{sign} {} {word}{style:#} {what}", counted(rows, "row"));
            }
        }
    }
    for (what, rows) in changes {
        say!("{NAME}~ {}{NAME:#} with another {what}", counted(*rows, "row"));
    }
    for (title, differ) in [("settings", settings), ("inputs", inputs)] {
        if !differ.is_empty() {
            say!("\n{HEAD}{title}{HEAD:#}");
        }
        for (key, [a, b]) in differ {
            say!("  {NAME}{key}{NAME:#}: {a} {FAINT}->{FAINT:#} {b}");
        }
    }
}

fn counts(name: &str, rows: Counts) {
    let Counts { same, added, removed, changed } = rows;
    let [same, added, removed, changed] = [same, added, removed, changed].map(count);
    say!(
        "  {NAME}{name:<20}{NAME:#} {same} the same, {GOOD}{added} added{GOOD:#}, {BAD}{removed} removed{BAD:#}, {changed} changed"
    );
}
