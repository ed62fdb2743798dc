//! `setaccio build`: follow a recipe from sources to shards, rejects, ledger and card.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Result, bail};
use clap::ValueEnum;
use serde::Serialize;
use setaccio_base::{progress::Progress, shell};
use setaccio_curate::{
    build::{self, BuildOptions, BuildOutcome, Part},
    folder,
    parts::{self, AtWork, Noted},
    pipeline::piece_file::Board,
    plan::Plan,
    recipe::{
        RecipeFile,
        pins::{self, Pins},
    },
    report::card,
    shared_finish::SharedFinish,
    shared_work::SharedWork,
    stored::{self, Published},
};
use setaccio_dataset::{ledger::Ledger, lock::ReadFrom};

use crate::{
    batch_system,
    fetch::Need,
    inputs,
    output::Output,
    progress::Bar,
    stores,
    style::{FAINT, GOOD, HEAD, NAME, count, counted, megabytes},
};

/// Build a data set: shards, rejects, ledger, lock and card
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    inputs: inputs::Args,
    /// Folder to write, or a place in an object store, for instance s3://BUCKET/NAME [default: data/out/NAME OF THE RECIPE, below
    /// the current folder]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Where --out is in an object store: the folder of this machine that the build is made in before it is put there, and that
    /// keeps it [default: data/out/NAME OF THE RECIPE]
    #[arg(long, value_name = "DIR", requires = "out")]
    work: Option<PathBuf>,
    /// Do slice I of N and nothing more; any machine that sees DIR can do another. `auto/N` takes I from the variables of a
    /// Slurm array, a Kubernetes Indexed Job or an AWS Batch array, `auto` takes N too, where they have it
    #[arg(long, value_name = "I/N", conflicts_with = "finish", value_parser = slice)]
    task: Option<Part>,
    /// Join the slices that are done; with =I/N as one of N processes that do it together, all but publishing, which `--finish` alone
    /// does then
    #[arg(long, value_name = "I/N", num_args = 0..=1, require_equals = true, default_missing_value = ALONE,
          hide_default_value = true, value_parser = share)]
    finish: Option<Part>,
    /// Build again even if DIR holds this very build
    #[arg(long)]
    force: bool,
    /// Keep finished tasks, in DIR/.setaccio, for a build after a file is added: `small`, if they take no more than 1 GiB
    #[arg(long, value_name = "WHEN", value_enum, hide_possible_values = true, default_value = "small")]
    keep_tasks: KeepTasks,
    #[command(flatten)]
    output: Output,
}

fn slice(text: &str) -> Result<Part, String> {
    let parts = match text.split_once('/') {
        None if text == AUTO => batch_system::turn()?,
        Some((AUTO, of)) => (batch_system::turn()?.0, of.parse().ok()),
        Some((i, of)) => (i.parse().unwrap_or(0), of.parse().ok()),
        None => (0, None),
    };
    match parts {
        (number, Some(of)) if (1..=of).contains(&number) => Ok(Part::Slice { number, of }),
        (_, None) if text == AUTO => Err("the batch system does not say how many there are: write auto/N".into()),
        _ => Err("write I/N with I from 1 to N, for instance 3/7".into()),
    }
}

fn share(text: &str) -> Result<Part, String> {
    if text == ALONE {
        return Ok(Part::Finish);
    }
    Ok(match slice(text)? {
        Part::Slice { number, of } => Part::Share { number, of },
        other => other,
    })
}

/// What `--finish` without a value stands for.
const ALONE: &str = "alone";

/// Stands for the number of a slice that the batch system gives.
const AUTO: &str = "auto";

/// What becomes of finished tasks once the build is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum KeepTasks {
    /// Kept, whatever they take.
    Always,
    /// Kept if they take no more than 1 GiB.
    Small,
    /// Removed.
    Never,
}

impl KeepTasks {
    /// So many bytes at most.
    fn most(self) -> u64 {
        match self {
            Self::Always => u64::MAX,
            Self::Small => build::KEPT_TASKS,
            Self::Never => 0,
        }
    }
}

/// Finished tasks that take less than this are kept without a word, in bytes.
const WORTH_A_LINE: u64 = 100_000_000;

