//! `setaccio status`: how a build in several parts stands, by manifests, notes and locks; the queue adds who waits and why.

mod run;

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use serde::Serialize;
use setaccio_base::shown::one_line;
use setaccio_curate::{
    parts::{self, Alone, Elsewhere, PartStanding, Standing, State},
    shared_work,
};

use crate::{
    output::Output,
    stores,
    style::{BAD, FAINT, GOOD, HEAD, NAME, count},
    submission::{
        self, FINISH, JOIN, SLICES, Submission, TRAIN,
        slurm::{self, Queue, Queued},
    },
};

/// Say what is done of a build in slices, of a run or of a chain, what runs, what waits, what failed and why
#[derive(clap::Args)]
pub struct Args {
    /// Folder of the build, the run or the chain
    out: PathBuf,
    #[command(flatten)]
    output: Output,
}

/// How everything stands.
#[derive(Serialize)]
struct Found {
    out: String,
    /// Whether the build is published.
    published: bool,
    /// Whether all is written, and is being put in place: it counts already.
    publishing: bool,
    /// Tasks and those of them that are done; null before a slice began.
    tasks: Option<[usize; 2]>,
    /// Whether Slurm told what is in its queue.
    queue: bool,
    /// The slices, in order.
    slices: Vec<Shown>,
    /// The processes that join them together, if several do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    join: Vec<Shown>,
    /// What joins them, or publishes what was joined.
    #[serde(skip_serializing_if = "Option::is_none")]
    finish: Option<Shown>,
    /// What puts the published build into an object store, if a process did or does.
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<Shown>,
    /// A training run or a chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    train: Option<Shown>,
    /// The place in a store through which machines share the tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    shared: Option<Shared>,
    /// The command that submits what is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    again: Option<String>,
}

/// A place through which machines share the tasks.
#[derive(Serialize)]
struct Shared {
    address: String,
    /// Why it is not known what others have done.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// A part and how it stands.
#[derive(Serialize)]
struct Shown {
    /// `3/40`, `join 1/4`, `finish`, `store` or `train`.
    part: String,
    state: Now,
    /// What it is at, or was last.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    /// That which one process decides for all, if it is that.
    #[serde(skip_serializing_if = "Option::is_none")]
    alone: Option<Alone>,
    /// Whether it waits for another process that is at it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    waits: bool,
    /// The last step of a run that its metrics tell of.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<u64>,
    /// Where it runs or ran last.
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    /// The job that does it or did last.
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<String>,
    /// Why it failed, stopped or waits; of what ended without a word, the last line of its log.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// Its log.
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<PathBuf>,
}

/// How a part stands, the queue included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Now {
    Done,
    Running,
    /// It is in the queue.
    Waiting,
    Failed,
    Stopped,
    Lost,
    /// Nobody was at it, and it is in no queue.
    Open,
}

impl Now {
    const ALL: [Self; 7] =
        [Self::Done, Self::Running, Self::Waiting, Self::Failed, Self::Stopped, Self::Lost, Self::Open];

    fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Lost => "ended without a word",
            Self::Open => "not begun",
        }
    }

    /// What work and queue say of a part together. The work comes first: it is what a job is for.
    fn of(state: State, queued: Option<&Queued>) -> Self {
        let runs = queued.is_some_and(|queued| queued.state == "RUNNING");
        match (state, queued) {
            (State::Done, _) => Self::Done,
            (State::Running, _) => Self::Running,
            // Its element goes on with other slices, and does not come back to it.
            (State::Failed, Some(_)) if runs => Self::Failed,
            // Locks do not reach over every file system.
            (State::Lost, Some(_)) if runs => Self::Running,
            (_, Some(_)) => Self::Waiting,
            (State::Failed, None) => Self::Failed,
            (State::Stopped, None) => Self::Stopped,
            (State::Lost, None) => Self::Lost,
            (State::Open, None) => Self::Open,
        }
    }
}

