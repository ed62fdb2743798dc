//! A build from plan to published folder: run the tasks, write shards, rejects, ledger, lock and card, and put them in
//! place of an earlier build.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

use rayon::ThreadPool;
use setaccio_base::{
    atomic,
    lock_file::Mode,
    parallel::{ordered_map, thread_pool},
    progress::Progress,
    shell,
};
use setaccio_dataset::{
    columns::TOOLS,
    folder::{self, CARD, LEDGER, RECIPE_LOCK},
    ledger::{Flow, Ledger},
    seal::seal,
};

use crate::{
    error::{Error, Result},
    folder::OutputFolder,
    parts::{self, Outline},
    pipeline::{
        filter,
        gather::Gathered,
        piece_file::Board,
        rejects::CONFLICT,
        team::{Hands, Team},
        write,
    },
    plan::{ENGINE, Plan, Task},
    recipe::{pins, rebuild::Whereabouts},
    report::{card, ledger},
    source::{Names, origin::Origin},
};

/// Which part of a build to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// The tasks of slice `number` (from 1) of `of`, and nothing after them.
    Slice {
        /// Which slice.
        number: usize,
        /// How many there are.
        of: usize,
    },
    /// Of what comes after the tasks, all of which must be done, whatever no other process has done yet, but for publishing.
    Share {
        /// Which of the processes.
        number: usize,
        /// How many there are; fewer or more may come.
        of: usize,
    },
    /// What comes after the tasks, all of which must be done, and after what shares have done of it.
    Finish,
}

impl Part {
    /// What it is called in files, if it is one of several.
    pub fn name(self) -> Option<String> {
        match self {
            Self::Whole => None,
            Self::Slice { number, of } => Some(parts::slice(number, of)),
            Self::Share { number, of } => Some(parts::share(number, of)),
            Self::Finish => Some(parts::FINISH.to_owned()),
        }
    }
}

/// Bytes of finished tasks that are kept for the next build, unless somebody says otherwise.
pub const KEPT_TASKS: u64 = 1 << 30;

/// How to build.
#[derive(Clone, Copy, Debug)]
pub struct BuildOptions {
    /// Which part of it.
    pub part: Part,
    /// Build again what is there already.
    pub force: bool,
    /// Of finished tasks so many bytes at most are kept for the next build.
    pub keep_tasks: u64,
    /// Threads.
    pub jobs: usize,
}

/// What a build did.
#[derive(Debug)]
pub enum BuildOutcome {
    /// The folder already held this very build.
    UpToDate(Ledger),
    /// The tasks of a slice are done.
    Slice {
        /// Tasks of this slice.
        tasks: usize,
        /// Of these, done by an earlier run.
        reused: usize,
    },
    /// All is written that is to be published.
    Written,
    /// A new build was published; so many of its tasks were done by earlier runs.
    Whole {
        /// Its ledger.
        ledger: Ledger,
        /// Tasks that an earlier run had done.
        reused: usize,
        /// Bytes of finished tasks that are kept for the next build.
        kept: u64,
    },
}

/// Do a part of the build of `plan` into `out`.
///
/// # Errors
/// Bad input, a full disk, another build in the same folder, Ctrl-C. An earlier build in `out` stays as it was.
pub fn run(plan: &Plan, out: &Path, options: BuildOptions, progress: &dyn Progress) -> Result<BuildOutcome> {
    run_with(plan, (out, None), options, progress)
}

