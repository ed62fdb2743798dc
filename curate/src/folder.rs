//! The output folder while it is built: its lock, and how a build that is done takes the place of an earlier one.

use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use setaccio_base::{
    atomic,
    hidden::{self, HIDDEN, hidden_folder},
    lock_file::{LockFile, Mode},
};
use setaccio_dataset::{
    folder::{DATA, LEDGER, PUBLISHED, REJECTS, REPORT},
    ledger::Ledger,
};

use crate::error::{Error, Result};

/// Name of the lock's file in the hidden folder.
const LOCK: &str = "lock";

/// Name of the file there that says that what is staged is whole,
const PUBLISHING: &str = "publishing";

/// of the folder that it is staged in,
const STAGING: &str = "staging";

/// and of the one of what processes that share a build say of themselves, which stays until it is published.
pub const PARTS: &str = "parts";

/// The folder there of what was submitted to a batch system.
pub const SUBMITTED: &str = "submit";

/// An output folder that this process has locked.
#[derive(Debug)]
pub struct OutputFolder {
    root: PathBuf,
    lock: LockFile,
}

impl OutputFolder {
    /// Create or open `root` and lock it: alone, or shared with other slices of the same build.
    /// A publication that was cut short is completed first.
    ///
    /// # Errors
    /// Another build has it, it cannot be written to, or it holds a `data` folder that no build wrote.
    pub fn open(root: &Path, mode: Mode) -> Result<Self> {
        check(root)?;
        let cut_short = root.join(HIDDEN).join(PUBLISHING).exists();
        let busy = |error| match error {
            setaccio_base::Error::Busy(_) => setaccio_base::Error::Busy(root.to_owned()),
            other => other,
        };
        // Completing a publication takes the folder for oneself, even before a slice.
        let first = if cut_short { Mode::Exclusive } else { mode };
        let lock = hidden::lock(root, LOCK, first)?;
        let folder = Self { root: root.to_owned(), lock };
        for left in [root.to_owned(), hidden_folder(root)?, folder.work(), folder.hidden(PARTS)] {
            atomic::sweep(&left)?;
        }
        if folder.marker().exists() {
            folder.put_in_place()?;
        }
        if mode != first {
            folder.lock.change_mode(mode).map_err(busy)?;
        }
        Ok(folder)
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where finished tasks wait for the end of the build.
    pub fn work(&self) -> PathBuf {
        self.hidden("work")
    }

    /// Where the tasks of the build that is there are kept, for one that shares them.
    pub fn kept_tasks(&self) -> PathBuf {
        self.hidden("tasks")
    }

    /// Keep of the work what tasks of these keys left, if it is no larger than `most`, and nothing of an earlier build; otherwise
    /// nothing. Says how large what is kept is.
    pub fn keep_tasks(&self, keys: &BTreeSet<&str>, most: u64) -> Result<u64> {
        let (work, kept) = (self.work(), self.kept_tasks());
        atomic::remove(&kept)?;
        let mut bytes = 0;
        for entry in fs::read_dir(&work).map_err(Error::io("list", &work))? {
            let path = entry.map_err(Error::io("list", &work))?.path();
            match fs::metadata(&path) {
                // A file that is published under another name, too, costs nothing.
                Ok(found) if found.is_file() && is_of(&path, keys) => {
                    bytes += if found.nlink() > 1 { 0 } else { found.len() }
                }
                _ => atomic::remove(&path)?,
            }
        }
        if bytes > most {
            return Ok(0);
        }
        fs::rename(&work, &kept).map_err(Error::io("keep", &work))?;
        Ok(bytes)
    }

    /// Where the new build is put together.
    pub fn staging(&self) -> PathBuf {
        self.hidden(STAGING)
    }

    fn marker(&self) -> PathBuf {
        self.hidden(PUBLISHING)
    }

    fn hidden(&self, name: &str) -> PathBuf {
        self.root.join(HIDDEN).join(name)
    }

    /// An empty staging folder.
    pub fn fresh_staging(&self) -> Result<PathBuf> {
        let staging = self.staging();
        atomic::remove(&staging)?;
        for sub in [DATA, REJECTS] {
            let path = staging.join(sub);
            fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
        }
        Ok(staging)
    }

    /// Replace the earlier build by what is staged, and clear the work, of which `keep` may put something aside. From the moment the
    /// marker is on disk the new build is the one that counts: a crash later is made good by the next `open`.
    ///
    /// # Errors
    /// As `keep`; the file system refuses; the next `open` goes on from there.
    pub fn publish<T>(&self, keep: impl FnOnce() -> Result<T>) -> Result<T> {
        atomic::sync_dir(&self.staging())?;
        atomic::write(&self.marker(), b"staging is complete\n")?;
        // The tasks go only now: whoever looks how things stand sees them, or the marker.
        let kept = keep()?;
        self.put_in_place()?;
        Ok(kept)
    }

    fn put_in_place(&self) -> Result<()> {
        let old = self.hidden("old");
        fs::create_dir_all(&old).map_err(Error::io("create", &old))?;
        if atomic::exists(&self.root.join(LEDGER)) {
            // It shows the earlier build.
            atomic::remove(&self.root.join(REPORT))?;
        }
        for name in PUBLISHED {
            let (new, place, aside) = (self.staging().join(name), self.root.join(name), old.join(name));
            if atomic::exists(&new) {
                if atomic::exists(&place) {
                    atomic::remove(&aside)?;
                    fs::rename(&place, &aside).map_err(Error::io("move aside", &place))?;
                }
                fs::rename(&new, &place).map_err(Error::io("put in place", &place))?;
            }
        }
        atomic::sync_dir(&self.root)?;
        self.clear()
    }

    /// Leave nothing in a folder without a build where no task was finished: there is nothing to go on from.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn abandon(self) -> Result<()> {
        let work = fs::read_dir(self.work()).into_iter().flatten().flatten();
        let finished = work.filter(|entry| entry.path().extension().is_some_and(|end| end == "blocks")).count();
        // Once a build is staged whole, its parts may lie here and nowhere else.
        if self.marker().exists() || Ledger::of(&self.root).is_some() || finished > 0 {
            return Ok(());
        }
        let hidden = self.root.join(HIDDEN);
        for entry in fs::read_dir(&hidden).map_err(Error::io("list", &hidden))? {
            let path = entry.map_err(Error::io("list", &hidden))?.path();
            // Who submitted it is told by `status` how it went.
            if !path.ends_with(LOCK) && !path.ends_with(SUBMITTED) {
                atomic::remove(&path)?;
            }
        }
        // The lock goes last; what somebody else has in either folder stays.
        self.lock.remove()?;
        let _ = fs::remove_dir(&hidden).and_then(|()| fs::remove_dir(&self.root));
        Ok(())
    }