pub fn run(args: &Args) -> Result<()> {
    if let Some(address) = stores::address(&args.out) {
        bail!(
            "{address} is in an object store: status is told of the folder of a machine, the one of `build --work`; `setaccio verify` \
             looks at the build in the store, and `setaccio build --finish` says which slices it has not"
        );
    }
    let out = std::path::absolute(&args.out)?;
    if !out.is_dir() {
        bail!("{} is no folder", args.out.display());
    }
    let submissions = submission::all(&out)?;
    // What manifests say is true without it.
    let queue = if submissions.is_empty() { None } else { slurm::queue().ok() };
    let newest = submissions.last();
    let of = newest.and_then(|submission| submission.record.of);
    let shares = newest.and_then(|submission| submission.record.shares);
    let since = newest.and_then(Submission::made);
    let shared = parts::shared_through(&out).map(|address| match shared_work::elsewhere(&address) {
        Ok(elsewhere) => (Shared { address, why: None }, elsewhere),
        // What was done here is true without it.
        Err(why) => (Shared { address, why: Some(why.to_string()) }, Elsewhere::default()),
    });
    let (shared, elsewhere) = shared.unzip();
    let standing = Standing::with(&out, since, [of, shares], &elsewhere.unwrap_or_default())?;
    let trained = newest.filter(|submission| submission.record.of.is_none());
    let run = if newest.is_none() || trained.is_some() { run::Standing::of(&out, since)? } else { None };
    let is_begun = |part: &PartStanding| part.state != State::Open;
    let begun = standing.shares.iter().chain([&standing.finish]).any(is_begun) || !standing.slices.is_empty();
    if !begun && !standing.published && !standing.publishing && run.is_none() {
        bail!(
            "{} holds no build in slices and nothing that was submitted: `setaccio submit` or `setaccio build --task` begins one",
            args.out.display()
        );
    }
    let (known, empty) = (queue.is_some(), Queue::new());
    let look = Look { submissions: &submissions, queue: queue.as_ref().unwrap_or(&empty), told: known };
    let builds = run.is_none();
    let slices: Vec<Shown> =
        (1..).zip(&standing.slices).map(|(number, part)| look.slice(number, standing.slices.len(), part)).collect();
    let join: Vec<Shown> =
        (1..).zip(&standing.shares).map(|(number, part)| look.join(number, standing.shares.len(), part)).collect();
    let finish = builds.then(|| look.finish(&standing.finish));
    let store = standing.store.as_ref().map(|part| look.shown(part.name.clone(), part, None, None));
    let train = run.map(|run| look.train(&run, trained));
    let stuck = |part: &Shown| part.state >= Now::Failed;
    let again = slices.iter().chain(&join).chain(&finish).chain(&train).any(stuck);
    let again = newest.filter(|_| again).map(|submission| submission.record.again.clone());
    let Standing { published, publishing, tasks, .. } = standing;
    let out = args.out.display().to_string();
    let found =
        Found { out, published, publishing, tasks, queue: known, slices, join, finish, store, train, shared, again };
    args.output.give("status", &found, show)
}

/// What there is to look at beside the work.
struct Look<'a> {
    submissions: &'a [Submission],
    queue: &'a Queue,
    /// Whether Slurm told what is in its queue.
    told: bool,
}