/// What a build did.
#[derive(Serialize)]
struct Done {
    status: Status,
    out: String,
    /// Where the build lies, if that is in an object store.
    #[serde(skip_serializing_if = "Option::is_none")]
    stored: Option<String>,
    tasks: Tasks,
    #[serde(skip_serializing_if = "Option::is_none")]
    ledger: Option<Ledger>,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Built,
    UpToDate,
    Stored,
    SliceDone,
    Written,
}

/// Its tasks.
#[derive(Clone, Copy, Serialize)]
struct Tasks {
    /// How many it has.
    all: usize,
    /// Of these, done by an earlier run.
    reused: usize,
    /// Bytes of them that are kept for the next build.
    kept_bytes: u64,
}

pub fn run(args: &Args) -> Result<()> {
    let progress = args.output.bar();
    let loaded = args.inputs.load()?;
    let usual = || Path::new("data/out").join(&loaded.recipe.name);
    let to = args.out.as_deref().and_then(stores::address);
    let out = match (&args.out, to, &args.work) {
        (_, Some(_), work) => work.clone().unwrap_or_else(usual),
        (_, None, Some(_)) => {
            bail!("--work is for builds that are put into an object store: give --out an address, or leave --work out")
        }
        (out, None, None) => out.clone().unwrap_or_else(usual),
    };
    if let Some(address) = to {
        // Without a store all of the work would be for nothing.
        stored::check_place(address)?;
    }
    let part = args.finish.or(args.task).unwrap_or(Part::Whole);
    if out.is_file() {
        bail!("{} is a file; name a folder with --out", out.display());
    }
    // Whoever looks how the parts stand reads what each leaves there.
    let name = part.name();
    if name.is_some() {
        folder::check(&out)?;
    }
    let at_work = name.map(|name| AtWork::begin(&out, &name, batch_system::note())).transpose()?;
    let done = plan_and_build(args, loaded, (&out, to), (part, at_work.as_ref()), &progress);
    progress.clear();
    if let Some(at_work) = at_work {
        let left = match &done {
            Ok(_) => at_work.done(),
            Err(error) => at_work.failed(format!("{error:#}"), super::stopped(error)),
        };
        super::tell_status(left, &progress);
    }
    let (plan, outcome, put) = done?;
    let all = plan.tasks.len();
    let (status, tasks, ledger) = match outcome {
        BuildOutcome::UpToDate(ledger) if put.as_ref().is_none_or(|put| put.before) => {
            (Status::UpToDate, Tasks { all, reused: all, kept_bytes: 0 }, Some(ledger))
        }
        BuildOutcome::UpToDate(ledger) => (Status::Stored, Tasks { all, reused: all, kept_bytes: 0 }, Some(ledger)),
        BuildOutcome::Slice { tasks, reused } => (Status::SliceDone, Tasks { all: tasks, reused, kept_bytes: 0 }, None),
        BuildOutcome::Written => (Status::Written, Tasks { all, reused: all, kept_bytes: 0 }, None),
        BuildOutcome::Whole { ledger, reused, kept } => {
            (Status::Built, Tasks { all, reused, kept_bytes: kept }, Some(ledger))
        }
    };
    let shown = to.map_or_else(|| out.display().to_string(), str::to_owned);
    let stored = put.as_ref().map(|put| put.address.clone());
    let done = Done { status, out: shown, stored, tasks, ledger };
    if let Some(left) = put.and_then(|put| put.left) {
        progress
            .warn(&format!("the earlier build at {left} could not be removed: nothing reads it any more, remove it"));
    }
    args.output.give("build", &done, |done| show(done, args.keep_tasks, &plan, &out))
}

