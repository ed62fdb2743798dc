//! Parts of a build that several processes do: what each leaves in the work folder about itself, and how the whole stands. What is done
//! is told by the manifests of tasks and by the published ledger alone; notes and locks tell who is at what is not, and who failed and why.

use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};
use setaccio_base::{
    atomic,
    hidden::{HIDDEN, hidden_folder},
    lock_file::{LockFile, Mode},
    progress::Progress,
};
use setaccio_dataset::{folder::LEDGER, ledger::Ledger};

pub use crate::pipeline::alone::Alone;
pub use crate::plan::Inspected;
use crate::{
    error::{Error, Result},
    folder::{self, PARTS},
    pipeline::{filter, team::Team, write},
    recipe::rebuild,
};

/// The part that joins the slices,
pub const FINISH: &str = "finish";
/// the last of its stages, from which on the build counts,
pub const PUBLISH: &str = "publish";
/// and the part that puts a published build into an object store.
pub const STORE: &str = "store";

/// How the names of slices in files begin,
const SLICE: &str = "slice-";
/// and of those who join them.
const SHARE: &str = "finish-";

/// What a slice is called in files.
pub fn slice(number: usize, of: usize) -> String {
    format!("{SLICE}{number}-of-{of}")
}

/// Of how many slices or shares those are that notes tell of; of several numbers the greatest. It is asked before an outline says it.
fn noted(out: &Path, prefix: &str) -> Option<usize> {
    let notes = fs::read_dir(home(out)).into_iter().flatten().flatten();
    let of = |name: &str| name.strip_prefix(prefix)?.strip_suffix(".json")?.split_once("-of-")?.1.parse().ok();
    notes.filter_map(|note| of(&note.file_name().to_string_lossy())).max()
}

/// Where the parts of the build in `out` keep what inspecting the inputs finds, for the process of this number of so many.
pub fn inspected(out: &Path, turn: [usize; 2]) -> Inspected {
    Inspected { folder: out.join(HIDDEN).join("inspected"), turn, most: None }
}

/// What a share of joining them is called.
pub fn share(number: usize, of: usize) -> String {
    format!("{SHARE}{number}-of-{of}")
}

/// The work folder of the build in `out`.
pub fn work(out: &Path) -> PathBuf {
    out.join(HIDDEN).join("work")
}

/// The folder of outline, notes and locks of what is made in `out`.
fn home(out: &Path) -> PathBuf {
    out.join(HIDDEN).join(PARTS)
}

/// The same, made if it is not there.
fn made_home(out: &Path) -> Result<PathBuf> {
    hidden_folder(out)?;
    let home = home(out);
    fs::create_dir_all(&home).map_err(Error::io("create", &home))?;
    Ok(home)
}

/// What the output folder says of a build in several parts.
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
    /// That of the build in `out`.
    pub fn read(out: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(home(out).join(OUTLINE)).ok()?).ok()
    }

    /// Write it, if another one is there or none.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn write(&self, out: &Path) -> Result<()> {
        if Self::read(out).as_ref() == Some(self) {
            return Ok(());
        }
        let json = serde_json::to_vec(self).map_err(Error::encode(OUTLINE))?;
        Ok(atomic::write(&made_home(out)?.join(OUTLINE), &json)?)
    }
}

/// The file of an [`Outline`].
const OUTLINE: &str = "outline.json";

/// The file that names the place in a store through which machines share the tasks.
const SHARED: &str = "shared.json";

/// Remember that tasks of the build in `out` are shared through this place in a store.
///
/// # Errors
/// The file system refuses.
pub fn share_through(out: &Path, address: &str) -> Result<()> {
    if shared_through(out).as_deref() == Some(address) {
        return Ok(());
    }
    let json = serde_json::to_vec(address).map_err(Error::encode(SHARED))?;
    Ok(atomic::write(&made_home(out)?.join(SHARED), &json)?)
}

/// The place in a store through which tasks of the build in `out` are shared, if they are.
pub fn shared_through(out: &Path) -> Option<String> {
    serde_json::from_slice(&fs::read(home(out).join(SHARED)).ok()?).ok()
}