/// The same, where others that join the tasks may not see `out`, and find on the board what this process leaves.
///
/// # Errors
/// As [`run`].
pub fn run_with(
    plan: &Plan,
    (out, board): (&Path, Option<Arc<dyn Board>>),
    options: BuildOptions,
    progress: &dyn Progress,
) -> Result<BuildOutcome> {
    check_apart(plan, out)?;
    // A plan of what the Hub only lists holds nothing against anything.
    if plan.evaluations.as_ref().is_some_and(|found| found.index.is_none()) {
        return Err(Error::Argument(
            "the evaluation sets were only listed: fetch them first, with `setaccio pull`".into(),
        ));
    }
    let mode = match options.part {
        Part::Slice { .. } | Part::Share { .. } => Mode::Shared,
        Part::Whole | Part::Finish => Mode::Exclusive,
    };
    let folder = OutputFolder::open(out, mode)?;
    let outcome = run_in(plan, (&folder, board), options, progress);
    // Reading from a store ends in an error when the program is told to stop.
    let outcome = if outcome.is_err() && progress.cancelled() { Err(Error::Interrupted) } else { outcome };
    if outcome.is_err() && options.part == Part::Whole {
        folder.abandon()?;
    }
    outcome
}

/// Check that no input lies in the output folder: the next build would read what this one writes.
fn check_apart(plan: &Plan, out: &Path) -> Result<()> {
    let Ok(out) = out.canonicalize() else { return Ok(()) };
    let held_against = plan.evaluations.iter().flat_map(|found| &found.earlier);
    if let Some(earlier) = plan.earlier.iter().chain(held_against).find(|earlier| earlier.is(&out)) {
        let message = format!("is the data set {} of {}: name another folder with --out", earlier.name, earlier.key);
        return Err(Error::damaged(&out, message));
    }
    let inside = |path: &&Path| path.canonicalize().is_ok_and(|path| path.starts_with(&out));
    match plan.files.iter().map(|file| file.input.place.path()).find(inside) {
        Some(path) => {
            let message = format!("is where {} is read from: name another folder with --out", path.display());
            Err(Error::damaged(&out, message))
        }
        None => Ok(()),
    }
}

fn run_in(
    plan: &Plan,
    (folder, board): (&OutputFolder, Option<Arc<dyn Board>>),
    options: BuildOptions,
    progress: &dyn Progress,
) -> Result<BuildOutcome> {
    let BuildOptions { part, force, jobs, .. } = options;
    let out = folder.root();
    if !force && let Some(ledger) = current(plan, out) {
        if part == Part::Whole {
            folder.clear()?;
        }
        if matches!(part, Part::Whole | Part::Finish) {
            whereabouts(plan).write(folder.root())?;
        }
        return Ok(BuildOutcome::UpToDate(ledger));
    }
    if !force && edited(out) {
        let message = "was changed by hand, and a build would replace it: move it away, put its text into the recipe's \
                       [card], or build with --force";
        return Err(Error::damaged(out.join(CARD), message));
    }
    let work = folder.work();
    fs::create_dir_all(&work).map_err(Error::io("create", &work))?;
    pins::write(&plan.pins(), &work)?;
    if part != Part::Whole {
        let before = Outline::read(out);
        let [slices, shares] = match &before {
            Some(before) => [before.slices, before.shares],
            None => [None; 2],
        };
        let slices = if let Part::Slice { of, .. } = part { Some(of) } else { slices };
        let shares = if let Part::Share { of, .. } = part { Some(of) } else { shares };
        outline(plan, slices, shares).write(out)?;
    }
    let pool = thread_pool(jobs)?;
    if let Part::Share { number, of } = part {
        check_done(plan, &work, out)?;
        let team = Team::join(&work, &plan.lock.fingerprint, [number, of], board)?;
        let hands = Hands { pool: &pool, progress, team: Some(&team) };
        let mut gathered = Gathered::new(plan, &work, hands, &|task| unfinished(plan, &work, out, task))?;
        write::share(plan, &work, &mut gathered, (&team, hands))?;
        return Ok(BuildOutcome::Written);
    }
    if part == Part::Finish {
        return finish(plan, (folder, board), &pool, (plan.tasks.len(), options.keep_tasks), progress);
    }
    let kept = folder.kept_tasks();
    if force {
        atomic::remove(&kept)?;
    }
    let mine: Vec<&Task> = match part {
        Part::Slice { number, of } => plan.tasks.iter().filter(|t| t.index % of == number - 1).collect(),
        _ => plan.tasks.iter().collect(),
    };
    let mut todo = Vec::new();
    for task in &mine {
        let done = match filter::manifest(&work, task) {
            None => filter::adopt(&kept, &work, task)?,
            found => found,
        };
        match done {
            Some(_) => progress.detail(&format!("{}: done before", task_name(plan, task))),
            None => todo.push(*task),
        }
    }
    let reused = mine.len() - todo.len();
    progress.stage("filter", mine.len() as u64);
    progress.advance(reused as u64, "");
    ordered_map(
        &pool,
        todo.len(),
        |i| {
            let manifest = filter::run(plan, todo[i], &work, progress)?;
            progress.advance(1, "");
            let Flow { rows_in, rows_out, .. } = manifest.screen;
            progress.detail(&format!("{}: {rows_in} rows, {rows_out} kept", task_name(plan, todo[i])));
            Ok(())
        },
        |()| Ok::<_, Error>(()),
    )?;
    if matches!(part, Part::Slice { .. }) {
        return Ok(BuildOutcome::Slice { tasks: mine.len(), reused });
    }
    finish(plan, (folder, board), &pool, (reused, options.keep_tasks), progress)
}

