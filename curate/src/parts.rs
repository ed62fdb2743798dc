//! Parts of a build that several processes do: what each leaves in the work folder about itself, and how the whole stands. What is done
//! is told by the manifests of tasks and by the published ledger alone; notes and locks tell who is at what is not, and who failed and why.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use setaccio_base::{
    atomic,
    hidden::{HIDDEN, hidden_folder},
    lock_file::{LockFile, Mode},
};
use setaccio_dataset::ledger::Ledger;

pub use crate::plan::Inspected;
use crate::{
    error::{Error, Result},
    folder,
    pipeline::{filter, team::Team, write},
    recipe::rebuild,
};

/// Folder of the work folder that notes and locks are in.
const PARTS: &str = "parts";

/// The part that joins the slices.
pub const FINISH: &str = "finish";

/// What a slice is called in files.
pub fn slice(number: usize, of: usize) -> String {
    format!("slice-{number}-of-{of}")
}

/// Where the parts of the build in `out` keep what inspecting the inputs finds, for the process of this number of so many.
pub fn inspected(out: &Path, turn: [usize; 2]) -> Inspected {
    Inspected { folder: out.join(HIDDEN).join("inspected"), turn, most: None }
}

/// What a share of joining them is called.
pub fn share(number: usize, of: usize) -> String {
    format!("finish-{number}-of-{of}")
}

/// The work folder of the build in `out`.
pub fn work(out: &Path) -> PathBuf {
    out.join(HIDDEN).join("work")
}

/// What the work folder says of a build in several parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outline {
    /// What is built.
    pub fingerprint: String,
    /// Into how many slices it was cut last.
    pub slices: Option<usize>,
    /// How many processes joined them together last.
    #[serde(default)]
    pub shares: Option<usize>,
    /// The keys of its tasks, in order.
    pub tasks: Vec<String>,
}

impl Outline {
    /// That of a work folder.
    pub fn read(work: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(work.join("outline.json")).ok()?).ok()
    }

    /// Write it, if another one is there or none.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn write(&self, work: &Path) -> Result<()> {
        if Self::read(work).as_ref() == Some(self) {
            return Ok(());
        }
        let json = serde_json::to_vec(self).map_err(Error::encode("outline.json"))?;
        Ok(atomic::write(&work.join("outline.json"), &json)?)
    }
}

/// What a process says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Where it runs.
    pub host: String,
    /// What the batch system calls it, if one started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// When it began, in seconds since 1970.
    pub began: u64,
    /// How it ended, if it could say so and did not do its part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
}

/// How a process ended that did not do its part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// When, in seconds since 1970.
    pub at: u64,
    /// Whether a signal stopped it, and so the same command goes on from there.
    pub stopped: bool,
    /// What it said.
    pub why: String,
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A process that is at a part, until it says how it ended.
#[derive(Debug)]
pub struct AtWork {
    folder: PathBuf,
    name: String,
    /// None if another process is at the same part: what is written of it is that one's.
    lock: Option<LockFile>,
    note: Note,
}

impl AtWork {
    /// Say that this process is at the part of this name of the build in `out`.
    ///
    /// # Errors
    /// The folder holds what no build wrote, or cannot be written to.
    pub fn begin(out: &Path, name: &str, note: Note) -> Result<Self> {
        folder::check(out)?;
        hidden_folder(out)?;
        let folder = work(out).join(PARTS);
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let lock = acquire(&lock_path(&folder, name))?;
        let at_work = Self { folder, name: name.to_owned(), lock, note };
        if at_work.lock.is_some() {
            at_work.write()?;
        }
        Ok(at_work)
    }

    fn write(&self) -> Result<()> {
        let json = serde_json::to_vec(&self.note).map_err(Error::encode(&self.name))?;
        Ok(atomic::write(&note_path(&self.folder, &self.name), &json)?)
    }

    /// The part is done: nothing more is to be said.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn done(self) -> Result<()> {
        if self.lock.is_some() {
            // Publishing may have taken both away.
            atomic::remove(&note_path(&self.folder, &self.name))?;
            atomic::remove(&lock_path(&self.folder, &self.name))?;
        }
        // What others have there stays.
        let _ = fs::remove_dir(&self.folder);
        let _ = self.folder.parent().map(fs::remove_dir);
        Ok(())
    }

    /// It is not, and why.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn failed(mut self, why: String, stopped: bool) -> Result<()> {
        if self.lock.is_none() {
            return Ok(());
        }
        fs::create_dir_all(&self.folder).map_err(Error::io("create", &self.folder))?;
        self.note.ended = Some(Ended { at: now(), stopped, why });
        self.write()
    }
}

