//! A build from plan to published folder: run the tasks, merge their rows, write shards, rejects,
//! ledger, lock and card, and put them in place of an earlier build.

use std::path::Path;

use setaccio_base::parallel;

use crate::{
    error::{Error, Result},
    folder::{Folder, remove, write_whole},
    pipeline::filter::{self, Manifest},
    pipeline::write,
    plan::lock,
    plan::{ENGINE, Plan, Task},
    recipe::pins,
    report::card,
};
use setaccio_dataset::ledger::Ledger;

/// Who watches a build, and may stop it.
pub trait Watch: Sync {
    /// Whether to stop at the next safe point.
    fn cancelled(&self) -> bool;
    /// A stage of `steps` pieces of work begins.
    fn stage(&self, name: &'static str, steps: usize);
    /// So many pieces are done.
    fn done(&self, steps: u64);
    /// Rows went through, with so many bytes of text.
    fn rows(&self, rows: u64, bytes: u64);
}

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
    /// What comes after the tasks, all of which must be done.
    Finish,
}

/// What a build did.
#[derive(Debug)]
pub enum Done {
    /// The folder already held this very build.
    UpToDate(Ledger),
    /// So many tasks are done; so many were before.
    Tasks {
        /// Tasks of this part.
        done: usize,
        /// Of these, done by an earlier run.
        reused: usize,
    },
    /// A new build was published; so many of its tasks were done by earlier runs.
    Built {
        /// Its ledger.
        ledger: Ledger,
        /// Tasks that an earlier run had done.
        reused: usize,
    },
}

/// Do `part` of the build of `plan` into `out`.
///
/// # Errors
/// Bad input, a full disk, another build in the same folder, Ctrl-C. An earlier build in `out` stays as it was.
pub fn run(plan: &Plan, out: &Path, part: Part, force: bool, jobs: usize, watch: &dyn Watch) -> Result<Done> {
    let folder = Folder::open(out, matches!(part, Part::Slice { .. }))?;
    if !force && let Some(ledger) = current(plan, out) {
        if part == Part::Whole {
            folder.clear()?;
        }
        return Ok(Done::UpToDate(ledger));
    }
    if !force && edited(out) {
        let message = "was changed by hand, and a build would replace it: move it away, put its text into the recipe's \
                       [card], or build with --force";
        return Err(Error::Damaged { path: out.join("README.md"), message: message.into() });
    }
    let work = folder.work();
    std::fs::create_dir_all(&work).map_err(Error::io("create", &work))?;
    pins::write(plan, &work)?;
    let pool = parallel::thread_pool(jobs)?;
    if part == Part::Finish {
        return finish(plan, &folder, &pool, plan.tasks.len(), watch);
    }
    let mine: Vec<&Task> = match part {
        Part::Slice { number, of } => plan.tasks.iter().filter(|t| t.index % of == number - 1).collect(),
        _ => plan.tasks.iter().collect(),
    };
    let todo: Vec<&Task> = mine.iter().copied().filter(|t| filter::finished(&work, t).is_none()).collect();
    let reused = mine.len() - todo.len();
    watch.stage("screen", mine.len());
    watch.done(reused as u64);
    parallel::ordered_map(
        &pool,
        todo.len(),
        |i| filter::run(plan, todo[i], &work, watch).inspect(|_| watch.done(1)).map(drop),
        |()| Ok(()),
    )?;
    if matches!(part, Part::Slice { .. }) {
        return Ok(Done::Tasks { done: mine.len(), reused });
    }
    finish(plan, &folder, &pool, reused, watch)
}

/// Whether the card of an earlier build in `out` is not the one that this version wrote.
fn edited(out: &Path) -> bool {
    let Ok((ledger, lock)) = setaccio_dataset::folder::read(out) else { return false };
    let card = std::fs::read_to_string(out.join("README.md"));
    lock.engine == ENGINE && card.is_ok_and(|text| text != card::compose(&ledger, &lock))
}

/// The ledger of the build in `out`, if it is of this plan and its files are there at their sizes.
fn current(plan: &Plan, out: &Path) -> Option<Ledger> {
    let ledger = Ledger::of(out)?;
    let there = |name: &str| std::fs::metadata(out.join(name)).ok().map(|m| m.len());
    let whole = ledger.files.iter().all(|f| there(&f.path) == Some(f.bytes));
    let texts = there("README.md").is_some() && there("recipe.lock.toml").is_some();
    (ledger.fingerprint == plan.fingerprint && whole && texts).then_some(ledger)
}

fn finish(plan: &Plan, folder: &Folder, pool: &rayon::ThreadPool, reused: usize, watch: &dyn Watch) -> Result<Done> {
    let work = folder.work();
    let manifests = manifests(plan, &work)?;
    let staging = folder.fresh_staging()?;
    let ledger = write::merge(plan, &work, &manifests, &staging, pool, watch)?;
    if ledger.splits.iter().all(|s| s.split != "train" || s.rows == 0) {
        remove(&staging)?;
        return Err(Error::Empty(ledger.drops()));
    }
    let json = serde_json::to_string_pretty(&ledger).map_err(Error::encode("ledger.json"))?;
    write_whole(&staging.join("ledger.json"), format!("{json}\n").as_bytes())?;
    let lock = lock::of(plan);
    write_whole(&staging.join(lock::NAME), lock.to_toml()?.as_bytes())?;
    card::write(&staging, &ledger, &lock)?;
    if watch.cancelled() {
        remove(&staging)?;
        return Err(Error::Interrupted);
    }
    folder.publish()?;
    Ok(Done::Built { ledger, reused })
}

/// What every task left; an error names those that are missing.
fn manifests(plan: &Plan, work: &Path) -> Result<Vec<Manifest>> {
    let found: Vec<Option<Manifest>> = plan.tasks.iter().map(|t| filter::finished(work, t)).collect();
    let missing: Vec<String> = found.iter().zip(1..).filter(|(m, _)| m.is_none()).map(|(_, n)| n.to_string()).collect();
    if missing.is_empty() {
        return Ok(found.into_iter().flatten().collect());
    }
    let shown = missing.iter().take(20).cloned().collect::<Vec<_>>().join(", ");
    let more = if missing.len() > 20 { ", ..." } else { "" };
    Err(Error::Unfinished {
        missing: missing.len(),
        total: plan.tasks.len(),
        tasks: format!("run first {shown}{more}"),
    })
}