fn task_name(plan: &Plan, task: &Task) -> String {
    let names: Names = task.parts.iter().map(|part| &plan.files[part.file].input.name).collect();
    format!("task {} of {}, {names}", task.index + 1, plan.tasks.len())
}

/// What the work folder is to say of a build in so many slices that so many processes join.
pub fn outline(plan: &Plan, slices: Option<usize>, shares: Option<usize>) -> Outline {
    let tasks = plan.tasks.iter().map(|task| task.key.clone()).collect();
    Outline { fingerprint: plan.lock.fingerprint.clone(), slices, shares, tasks }
}

/// The slices of `of` whose tasks are not all done in `out`; `None` if this very build is published there.
pub fn missing(plan: &Plan, out: &Path, of: usize) -> Option<Vec<usize>> {
    if current(plan, out).is_some() {
        return None;
    }
    let work = parts::work(out);
    let open: BTreeSet<usize> =
        plan.tasks.iter().filter(|task| !filter::is_done(&work, &task.key)).map(|task| task.index % of + 1).collect();
    Some(open.into_iter().collect())
}

/// Whether the card of an earlier build in `out` is not the one that this version wrote.
fn edited(out: &Path) -> bool {
    let Ok((ledger, lock)) = folder::read(out) else { return false };
    let card = fs::read_to_string(out.join(CARD));
    lock.engine == ENGINE && card.is_ok_and(|text| text != card::compose(&ledger, &lock))
}

/// The ledger of the build in `out`, if it is of this plan, ledger and lock are as they were written, and its files are there
/// at their sizes.
fn current(plan: &Plan, out: &Path) -> Option<Ledger> {
    let (ledger, _) = folder::read(out).ok()?;
    let there = |name: &str| fs::metadata(out.join(name)).ok().map(|m| m.len());
    let whole = ledger.files.iter().all(|f| there(&f.path) == Some(f.bytes));
    let texts = there(CARD).is_some() && there(RECIPE_LOCK).is_some();
    (ledger.fingerprint == plan.lock.fingerprint && whole && texts).then_some(ledger)
}