impl Look<'_> {
    fn slice(&self, number: usize, of: usize, part: &PartStanding) -> Shown {
        let mine = self.submissions.iter().rev().filter(|submission| submission.record.of == Some(of));
        let mut mine = mine.filter_map(|submission| Some((submission, submission.record.element_of(number)?)));
        let newest = mine.clone().next();
        let queued = mine.find_map(|(submission, element)| {
            Some((submission, element, submission.queued(self.queue, SLICES, Some(element))?))
        });
        let log = queued.map(|(submission, element, _)| (submission, element)).or(newest);
        let log = log.map(|(submission, element)| submission.log(SLICES, Some(element)));
        self.shown(format!("{number}/{of}"), part, queued.map(|(_, _, queued)| queued), log)
    }

    fn join(&self, number: usize, of: usize, part: &PartStanding) -> Shown {
        let mut mine = self.submissions.iter().rev().filter(|submission| submission.record.shares == Some(of));
        let newest = mine.clone().next();
        let queued = mine.find_map(|submission| Some((submission, submission.queued(self.queue, JOIN, Some(number))?)));
        let log =
            queued.map(|(submission, _)| submission).or(newest).map(|submission| submission.log(JOIN, Some(number)));
        self.shown(format!("{JOIN} {number}/{of}"), part, queued.map(|(_, queued)| queued), log)
    }

    fn finish(&self, part: &PartStanding) -> Shown {
        let mut mine = self.submissions.iter().rev();
        let newest = mine.clone().next();
        let queued = mine.find_map(|submission| Some((submission, submission.queued(self.queue, FINISH, None)?)));
        let log = queued.map(|(submission, _)| submission).or(newest).map(|submission| submission.log(FINISH, None));
        self.shown(FINISH.to_owned(), part, queued.map(|(_, queued)| queued), log)
    }

    fn shown(&self, name: String, part: &PartStanding, queued: Option<&Queued>, log: Option<PathBuf>) -> Shown {
        let state = Now::of(part.state, queued);
        let log = log.filter(|log| log.exists() && state != Now::Done);
        // Its job has been there and is no more, and could not even say that it began: the disk was full, for instance.
        let state = if state == Now::Open && self.told && log.is_some() { Now::Lost } else { state };
        let note = part.note.as_ref().filter(|_| state != Now::Done);
        let why = match state {
            Now::Done | Now::Running | Now::Open => None,
            Now::Waiting => queued.map(|queued| queued.reason.clone()),
            Now::Failed | Now::Stopped => note.and_then(|note| note.ended.as_ref()).map(|ended| ended.why.clone()),
            Now::Lost => log.as_deref().and_then(last_line),
        };
        // Who was at it before says nothing of the job that waits.
        let who = note.filter(|_| state != Now::Waiting);
        let (host, job) = (who.map(|note| note.host.clone()), who.and_then(|note| note.job.clone()));
        let at = note.filter(|_| !matches!(state, Now::Open | Now::Waiting)).and_then(|note| note.at.clone());
        let alone = at.as_deref().and_then(Alone::at);
        let waits = state == Now::Running && note.is_some_and(|note| note.waits);
        Shown { part: name, state, at, alone, waits, step: None, host, job, why, log }
    }

    /// A run or a chain, and the submission that asked for it, if one did.
    fn train(&self, run: &run::Standing, submission: Option<&Submission>) -> Shown {
        let queued = submission.and_then(|submission| submission.queued(self.queue, TRAIN, None));
        let log = submission.map(|submission| submission.log(TRAIN, None));
        // Its job runs and has said nothing yet: it has nothing else to do.
        let begins = run.part.state == State::Open && queued.is_some_and(|queued| queued.state == "RUNNING");
        let state = if begins { State::Running } else { run.part.state };
        let shown = self.shown(TRAIN.to_owned(), &PartStanding { state, ..run.part.clone() }, queued, log);
        // A job that has not begun has said nothing of itself.
        let job = shown.job.or_else(|| submission.and_then(|submission| submission.record.jobs.get(TRAIN).cloned()));
        Shown { job: job.filter(|_| shown.state != Now::Done), step: run.step, ..shown }
    }
}

/// Bytes at the end of a log that are looked at.
const TAIL: u64 = 4096;

/// The end of a file of text.
fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What a log says last: what Slurm says of the job, if it does.
fn last_line(log: &Path) -> Option<String> {
    let text = tail(log).ok()?;
    let mut lines = text.lines().rev().filter(|line| !line.trim().is_empty());
    lines.clone().find(|line| line.contains("slurmstepd: error")).or_else(|| lines.next()).map(str::to_owned)
}

/// Parts that are named one by one.
const NAMED: usize = 20;

fn show(found: &Found) {
    let Found { out, published, publishing, tasks, queue, slices, join, finish, store, train, shared, again } = found;
    if let Some(train) = train {
        line(train);
        more(again.as_deref(), *queue);
        return;
    }
    let tasks = tasks.map_or_else(String::new, |[all, done]| {
        format!(", {} of {} tasks done", count(done as u64), count(all as u64))
    });
    let head = if *published { format!("{GOOD}built:{GOOD:#} {out}") } else { format!("{HEAD}{out}{HEAD:#}{tasks}") };
    say!("{head}");
    if let Some(Shared { address, why }) = shared {
        let unknown = why.as_ref().map_or_else(String::new, |why| {
            format!("; what others have done is not known, and what is not done here may be done: {}", one_line(why))
        });
        say!("{FAINT}machines share the tasks through {address}{unknown}{FAINT:#}");
    }
    if *published {
        store.iter().for_each(line);
        return;
    }
    if *publishing {
        say!(
            "all is written and counts; it is being put in place, and any `setaccio build` of this folder would complete that"
        );
    }
    let of = |now: Now| slices.iter().filter(|slice| slice.state == now).count();
    let counts: Vec<String> = Now::ALL
        .into_iter()
        .filter(|now| of(*now) > 0)
        .map(|now| format!("{} {}", count(of(now) as u64), now.word()))
        .collect();
    if !slices.is_empty() {
        say!(
            "{NAME}slices{NAME:#}  {} of {}: {}",
            count(of(Now::Done) as u64),
            count(slices.len() as u64),
            counts.join(", ")
        );
    }
    join.iter().chain(finish).for_each(line);
    let named: Vec<&Shown> =
        slices.iter().filter(|slice| matches!(slice.state, Now::Running) || slice.state >= Now::Failed).collect();
    for slice in named.iter().filter(|slice| slice.state != Now::Open).take(NAMED) {
        line(slice);
    }
    let others = named.iter().filter(|slice| slice.state != Now::Open).count().saturating_sub(NAMED);
    if others > 0 {
        say!("{FAINT}and {} more{FAINT:#}", count(others as u64));
    }
    more(again.as_deref(), *queue);
}