    /// Leave nothing of a build's work. The marker goes last: until then a crash is made good by the next `open`.
    pub fn clear(&self) -> Result<()> {
        let all = [self.hidden("old"), self.staging(), self.work()];
        all.iter().try_for_each(|path| atomic::remove(path))?;
        // A part that begins meanwhile puts its note there, and takes it away again when it finds the build up to date.
        let notes = self.hidden(PARTS);
        let busy = |error: &setaccio_base::Error| matches!(error, setaccio_base::Error::Io { error, .. } if error.kind() == ErrorKind::DirectoryNotEmpty);
        for _ in 0..10 {
            match atomic::remove(&notes) {
                Err(error) if busy(&error) => {}
                removed => {
                    removed?;
                    break;
                }
            }
        }
        Ok(atomic::remove(&self.marker())?)
    }
}

/// The ledger of the build that is being put in place in `root`, or was when a process ended that did it: it counts, and the next
/// command that opens the folder completes it.
pub fn publishing(root: &Path) -> Option<Ledger> {
    let hidden = root.join(HIDDEN);
    // It is put in place last.
    is_publishing(root).then(|| Ledger::of(&hidden.join(STAGING)).or_else(|| Ledger::of(root))).flatten()
}

/// Whether a build is being put in place in `root`, or was when a process ended that did it.
pub fn is_publishing(root: &Path) -> bool {
    root.join(HIDDEN).join(PUBLISHING).exists()
}

/// Whether a file is called by the key of one of these tasks.
fn is_of(file: &Path, keys: &BTreeSet<&str>) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let key = name.split(['.', '-']).next();
    key.is_some_and(|key| keys.contains(key))
}

/// Check that a build may work in `root`.
///
/// # Errors
/// It holds a `data` folder that no build wrote.
pub fn check(root: &Path) -> Result<()> {
    // What a publication that was cut short left there is completed by whoever opens it.
    if is_publishing(root) { Ok(()) } else { check_ownership(root) }
}

/// Check that whatever a build would replace in `root` is an earlier build's.
fn check_ownership(root: &Path) -> Result<()> {
    let foreign = |path: PathBuf| {
        let message = "is there already, and no build wrote it; move it away or choose another --out";
        Err(Error::damaged(path, message))
    };
    match Ledger::of(root).filter(|l| !l.fingerprint.is_empty()) {
        None => match PUBLISHED.iter().map(|n| root.join(n)).find(|p| atomic::exists(p)) {
            Some(path) => foreign(path),
            None => Ok(()),
        },
        Some(ledger) => match unknown_files(root, &ledger)?.into_iter().next() {
            Some(name) => foreign(root.join(name)),
            None => Ok(()),
        },
    }
}