/// A lock, unless another process has it. Whoever looks how things stand holds it for a moment.
fn acquire(path: &Path) -> Result<Option<LockFile>> {
    for _ in 0..10 {
        match LockFile::acquire(path, Mode::Exclusive) {
            Ok(lock) => return Ok(Some(lock)),
            Err(setaccio_base::Error::Busy(_)) => thread::sleep(Duration::from_millis(20)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

fn lock_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.lock"))
}

fn note_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.json"))
}

/// How a part stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Manifests or the ledger say so.
    Done,
    /// A process is at it.
    Running,
    /// The last process that was at it failed and said why.
    Failed,
    /// A signal stopped it; it goes on from there.
    Stopped,
    /// The last process that was at it ended without a word: it was killed, or its machine was lost.
    Lost,
    /// Nobody was at it.
    Open,
}

/// A part and how it stands.
#[derive(Clone, Debug, Serialize)]
pub struct PartStanding {
    /// Its name.
    pub name: String,
    /// How it stands.
    pub state: State,
    /// What the last process that was at it said of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<Note>,
}

/// How a build in several parts stands.
#[derive(Clone, Debug, Serialize)]
pub struct Standing {
    /// Whether it is published.
    pub published: bool,
    /// Its tasks, and how many of them are done; unknown before a part began.
    pub tasks: Option<[usize; 2]>,
    /// The slices, in order.
    pub slices: Vec<PartStanding>,
    /// The processes that join them together, in order, if there are several.
    pub shares: Vec<PartStanding>,
    /// What joins them, and publishes what comes of it.
    pub finish: PartStanding,
}

impl Standing {
    /// That of the build in `out`: the one that was asked for `since` then, if it is known when; of so many slices, until a part
    /// says how many, and so many shares of joining them.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn of(out: &Path, since: Option<SystemTime>, [slices, shares]: [Option<usize>; 2]) -> Result<Self> {
        let work = work(out);
        let folder = work.join(PARTS);
        let outline = Outline::read(&work);
        let ledger = Ledger::of(out).filter(|ledger| !ledger.fingerprint.is_empty());
        // A build that finds itself up to date says so there, too.
        let told = fs::metadata(rebuild::whereabouts(out)).and_then(|found| found.modified()).ok();
        let published = ledger.is_some_and(|ledger| {
            outline.as_ref().is_none_or(|outline| outline.fingerprint == ledger.fingerprint)
                && since.is_none_or(|since| told.is_some_and(|told| told >= since))
        });
        let done: Option<Vec<bool>> = outline
            .as_ref()
            .map(|outline| outline.tasks.iter().map(|key| published || filter::is_done(&work, key)).collect());
        let of = outline.as_ref().and_then(|outline| outline.slices).or(slices).unwrap_or(0);
        let slices = (1..=of).map(|number| {
            let mine = done.as_ref().map(|done| done.iter().skip(number - 1).step_by(of));
            let done = published || mine.is_some_and(|mut mine| mine.all(|done| *done));
            part(&folder, slice(number, of), done)
        });
        let written =
            outline.as_ref().is_some_and(|outline| write::is_written(&Team::place(&work, &outline.fingerprint)));
        let of = outline.as_ref().and_then(|outline| outline.shares).or(shares).unwrap_or(0);
        let shares = (1..=of).map(|number| part(&folder, share(number, of), published || written));
        Ok(Self {
            shares: shares.collect::<Result<_>>()?,
            published,
            tasks: done.as_ref().map(|done| [done.len(), done.iter().filter(|done| **done).count()]),
            slices: slices.collect::<Result<_>>()?,
            finish: part(&folder, FINISH.to_owned(), published)?,
        })
    }
}

fn part(folder: &Path, name: String, done: bool) -> Result<PartStanding> {
    let note: Option<Note> =
        fs::read(note_path(folder, &name)).ok().and_then(|json| serde_json::from_slice(&json).ok());
    let lock = lock_path(folder, &name);
    let held = || match LockFile::acquire(&lock, Mode::Shared) {
        Err(setaccio_base::Error::Busy(_)) => Ok(true),
        Err(error) => Err(Error::from(error)),
        Ok(_) => Ok(false),
    };
    let state = match note.as_ref().map(|note| &note.ended) {
        _ if done => State::Done,
        None => State::Open,
        // Whoever begins anew takes the lock first, and writes then.
        Some(_) if lock.exists() && held()? => State::Running,
        Some(Some(ended)) if ended.stopped => State::Stopped,
        Some(Some(_)) => State::Failed,
        Some(None) => State::Lost,
    };
    Ok(PartStanding { name, state, note })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states(out: &Path) -> Result<Vec<State>> {
        let standing = Standing::of(out, None, [Some(2), None])?;
        Ok(standing.slices.iter().chain([&standing.finish]).map(|part| part.state).collect())
    }

    #[test]
    fn a_part_is_open_running_lost_failed_stopped_or_done() -> Result<()> {
        let dir = tempfile::tempdir().map_err(Error::io("create", "temp"))?;
        let out = dir.path();
        let begin = || AtWork::begin(out, &slice(1, 2), Note { host: "n1".into(), began: now(), ..Note::default() });
        assert_eq!(states(out)?, [State::Open; 3]);
        let running = begin()?;
        assert_eq!(states(out)?, [State::Running, State::Open, State::Open]);
        // A second process at the same part says nothing of it.
        begin()?.failed("no".into(), false)?;
        assert_eq!(states(out)?[0], State::Running);
        drop(running);
        assert_eq!(states(out)?[0], State::Lost);
        begin()?.failed("the disk is full".into(), false)?;
        assert_eq!(states(out)?[0], State::Failed);
        begin()?.failed("interrupted".into(), true)?;
        assert_eq!(states(out)?[0], State::Stopped);

        let work = out.join(".setaccio/work");
        let outline = Outline {
            fingerprint: "f".into(),
            slices: Some(2),
            shares: None,
            tasks: ["a", "b", "c"].map(str::to_owned).into(),
        };
        outline.write(&work)?;
        for key in ["a", "c"] {
            for end in ["blocks", "json"] {
                fs::write(work.join(format!("{key}.{end}")), "").map_err(Error::io("write", key))?;
            }
        }
        assert_eq!(states(out)?, [State::Done, State::Open, State::Open]);
        assert_eq!(Standing::of(out, None, [None; 2])?.tasks, Some([3, 2]));
        let again = begin()?;
        again.done()?;
        assert!(!work.join(PARTS).exists() && work.exists());
        Ok(())
    }
}