/// What to do about what is missing, and what is not known of it.
fn more(again: Option<&str>, queue: bool) {
    if let Some(again) = again {
        say!("submit what is missing: {again}");
        if !queue {
            say!("{FAINT}what waits in a queue is not known here: Slurm does not answer{FAINT:#}");
        }
    }
}

fn line(part: &Shown) {
    let at = doing(part);
    let Shown { part, state, host, job, why, log, .. } = part;
    let on = host.as_ref().map_or_else(String::new, |host| format!(" on {host}"));
    let job = job.as_ref().map_or_else(String::new, |job| format!(", job {job}"));
    // What to do about it stands in the log, and in what --json prints.
    let why = why.as_ref().and_then(|why| why.lines().next());
    let why = why.map_or_else(String::new, |why| format!(": {}", one_line(why)));
    let word = state.word();
    if *state >= Now::Failed && *state != Now::Open {
        say!("{NAME}{part}{NAME:#}  {BAD}{word}{BAD:#}{on}{job}{at}{why}");
        if let Some(log) = log {
            say!("  {FAINT}{}{FAINT:#}", log.display());
        }
    } else {
        say!("{NAME}{part}{NAME:#}  {word}{on}{job}{at}{why}");
    }
}

/// What a part does, or did last.
fn doing(part: &Shown) -> String {
    let Shown { state, at, alone, waits, step, .. } = part;
    let step = step.map_or_else(String::new, |step| format!(", step {}", count(step)));
    match (at.as_deref(), *alone, *waits) {
        (None, ..) => step,
        (Some(_), Some(alone), true) => format!(", waits for the process that decides for all: {}", alone.told()),
        (Some(at), None, true) => format!(", waits for another process, which does the rest of `{at}`"),
        (Some(_), Some(alone), false) if *state == Now::Running => format!(", decides for all: {}", alone.told()),
        (Some(at), ..) => format!(", at `{at}`{step}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_counts_more_than_the_queue() {
        let queued = |state: &str| Queued { state: state.into(), reason: "None".into() };
        let (runs, waits) = (queued("RUNNING"), queued("PENDING"));
        for (state, job, now) in [
            (State::Done, Some(&runs), Now::Done),
            (State::Running, None, Now::Running),
            (State::Running, Some(&waits), Now::Running),
            (State::Failed, Some(&runs), Now::Failed),
            (State::Failed, Some(&waits), Now::Waiting),
            (State::Failed, None, Now::Failed),
            (State::Lost, Some(&runs), Now::Running),
            (State::Lost, Some(&waits), Now::Waiting),
            (State::Lost, None, Now::Lost),
            (State::Stopped, Some(&waits), Now::Waiting),
            (State::Open, Some(&runs), Now::Waiting),
            (State::Open, None, Now::Open),
        ] {
            assert_eq!(Now::of(state, job), now, "{state:?} {job:?}");
        }
    }

    #[test]
    fn what_slurm_says_of_a_job_comes_before_what_it_said_itself() -> Result<()> {
        let log = tempfile::NamedTempFile::new()?;
        std::fs::write(log.path(), "filter: 1 of 2\nslurmstepd: error: *** JOB 7 DUE TO TIME LIMIT ***\nmore\n\n")?;
        assert_eq!(last_line(log.path()).as_deref(), Some("slurmstepd: error: *** JOB 7 DUE TO TIME LIMIT ***"));
        std::fs::write(log.path(), "filter: 1 of 2\n\n")?;
        assert_eq!(last_line(log.path()).as_deref(), Some("filter: 1 of 2"));
        Ok(())
    }
}