/// Files among the shards and rejects that the ledger does not know.
pub fn unknown_files(out: &Path, ledger: &Ledger) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for folder in [DATA, REJECTS] {
        let path = out.join(folder);
        let entries = match fs::read_dir(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            entries => entries.map_err(Error::io("list", &path))?,
        };
        for entry in entries {
            let name = entry.map_err(Error::io("list", &path))?.file_name();
            found.push(format!("{folder}/{}", name.to_string_lossy()));
        }
    }
    found.retain(|name| ledger.files.iter().all(|f| f.path != *name));
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temp() -> tempfile::TempDir {
        tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"))
    }

    fn stage(folder: &OutputFolder, text: &str) {
        let staging = folder.fresh_staging().unwrap_or_else(|e| panic!("{e}"));
        for name in &PUBLISHED[2..] {
            let ledger = Ledger { fingerprint: text.to_owned(), ..Ledger::default() };
            let json = serde_json::to_vec(&ledger).unwrap_or_else(|e| panic!("{e}"));
            atomic::write(&staging.join(name), &json).unwrap_or_else(|e| panic!("{e}"));
        }
    }

    fn ledger(root: &Path) -> String {
        let bytes = fs::read(root.join("ledger.json")).unwrap_or_default();
        serde_json::from_slice::<Ledger>(&bytes).map(|l| l.fingerprint).unwrap_or_default()
    }

    #[test]
    fn one_build_at_a_time_but_many_slices() -> Result<()> {
        let dir = temp();
        let held = OutputFolder::open(dir.path(), Mode::Exclusive)?;
        assert!(matches!(
            OutputFolder::open(dir.path(), Mode::Exclusive),
            Err(Error::Base(setaccio_base::Error::Busy(_)))
        ));
        assert!(matches!(
            OutputFolder::open(dir.path(), Mode::Shared),
            Err(Error::Base(setaccio_base::Error::Busy(_)))
        ));
        drop(held);
        let _one = OutputFolder::open(dir.path(), Mode::Shared)?;
        let _two = OutputFolder::open(dir.path(), Mode::Shared)?;
        Ok(())
    }

    #[test]
    fn a_cut_publication_is_completed_at_the_next_start() -> Result<()> {
        for (done, mode) in (0..=PUBLISHED.len()).flat_map(|n| [(n, Mode::Exclusive), (n, Mode::Shared)]) {
            let dir = temp();
            let folder = OutputFolder::open(dir.path(), Mode::Exclusive)?;
            stage(&folder, "first");
            folder.publish(|| Ok(()))?;
            assert_eq!(ledger(dir.path()), "first");
            stage(&folder, "second");
            atomic::write(&folder.marker(), b"")?;
            for name in &PUBLISHED[..done] {
                atomic::remove(&dir.path().join(name))?;
                fs::rename(folder.staging().join(name), dir.path().join(name)).map_err(Error::io("move", name))?;
            }
            drop(folder);
            let folder = OutputFolder::open(dir.path(), mode)?;
            assert_eq!(ledger(dir.path()), "second", "cut after {done} moves");
            assert!(!folder.staging().exists() && !folder.marker().exists());
        }
        Ok(())
    }

    #[test]
    fn a_publication_that_fails_at_its_last_rename_is_not_abandoned() -> Result<()> {
        let dir = temp();
        let folder = OutputFolder::open(dir.path(), Mode::Exclusive)?;
        stage(&folder, "first");
        folder.publish(|| Ok(()))?;
        stage(&folder, "second");
        atomic::write(&folder.marker(), b"")?;
        // The earlier ledger has stepped aside, and the new one is not in its place.
        atomic::remove(&dir.path().join("ledger.json"))?;
        folder.abandon()?;
        drop(OutputFolder::open(dir.path(), Mode::Exclusive)?);
        assert_eq!(ledger(dir.path()), "second");
        Ok(())
    }

    #[test]
    fn what_was_submitted_outlives_a_build_that_comes_to_nothing() -> Result<()> {
        let dir = temp();
        let folder = OutputFolder::open(dir.path(), Mode::Exclusive)?;
        let record = folder.hidden(SUBMITTED).join("0001");
        for made in [&record, &folder.work()] {
            fs::create_dir_all(made).map_err(Error::io("create", made))?;
        }
        let work = folder.work();
        folder.abandon()?;
        assert_eq!((record.exists(), work.exists()), (true, false));
        Ok(())
    }

    #[test]
    fn a_folder_of_somebody_else_is_left_alone() {
        let dir = temp();
        fs::create_dir(dir.path().join("data")).unwrap_or_else(|e| panic!("{e}"));
        let error = OutputFolder::open(dir.path(), Mode::Exclusive).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains("choose another --out"), "{error}");
        assert!(!dir.path().join(".setaccio").exists(), "nothing is left in it");
        fs::write(dir.path().join("ledger.json"), "{}").unwrap_or_else(|e| panic!("{e}"));
        assert!(OutputFolder::open(dir.path(), Mode::Exclusive).is_err());
    }
}