/// What machines that share no disk with this one have done of a build.
#[derive(Clone, Debug, Default)]
pub struct Elsewhere {
    /// Keys of tasks that are done.
    pub tasks: BTreeSet<String>,
    /// The build that counts there.
    pub published: Option<String>,
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
    /// What it is at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Whether it waits for another process that is at it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waits: bool,
    /// When it had done its part, in seconds since 1970; of what leaves something else that says so, the note goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<u64>,
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
    note: Mutex<Note>,
}

impl AtWork {
    /// Say that this process is at the part of this name of what is made in `out`, which is the caller's to write to.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn begin(out: &Path, name: &str, note: Note) -> Result<Self> {
        let (folder, lock) = loop {
            let folder = made_home(out)?;
            match acquire(&lock_path(&folder, name)) {
                // Whoever publishes the build has taken the folder away.
                Err(Error::Base(setaccio_base::Error::Io { error, .. })) if error.kind() == ErrorKind::NotFound => {}
                lock => break (folder, lock?),
            }
        };
        let at_work = Self { folder, name: name.to_owned(), lock, note: note.into() };
        // As of what it is at later.
        let _ = at_work.write(&at_work.note());
        Ok(at_work)
    }

    fn note(&self) -> MutexGuard<'_, Note> {
        self.note.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, note: &Note) -> Result<()> {
        if self.lock.is_none() {
            return Ok(());
        }
        let json = serde_json::to_vec(note).map_err(Error::encode(&self.name))?;
        Ok(atomic::write(&note_path(&self.folder, &self.name), &json)?)
    }

    /// Say what it is at now, or that it waits for another process that is. A disk on which there is no room to say so has other
    /// sorrows, and what it is at is done all the same.
    pub fn is_at(&self, what: &str, waits: bool) {
        let mut note = self.note();
        if note.at.as_deref() != Some(what) || note.waits != waits {
            (note.at, note.waits) = (Some(what.to_owned()), waits);
            let _ = self.write(&note);
        }
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
        Ok(())
    }

    /// The part is done, and nothing else says so.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn is_done(self) -> Result<()> {
        let mut note = self.note();
        note.done = Some(now());
        self.write(&note)
    }

    /// It is not, and why.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn failed(self, why: String, stopped: bool) -> Result<()> {
        if self.lock.is_none() {
            return Ok(());
        }
        fs::create_dir_all(&self.folder).map_err(Error::io("create", &self.folder))?;
        let mut note = self.note();
        note.ended = Some(Ended { at: now(), stopped, why });
        self.write(&note)
    }
}

/// Follows work as another does, and notes what it is at.
pub struct Noted<'a> {
    /// Who is at work.
    pub at_work: &'a AtWork,
    /// Who follows it, too.
    pub progress: &'a dyn Progress,
}

impl Progress for Noted<'_> {
    fn cancelled(&self) -> bool {
        self.progress.cancelled()
    }

    fn stage(&self, name: &'static str, total: u64) {
        self.at_work.is_at(name, false);
        self.progress.stage(name, total);
    }

    fn waits(&self, name: &'static str, waits: bool) {
        self.at_work.is_at(name, waits);
        self.progress.waits(name, waits);
    }

    fn advance(&self, pieces: u64, note: &str) {
        self.progress.advance(pieces, note);
    }

    fn rows(&self, rows: u64, bytes: u64) {
        self.progress.rows(rows, bytes);
    }

    fn bytes(&self, bytes: u64) {
        self.progress.bytes(bytes);
    }

    fn detail(&self, sentence: &str) {
        self.progress.detail(sentence);
    }

    fn note(&self, sentence: &str) {
        self.progress.note(sentence);
    }

    fn warn(&self, sentence: &str) {
        self.progress.warn(sentence);
    }
}