/// Plan, and do a part of the build.
fn plan_and_build(
    args: &Args,
    loaded: RecipeFile,
    (out, to): (&Path, Option<&str>),
    (part, at_work): (Part, Option<&AtWork>),
    progress: &Bar,
) -> Result<(Plan, BuildOutcome, Option<Published>)> {
    // A branch keeps the commit that it had when this folder's build first asked, until --force asks anew.
    let pins = if args.force { Pins::default() } else { pins::of(out) };
    let turn = match part {
        Part::Whole => None,
        Part::Slice { number, of } | Part::Share { number, of } => Some([number, of]),
        Part::Finish => Some([1, 1]),
    };
    let inspected = turn.map(|turn| parts::inspected(out, turn));
    let (plan, _) = args.inputs.plan_with(loaded, (Need::All, &pins), inspected, progress)?;
    if let Some(address) = to {
        stored::check_apart(&plan, address)?;
    }
    let keep_tasks = args.keep_tasks.most();
    let options = BuildOptions { part, force: args.force, jobs: args.inputs.jobs.threads(), keep_tasks };
    let noted = at_work.map(|at_work| Noted { at_work, progress });
    let followed: &dyn Progress = noted.as_ref().map_or(progress, |noted| noted as &dyn Progress);
    let (outcome, put) = match to {
        None => (build::run(&plan, out, options, followed)?, None),
        Some(address) => in_store(&plan, (out, address), options, (followed, progress))?,
    };
    Ok((plan, outcome, put))
}

/// Build in the folder `local` of this machine, and put what comes of it at `address`.
fn in_store(
    plan: &Plan,
    (local, address): (&Path, &str),
    options: BuildOptions,
    (followed, progress): (&dyn Progress, &Bar),
) -> setaccio_curate::Result<(BuildOutcome, Option<Published>)> {
    let shared = SharedWork::new(plan, local, address)?;
    let joined = Arc::new(SharedFinish::new(plan, address)?);
    let slice = matches!(options.part, Part::Slice { .. });
    if options.part != Part::Whole {
        parts::share_through(local, address)?;
    }
    if !options.force
        && let Some((ledger, at)) = stored::holds(plan, address)?
    {
        if matches!(options.part, Part::Share { .. } | Part::Finish) {
            joined.clear()?;
        }
        let published = Published { address: at, before: true, left: None };
        return Ok((BuildOutcome::UpToDate(ledger), Some(published)));
    }
    if slice && !options.force && shared.is_done(options.part)? {
        let tasks = shared.count(options.part);
        return Ok((BuildOutcome::Slice { tasks, reused: tasks }, None));
    }
    if !options.force {
        shared.fetch(options.part, followed)?;
    }
    let joins = match options.part {
        Part::Share { .. } => true,
        Part::Finish => joined.is_begun()?,
        Part::Whole | Part::Slice { .. } => false,
    };
    let board = joins.then(|| joined.clone() as Arc<dyn Board>);
    let outcome = build::run_with(plan, (local, board), options, followed);
    // Somebody may have published it meanwhile, and taken away what was joined.
    if joins
        && !matches!(outcome, Ok(BuildOutcome::Whole { .. } | BuildOutcome::UpToDate(_)))
        && !options.force
        && let Ok(Some((ledger, at))) = stored::holds(plan, address)
    {
        joined.clear()?;
        return Ok((BuildOutcome::UpToDate(ledger), Some(Published { address: at, before: true, left: None })));
    }
    let outcome = outcome.map_err(|error| match error {
        // Whatever does what is missing puts it where this looks for it.
        setaccio_curate::Error::Unfinished { missing, total, commands } => {
            let here = format!("--out {}", shell::word(&local.display().to_string()));
            let there = format!("--out {}", shell::word(address));
            let commands = commands.iter().map(|command| command.replace(&here, &there)).collect();
            setaccio_curate::Error::Unfinished { missing, total, commands }
        }
        other => other,
    })?;
    if slice {
        shared.put(options.part, followed)?;
        return Ok((outcome, None));
    }
    let (BuildOutcome::UpToDate(ledger) | BuildOutcome::Whole { ledger, .. }) = &outcome else {
        return Ok((outcome, None));
    };
    // The folder holds the build, and the store does not yet: that is a part of its own.
    let at_work = AtWork::begin(local, parts::STORE, batch_system::note())?;
    progress.transfer("upload", ledger.files.iter().map(|file| file.bytes).sum());
    let published = stored::publish(local, address, progress).and_then(|published| {
        shared.clear()?;
        joined.clear()?;
        Ok(published)
    });
    let left = match &published {
        Ok(_) => at_work.done(),
        Err(error) => at_work.failed(error.to_string(), matches!(error, setaccio_curate::Error::Interrupted)),
    };
    super::tell_status(left, progress);
    Ok((outcome, Some(published?)))
}

