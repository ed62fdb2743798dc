//! `setaccio why`: what became of one row.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde::Serialize;
use setaccio_base::{progress::Progress as _, row::Row, sha256, shown::one_line};
use setaccio_curate::{
    key,
    pipeline::filter::{Outcome as Verdict, RowFilter},
    plan::Plan,
    recipe::pins::Pins,
    report::why::{Build, Fate, Outcome, Query},
    source::Item,
};
use setaccio_dataset::{folder::RECIPE_LOCK, recipe::LeftOut, shard::Position};

use crate::{
    fetch::Need,
    inputs,
    output::Output,
    progress::Bar,
    style::{BAD, FAINT, GOOD, HEAD, NAME, count, counted, snippet},
};

/// Tell what became of a row: the shard that it is in, or the stage, rule and value that dropped it
#[derive(clap::Args)]
pub struct Args {
    /// Folder of a finished build
    out: PathBuf,
    /// The row: its id or the first digits of it, FILE:ROW with rows counted from 0, or words that it says
    row: String,
    /// Where the inputs are, for the FILE:ROW of a row that was kept [default: where they were]
    #[arg(long, value_name = "samples|hub|DIR")]
    from: Option<setaccio_curate::source::origin::Origin>,
    /// Rows to show
    #[arg(short = 'n', value_name = "N", default_value_t = 10)]
    rows: usize,
    #[command(flatten)]
    output: Output,
}

/// The rows that were found.
#[derive(Serialize)]
struct Answer {
    /// How many there are; `rows` has the first of them.
    found: usize,
    rows: Vec<Fate>,
}

pub fn run(args: &Args) -> Result<()> {
    let progress = args.output.bar();
    let build = Build::open(&args.out)?;
    let (mut fates, mut beyond) = (Vec::new(), Vec::new());
    for query in build.queries(&args.row) {
        fates = build.find(&query, &progress)?;
        if let Query::Place(file, row) = &query
            && fates.is_empty()
        {
            for file in build.inputs(file) {
                match kept(args, &build, file, *row, &progress)? {
                    Found::Rows(rows) => fates.extend(rows),
                    Found::Beyond(rows) => beyond.push(beyond_the_end(file, rows)),
                }
            }
        }
        if !fates.is_empty() {
            break;
        }
    }
    progress.clear();
    if fates.is_empty() {
        bail!("{}", if beyond.is_empty() { build.not_found(&args.row) } else { beyond.join("; ") });
    }
    let found = fates.len();
    fates.truncate(args.rows);
    args.output.give("why", &Answer { found, rows: fates }, |Answer { found, rows }| {
        if *found > 1 {
            let shown =
                if *found > rows.len() { format!(", of which these are {}", rows.len()) } else { String::new() };
            say!("{HEAD}{} rows{HEAD:#}{shown}\n", count(*found as u64));
        }
        rows.iter().for_each(show);
    })
}

/// What is at a place of an input.
enum Found {
    /// A row, which the build has in these places.
    Rows(Vec<Fate>),
    /// Nothing: the file has so many rows.
    Beyond(u64),
}

/// What is said of a place behind the last row.
fn beyond_the_end(file: &str, rows: u64) -> String {
    let has = format!("{file} has {}", counted(rows, "row"));
    match rows.checked_sub(1) {
        Some(last) => format!("{has}, counted from 0: the last is {file}:{last}"),
        None => has,
    }
}

/// The row at a place of an input that no reject names: read again, to learn its id and find it by that.
fn kept(args: &Args, build: &Build<'_>, file: &str, row: u64, progress: &Bar) -> Result<Found> {
    let unknown = |why: String| {
        anyhow::anyhow!(
            "{file}:{row} is not among the rows that were dropped. Where it is among those kept is not told without the \
             input, and that is not here: {why}"
        )
    };
    let plan = plan_of(args, build, file, progress).map_err(|e| unknown(format!("{e:#}")))?;
    let filter = RowFilter::new(&plan);
    let mut rows = 0;
    for part in plan.tasks.iter().flat_map(|task| &task.parts) {
        for item in plan.read(part)? {
            if progress.cancelled() {
                return Err(setaccio_base::Error::Interrupted.into());
            }
            let item = item?;
            let (Item::Row { at, .. } | Item::Bad { at, .. }) = &item;
            rows += 1;
            if at.row != row {
                continue;
            }
            return match item {
                Item::Row { at, row } => found(build, &filter, (file, at), row, progress).map(Found::Rows),
                Item::Bad { reason, .. } => bail!("{file}:{row} cannot be read now: {reason}"),
            };
        }
    }
    Ok(Found::Beyond(rows))
}

fn found(
    build: &Build<'_>,
    filter: &RowFilter<'_>,
    (file, at): (&str, Position),
    row: Row,
    progress: &Bar,
) -> Result<Vec<Fate>> {
    let Verdict::Keep(kept) = filter.apply(row, at, 0, &mut filter.tallies()) else {
        bail!("{file}, {at}: this version of Setaccio drops it, and the rejects do not have it");
    };
    let fates = build.kept(&kept.row.content, file, at, progress)?;
    let counted = build.lock.recipe.sample.as_ref().is_some_and(|s| s.left_out == LeftOut::Count);
    if fates.is_empty() && counted {
        let id = sha256::hex(&key::id(&kept.row.content));
        bail!("{file}, {at}: the filters keep it (id {id}), and it is outside the sample, whose rest is only counted");
    }
    Ok(fates)
}

/// The plan of the build again, of this one file.
fn plan_of(args: &Args, build: &Build<'_>, file: &str, progress: &Bar) -> Result<Plan> {
    let inputs = inputs::Args::of_recipe(args.out.join(RECIPE_LOCK), args.from.clone());
    let mut loaded = inputs.load()?;
    let Some(input) = build.lock.input.iter().find(|input| input.file == file) else { bail!("the lock has no {file}") };
    loaded.recipe.source.retain(|source| source.name == input.source);
    if let (Some(source), true) = (loaded.recipe.source.first_mut(), input.commit.is_some()) {
        let name = Path::new(file).strip_prefix(&source.name).unwrap_or(Path::new(file));
        source.files = vec![name.display().to_string()];
    }
    if let Some(rebuilt) = &mut loaded.rebuilt {
        rebuilt.lock.input.retain(|input| input.file == file);
    }
    loaded.recipe.read.limit = None;
    Ok(inputs.plan(loaded, (Need::All, &Pins::default()), progress)?.0)
}

fn show(fate: &Fate) {
    let id = fate.id.as_deref().unwrap_or("no id");
    match &fate.outcome {
        Outcome::Kept(_) => say!("{GOOD}+ kept{GOOD:#}    {NAME}{}{NAME:#}  {id}", fate.source),
        Outcome::Dropped { .. } => say!("{BAD}- dropped{BAD:#} {NAME}{}{NAME:#}  {id}", fate.source),
    }
    for (label, text) in fate.told() {
        line(label, &text);
    }
    for text in &fate.texts {
        line("", &snippet(text, 96));
    }
}

fn line(label: &str, text: &str) {
    say!("    {FAINT}{label:<10}{FAINT:#} {}", one_line(text));
}