/// A lock, unless another process has it.
fn acquire(path: &Path) -> Result<Option<LockFile>> {
    match LockFile::acquire_beside_lookers(path, Mode::Exclusive) {
        Ok(lock) => Ok(Some(lock)),
        Err(setaccio_base::Error::Busy(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
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
    /// What the last process that was at it said of itself,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<Note>,
    /// and when, by the clock of the file system.
    #[serde(skip)]
    pub noted: Option<SystemTime>,
}

impl PartStanding {
    /// How the part of this name of what is made in `out` stands, by what processes left there.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn of(out: &Path, name: String) -> Result<Self> {
        let folder = home(out);
        let path = note_path(&folder, &name);
        let noted = fs::metadata(&path).and_then(|found| found.modified()).ok();
        let note: Option<Note> = fs::read(&path).ok().and_then(|json| serde_json::from_slice(&json).ok());
        let state = match note.as_ref().map(|note| (note.done, &note.ended)) {
            // Whoever begins takes the lock first, and writes then.
            _ if LockFile::is_held(&lock_path(&folder, &name))? => State::Running,
            None => State::Open,
            Some((Some(_), _)) => State::Done,
            Some((None, Some(ended))) if ended.stopped => State::Stopped,
            Some((None, Some(_))) => State::Failed,
            Some((None, None)) => State::Lost,
        };
        Ok(Self { name, state, note, noted })
    }

    /// The same, if what it is to leave is there.
    fn done(self, done: bool) -> Self {
        Self { state: if done { State::Done } else { self.state }, ..self }
    }
}

/// How a build in several parts stands.
#[derive(Clone, Debug, Serialize)]
pub struct Standing {
    /// Whether it is published.
    pub published: bool,
    /// Whether all is written and it is being put in place of an earlier build, or was when the process ended that did it.
    pub publishing: bool,
    /// Its tasks, and how many of them are done; unknown before a part began.
    pub tasks: Option<[usize; 2]>,
    /// The slices, in order.
    pub slices: Vec<PartStanding>,
    /// The processes that join them together, in order, if there are several.
    pub shares: Vec<PartStanding>,
    /// What joins them, and publishes what comes of it.
    pub finish: PartStanding,
    /// What puts the published build into a store, if a process did or does.
    pub store: Option<PartStanding>,
}

impl Standing {
    /// That of the build in `out`: the one that was asked for `since` then, if it is known when; of so many slices, until a part
    /// says how many, and so many shares of joining them.
    ///
    /// Others go on meanwhile. What is looked at first is what goes first when it is no longer needed: notes once tasks are done,
    /// tasks once the mark says that all is staged, the mark once the ledger is in its place.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn of(out: &Path, since: Option<SystemTime>, parts: [Option<usize>; 2]) -> Result<Self> {
        Self::with(out, since, parts, &Elsewhere::default())
    }

    /// The same, with what is known of other machines.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn with(
        out: &Path,
        since: Option<SystemTime>,
        [slices, shares]: [Option<usize>; 2],
        elsewhere: &Elsewhere,
    ) -> Result<Self> {
        let work = work(out);
        let outline = Outline::read(out);
        let part = |name: String| PartStanding::of(out, name);
        // What has not come to its outline has a note.
        let untold = |known: Option<usize>, prefix: &str| if known.is_none() { noted(out, prefix) } else { None };
        let known = outline.as_ref().and_then(|outline| outline.slices).or(slices);
        let slices_noted = untold(known, SLICE);
        let of = known.or(slices_noted).unwrap_or(0);
        let slices: Vec<PartStanding> = (1..=of).map(|number| part(slice(number, of))).collect::<Result<_>>()?;
        let known = outline.as_ref().and_then(|outline| outline.shares).or(shares);
        let shares_noted = untold(known, SHARE);
        let shared = known.or(shares_noted).unwrap_or(0);
        let shares: Vec<PartStanding> =
            (1..=shared).map(|number| part(share(number, shared))).collect::<Result<_>>()?;
        let finish = part(FINISH.to_owned())?;
        let store = Some(part(STORE.to_owned())?).filter(|store| store.state != State::Open);

        let is_done = |key: &String| elsewhere.tasks.contains(key) || filter::is_done(&work, key);
        let done: Option<Vec<bool>> = outline.as_ref().map(|outline| outline.tasks.iter().map(is_done).collect());
        let written =
            outline.as_ref().is_some_and(|outline| write::is_written(&Team::place(&work, &outline.fingerprint)));
        let fits = |ledger: &Ledger| {
            !ledger.fingerprint.is_empty()
                && outline.as_ref().is_none_or(|outline| outline.fingerprint == ledger.fingerprint)
        };
        let publishing = folder::publishing(out).is_some_and(|ledger| fits(&ledger));
        // A build that finds itself up to date says so beside its ledger.
        let told = [rebuild::whereabouts(out), out.join(LEDGER)];
        let told = told.iter().filter_map(|path| fs::metadata(path).and_then(|found| found.modified()).ok()).max();
        let published = Ledger::of(out).is_some_and(|ledger| fits(&ledger))
            && since.is_none_or(|since| told.is_some_and(|told| told >= since))
            // Whether the earlier build is what these make is not known yet.
            && slices_noted.is_none()
            && (outline.is_some() || shares_noted.is_none());
        let published = published || outline.is_some_and(|outline| elsewhere.published == Some(outline.fingerprint));

        let all = published || publishing;
        let tasks = done.map(|done| done.into_iter().map(|done| all || done).collect::<Vec<_>>());
        let slices = slices.into_iter().enumerate().map(|(number, part)| {
            let mine = tasks.as_ref().map(|tasks| tasks.iter().skip(number).step_by(of));
            part.done(all || mine.is_some_and(|mut mine| mine.all(|done| *done)))
        });
        Ok(Self {
            slices: slices.collect(),
            shares: shares.into_iter().map(|part| part.done(all || written)).collect(),
            published,
            publishing: publishing && !published,
            tasks: tasks.as_ref().map(|tasks| [tasks.len(), tasks.iter().filter(|done| **done).count()]),
            finish: finish.done(published),
            store,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

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

        let work = work(out);
        fs::create_dir_all(&work).map_err(Error::io("create", &work))?;
        let outline = Outline {
            fingerprint: "f".into(),
            slices: Some(2),
            shares: None,
            tasks: ["a", "b", "c"].map(str::to_owned).into(),
        };
        outline.write(out)?;
        for key in ["a", "c"] {
            do_task(&work, key)?;
        }
        assert_eq!(states(out)?, [State::Done, State::Open, State::Open]);
        assert_eq!(Standing::of(out, None, [None; 2])?.tasks, Some([3, 2]));
        let again = begin()?;
        again.done()?;
        assert!(!note_path(&home(out), &slice(1, 2)).exists() && home(out).join(OUTLINE).exists());
        Ok(())
    }

    fn do_task(work: &Path, key: &str) -> Result<()> {
        let of = |end: &str| work.join(format!("{key}.{end}"));
        ["blocks", "json"].into_iter().try_for_each(|end| fs::write(of(end), "").map_err(Error::io("write", of(end))))
    }

    fn write_ledger(folder: &Path, fingerprint: &str) -> Result<()> {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let ledger = Ledger { fingerprint: fingerprint.to_owned(), ..Ledger::default() };
        let json = serde_json::to_vec(&ledger).map_err(Error::encode("ledger"))?;
        Ok(atomic::write(&folder.join(LEDGER), &json)?)
    }

    #[test]
    fn what_died_before_its_outline_is_told_by_its_note() -> Result<()> {
        let dir = tempfile::tempdir().map_err(Error::io("create", "temp"))?;
        write_ledger(dir.path(), "earlier")?;
        drop(AtWork::begin(dir.path(), &share(2, 3), Note::default())?);
        let found = Standing::of(dir.path(), None, [None; 2])?;
        assert_eq!(
            found.shares.iter().map(|part| part.state).collect::<Vec<_>>(),
            [State::Open, State::Lost, State::Open]
        );
        assert!(!found.published, "whether the earlier build is what they make is not known");
        Ok(())
    }

    /// What a build of two slices and two shares goes through from its first note to its ledger, over an earlier build or not: what
    /// happens, and how slices, shares and finish stand then, and whether it is being published or is.
    #[test]
    fn at_each_moment_of_a_build_it_is_what_it_is() -> Result<()> {
        use State::{Done, Failed, Lost, Open, Running, Stopped};
        for earlier in [false, true] {
            let dir = tempfile::tempdir().map_err(Error::io("create", "temp"))?;
            let (out, hidden) = (dir.path(), dir.path().join(HIDDEN));
            if earlier {
                write_ledger(out, "earlier")?;
            }
            // By the clock of the file system, as a submission is.
            thread::sleep(Duration::from_millis(20));
            let submitted = out.join("submitted");
            fs::write(&submitted, "").map_err(Error::io("write", &submitted))?;
            let since = fs::metadata(&submitted).and_then(|found| found.modified()).map_err(Error::io("read", out))?;
            let begin =
                |name: &str| AtWork::begin(out, name, Note { host: "n1".into(), began: now(), ..Note::default() });
            let is = |moment: &str, parts: [State; 5], [publishing, published]: [bool; 2]| -> Result<()> {
                let found = Standing::of(out, Some(since), [Some(2), Some(2)])?;
                let all = found.slices.iter().chain(&found.shares).chain([&found.finish]);
                let states: Vec<State> = all.map(|part| part.state).collect();
                assert_eq!(states, parts, "{moment}, over an earlier build: {earlier}");
                assert_eq!([found.publishing, found.published], [publishing, published], "{moment}: {earlier}");
                Ok(())
            };
            let no = [false, false];
            is("nothing began", [Open; 5], no)?;
            let tasks = ["a", "b", "c"].map(str::to_owned).into();
            Outline { fingerprint: "f".into(), slices: Some(2), shares: Some(2), tasks }.write(out)?;
            is("it was foretold", [Open; 5], no)?;
            let one = begin(&slice(1, 2))?;
            is("a slice runs", [Running, Open, Open, Open, Open], no)?;
            one.failed("a bad row".into(), false)?;
            is("it failed", [Failed, Open, Open, Open, Open], no)?;
            begin(&slice(1, 2))?.failed("interrupted".into(), true)?;
            drop(begin(&slice(2, 2))?);
            is("one was stopped, one was killed", [Stopped, Lost, Open, Open, Open], no)?;
            let work = work(out);
            fs::create_dir_all(&work).map_err(Error::io("create", &work))?;
            let one = begin(&slice(1, 2))?;
            do_task(&work, "a")?;
            is("one of its two tasks is done", [Running, Lost, Open, Open, Open], no)?;
            do_task(&work, "c")?;
            is("both are, and it has not said so", [Done, Lost, Open, Open, Open], no)?;
            one.done()?;
            begin(FINISH)?.failed("a slice is missing".into(), false)?;
            is("it was joined too early", [Done, Lost, Open, Open, Failed], no)?;
            do_task(&work, "b")?;
            is("the other is done", [Done, Done, Open, Open, Failed], no)?;
            let share_one = begin(&share(1, 2))?;
            let share_two = begin(&share(2, 2))?;
            share_two.is_at("repeats", true);
            is("they are joined", [Done, Done, Running, Running, Failed], no)?;
            let found = Standing::of(out, None, [None; 2])?;
            let note = found.shares[1].note.clone().unwrap_or_default();
            assert_eq!((note.at.as_deref(), note.waits), (Some("repeats"), true));
            drop(share_two);
            is("one that joins is killed", [Done, Done, Running, Lost, Failed], no)?;
            let written = Team::place(&work, "f").join("written");
            fs::create_dir_all(&written).map_err(Error::io("create", &written))?;
            fs::write(written.join("00000.json"), "").map_err(Error::io("write", &written))?;
            is("all is written", [Done, Done, Done, Done, Failed], no)?;
            share_one.done()?;
            let finish = begin(FINISH)?;
            write_ledger(&hidden.join("staging"), "f")?;
            is("it is staged", [Done, Done, Done, Done, Running], no)?;
            fs::write(hidden.join("publishing"), "").map_err(Error::io("write", &hidden))?;
            is("it is marked", [Done, Done, Done, Done, Running], [true, false])?;
            fs::rename(&work, hidden.join("tasks")).map_err(Error::io("keep", &work))?;
            is("its tasks are kept", [Done, Done, Done, Done, Running], [true, false])?;
            if earlier {
                fs::remove_file(out.join(LEDGER)).map_err(Error::io("remove", out))?;
                is("the earlier one stepped aside", [Done, Done, Done, Done, Running], [true, false])?;
            }
            drop(finish);
            is("its process was killed then", [Done, Done, Done, Done, Lost], [true, false])?;
            fs::rename(hidden.join("staging").join(LEDGER), out.join(LEDGER)).map_err(Error::io("publish", out))?;
            is("its ledger is there", [Done; 5], [false, true])?;
            for left in [hidden.join("staging"), home(out), hidden.join("publishing")] {
                atomic::remove(&left)?;
                is(&format!("{} is gone", left.display()), [Done; 5], [false, true])?;
            }
            // The same submitted again, with other rows: nothing of it is there.
            let later = Some(SystemTime::now() + Duration::from_secs(1));
            let found = Standing::of(out, later, [Some(2), None])?;
            assert_eq!((found.published, found.finish.state), (false, Open));
        }
        Ok(())
    }
}