fn show(done: &Done, keep: KeepTasks, plan: &Plan, out: &Path) {
    let Tasks { all, reused, kept_bytes } = done.tasks;
    let (tasks, new) = (counted(all as u64, "task"), count((all - reused) as u64));
    match done.status {
        Status::UpToDate => {
            say!("{GOOD}up to date:{GOOD:#} {} holds this very build; --force builds it again", done.out);
        }
        Status::Stored => {
            say!("{GOOD}put there:{GOOD:#} the build of {}, which was done before", out.display());
        }
        Status::SliceDone => {
            say!("{GOOD}slice done:{GOOD:#} {tasks}, {new} of them now; `--finish` joins all slices");
        }
        Status::Written => say!("{GOOD}joined:{GOOD:#} {tasks}; `--finish` alone publishes what was written"),
        Status::Built => {
            say!("{GOOD}built:{GOOD:#} {tasks}, {} of them done before", count(reused as u64));
        }
    }
    let Some(ledger) = &done.ledger else { return };
    let (place, card) = match &done.stored {
        Some(stored) => (stored.clone(), format!("{stored}/README.md")),
        None => (out.display().to_string(), out.join("README.md").display().to_string()),
    };
    summary(ledger, plan, &place, &card);
    if matches!(done.status, Status::Built) && keep != KeepTasks::Never {
        if (1..WORTH_A_LINE).contains(&kept_bytes) {
            return;
        }
        if kept_bytes > 0 {
            say!(
                "{FAINT}finished tasks: {}, kept in {}/.setaccio for a build after a file is added (--keep-tasks never){FAINT:#}",
                megabytes(kept_bytes),
                out.display()
            );
        } else {
            say!(
                "{FAINT}finished tasks take more than 1 GiB and are not kept; with `--keep-tasks always` a build after a file is \
                 added reuses them{FAINT:#}"
            );
        }
    }
}

fn summary(ledger: &Ledger, plan: &Plan, place: &str, card: &str) {
    let recipe = &plan.loaded.recipe;
    say!("\n{HEAD}{:<28} {:>12} {:>12} {:>12}{HEAD:#}", "stage and rule", "in", "dropped", "out");
    for stage in &ledger.stages {
        let flow = stage.flow;
        let dropped = flow.rows_in - flow.rows_out;
        let [rows_in, dropped, rows_out] = [flow.rows_in, dropped, flow.rows_out].map(count);
        say!("{NAME}{:<28}{NAME:#} {rows_in:>12} {dropped:>12} {rows_out:>12}", stage.stage);
        for rule in stage.rules.iter().filter(|r| r.rule != stage.stage) {
            let edits = card::edits(&rule.tally);
            if rule.tally.dropped == 0 && edits.is_empty() {
                continue;
            }
            let dropped = count(rule.tally.dropped);
            say!("  {:<26} {:>12} {dropped:>12} {:>12}  {FAINT}{}{FAINT:#}", rule.rule, "", "", edits);
        }
    }
    for split in &ledger.splits {
        let (rows, mb) = (counted(split.rows, "row"), megabytes(split.bytes));
        say!("\n{HEAD}{}{HEAD:#}: {rows}, {mb} of text", split.split);
    }
    for note in &ledger.notes {
        say!("note: {note}");
    }
    say!("\n{place}  {FAINT}card: {card}{FAINT:#}");
    let sampled: Vec<_> =
        recipe.source.iter().filter(|source| plan.lock.read_from(source) == ReadFrom::Samples).collect();
    if !sampled.is_empty() {
        if sampled.len() == recipe.source.len() {
            say!("\nThese are the bundled samples. The full data would come from");
        } else {
            say!("\nThese sources are bundled samples; their full data would come from");
        }
        for source in sampled {
            let rows = source.rows.map_or(String::new(), |n| format!(", about {} rows", count(n)));
            say!(
                "  {NAME}{}{NAME:#}  https://huggingface.co/datasets/{} at {} ({}{rows})",
                source.name,
                source.repo,
                source.revision,
                source.license
            );
        }
        say!(
            "`--from hub` fetches it; `--from DIR` reads it from DIR/<owner>/<name>; `setaccio plan` shows what is there"
        );
    }
}