fn finish(
    plan: &Plan,
    (folder, board): (&OutputFolder, Option<Arc<dyn Board>>),
    pool: &ThreadPool,
    (reused, keep_tasks): (usize, u64),
    progress: &dyn Progress,
) -> Result<BuildOutcome> {
    let work = folder.work();
    check_done(plan, &work, folder.root())?;
    let staging = folder.fresh_staging()?;
    // What shares have done is there; what is left of it is done here.
    let fingerprint = &plan.lock.fingerprint;
    let shared = board.is_some() || Team::place(&work, fingerprint).exists();
    let team = shared.then(|| Team::join(&work, fingerprint, [1, 1], board)).transpose()?;
    let hands = Hands { pool, progress, team: team.as_ref() };
    let undone = |task: usize| unfinished(plan, &work, folder.root(), task);
    let mut gathered = Gathered::new(plan, &work, hands, &undone)?;
    let output = write::write(plan, &work, &mut gathered, &staging, hands)?;
    drop(team);
    let mut ledger = ledger::compose(plan, &gathered.counts, &output);
    if ledger.splits.iter().all(|s| s.split != "train" || s.rows == 0) {
        atomic::remove(&staging)?;
        // Tasks that kept nothing are nothing to go on from.
        if ledger.stage("screen").is_none_or(|screen| screen.flow.rows_out == 0) {
            atomic::remove(&work)?;
        }
        // A preview knows nothing of other rows.
        let mut rules = ledger.stages.iter().flat_map(|s| &s.rules);
        let advice = if rules.any(|r| r.rule == CONFLICT && r.tally.dropped > 0) {
            "`dedup.conflicts` says what becomes of rows that contradict each other"
        } else {
            "`setaccio preview` shows why"
        };
        return Err(Error::Empty { drops: ledger.drops(), advice });
    }
    if ledger.extras.tools() && plan.renderer.renders() && !plan.renderer.reads(TOOLS) {
        progress.warn(&format!(
            "rows name tools that may be called, and output.template reads no `tools`: the column `{}` says nothing of them",
            plan.loaded.recipe.output.rendered
        ));
    }
    let lock = plan.lock.to_toml()?;
    atomic::write(&staging.join(LEDGER), seal(&mut ledger, &lock)?.as_bytes())?;
    atomic::write(&staging.join(RECIPE_LOCK), lock.as_bytes())?;
    card::write(&staging, &ledger, &plan.lock)?;
    if progress.cancelled() {
        atomic::remove(&staging)?;
        return Err(Error::Interrupted);
    }
    let tasks = plan.tasks.iter().map(|task| task.key.as_str()).collect();
    progress.stage(parts::PUBLISH, 1);
    let kept = folder.publish(|| folder.keep_tasks(&tasks, keep_tasks))?;
    whereabouts(plan).write(folder.root())?;
    Ok(BuildOutcome::Whole { ledger, reused, kept })
}

fn whereabouts(plan: &Plan) -> Whereabouts {
    let from = if let Origin::Dir(folder) = &plan.origin { Some(folder.as_path()) } else { None };
    Whereabouts::new(&plan.loaded, from)
}

/// Check that every task is done, by what is there; whoever reads what they left looks closer.
fn check_done(plan: &Plan, work: &Path, out: &Path) -> Result<()> {
    let undone = plan.tasks.iter().find(|task| !filter::is_done(work, &task.key));
    undone.map_or(Ok(()), |task| Err(unfinished(plan, work, out, task.index)))
}

/// The error that names the commands which do the tasks that are not done, of which one is known.
fn unfinished(plan: &Plan, work: &Path, out: &Path, known: usize) -> Error {
    let undone = plan.tasks.iter().filter(|task| known == task.index || filter::manifest(work, task).is_none());
    let missing: Vec<usize> = undone.map(|task| task.index).collect();
    let slices = Outline::read(out).and_then(|outline| outline.slices).filter(|of| *of > 0);
    let command = format!("{} --out {}", plan.command(), shell::word(&out.display().to_string()));
    let commands = match slices {
        Some(of) => {
            let open: BTreeSet<usize> = missing.iter().map(|task| task % of + 1).collect();
            open.into_iter().map(|number| format!("{command} --task {number}/{of}")).collect()
        }
        // Nobody has cut it yet: one command does it all.
        None => vec![command],
    };
    Error::Unfinished { missing: missing.len(), total: plan.tasks.len(), commands }
}
