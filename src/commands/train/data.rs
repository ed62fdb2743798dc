//! Rows that a command of the trainer needs, built on the way.

use std::path::{Path, PathBuf};

use anyhow::Result;
use setaccio_curate::{
    build::{self, BuildOptions, BuildOutcome, KEPT_TASKS, Part},
    recipe::pins,
    source::origin::Origin,
};

use crate::{
    fetch::Need,
    inputs,
    jobs::Jobs,
    progress::Bar,
    style::{FAINT, GOOD},
};

/// Build the recipe in a file, from where its rows are, into `out`, and say in a line what came of it.
pub fn build((recipe, from): (&Path, Option<Origin>), out: &Path, jobs: Jobs, progress: &Bar) -> Result<()> {
    let inputs = inputs::Args { jobs, ..inputs::Args::of_recipe(PathBuf::from(recipe), from) };
    // A branch keeps the commit that it had when this folder was built first.
    let (planned, _) = inputs.plan(inputs.load()?, (Need::All, &pins::of(out)), progress)?;
    let options = BuildOptions { part: Part::Whole, force: false, jobs: inputs.jobs.threads(), keep_tasks: KEPT_TASKS };
    let done = build::run(&planned, out, options, progress);
    progress.clear();
    let (what, ledger) = match done? {
        BuildOutcome::UpToDate(ledger) => ("up to date", Some(ledger)),
        BuildOutcome::Whole { ledger, .. } => ("built", Some(ledger)),
        BuildOutcome::Slice { .. } | BuildOutcome::Written => ("built in part", None),
    };
    let splits = ledger.iter().flat_map(|l| &l.splits).map(|s| format!("{} {}", s.rows, s.split));
    let splits = splits.collect::<Vec<_>>().join(", ");
    say!("{GOOD}{what}:{GOOD:#} {splits} rows  {FAINT}{}{FAINT:#}", out.display());
    Ok(())
}
