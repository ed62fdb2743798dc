//! The output folder: its layout, its lock, and how a finished build takes the place of an earlier one.

use std::{
    fs::{self, File, TryLockError},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use crate::error::{Error, Result};
use setaccio_dataset::ledger::Ledger;

pub use setaccio_dataset::folder::PUBLISHED;

/// An output folder held by this process.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    _lock: File,
}

impl Folder {
    /// Create or open `root` and hold it: alone, or `shared` with other slices of the same build.
    /// A publication that was cut short is completed first.
    ///
    /// # Errors
    /// Another build holds it, it cannot be written to, or it holds a `data` folder that is not ours.
    pub fn open(root: &Path, shared: bool) -> Result<Self> {
        let hidden = root.join(".setaccio");
        let cut_short = hidden.join("publishing").exists();
        if !cut_short {
            ours(root)?;
        }
        fs::create_dir_all(&hidden).map_err(Error::io("create", &hidden))?;
        // What is in it is nobody's to commit or push.
        let ignore = hidden.join(".gitignore");
        if !ignore.exists() {
            write_whole(&ignore, b"*\n")?;
        }
        let path = hidden.join("lock");
        let lock =
            File::options().create(true).truncate(false).write(true).open(&path).map_err(Error::io("open", &path))?;
        let hold = |shared: bool| match if shared { lock.try_lock_shared() } else { lock.try_lock() } {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => Err(Error::Busy(root.to_owned())),
            Err(TryLockError::Error(error)) => Err(Error::io("lock", &path)(error)),
        };
        // Completing a publication takes the folder for oneself, even before a slice.
        hold(shared && !cut_short)?;
        let folder = Self { root: root.to_owned(), _lock: lock.try_clone().map_err(Error::io("open", &path))? };
        if folder.marker().exists() {
            folder.put_in_place()?;
        }
        if shared && cut_short {
            lock.unlock().map_err(Error::io("unlock", &path))?;
            hold(true)?;
        }
        Ok(folder)
    }

    /// Where finished tasks wait for the end of the build.
    pub fn work(&self) -> PathBuf {
        self.root.join(".setaccio/work")
    }

    /// Where the new build is put together.
    pub fn staging(&self) -> PathBuf {
        self.root.join(".setaccio/staging")
    }

    fn marker(&self) -> PathBuf {
        self.root.join(".setaccio/publishing")
    }

    /// An empty staging folder.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn fresh_staging(&self) -> Result<PathBuf> {
        let staging = self.staging();
        remove(&staging)?;
        for sub in ["data", "rejects"] {
            let path = staging.join(sub);
            fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
        }
        Ok(staging)
    }

    /// Replace the earlier build by what is staged, and clear the work. From the moment the marker is on
    /// disk the new build is the one that counts: a crash later is made good by the next `open`.
    ///
    /// # Errors
    /// The file system refuses; the next `open` goes on from there.
    pub fn publish(&self) -> Result<()> {
        sync_dir(&self.staging())?;
        write_whole(&self.marker(), b"staging is complete\n")?;
        self.put_in_place()
    }

    fn put_in_place(&self) -> Result<()> {
        let old = self.root.join(".setaccio/old");
        fs::create_dir_all(&old).map_err(Error::io("create", &old))?;
        for name in PUBLISHED {
            let (new, place, aside) = (self.staging().join(name), self.root.join(name), old.join(name));
            if there(&new) {
                if there(&place) {
                    remove(&aside)?;
                    fs::rename(&place, &aside).map_err(Error::io("move aside", &place))?;
                }
                fs::rename(&new, &place).map_err(Error::io("put in place", &place))?;
            }
        }
        sync_dir(&self.root)?;
        self.clear()
    }

    /// Leave nothing of a build's work. The marker goes last: until then a crash is made good by the next `open`.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn clear(&self) -> Result<()> {
        [self.root.join(".setaccio/old"), self.staging(), self.work(), self.marker()].iter().try_for_each(|p| remove(p))
    }
}

/// Check that whatever a build would replace in `root` is an earlier build's.
fn ours(root: &Path) -> Result<()> {
    let foreign = |path: PathBuf| {
        let message = "is there already, and no build wrote it; move it away or choose another --out";
        Err(Error::Damaged { path, message: message.into() })
    };
    match Ledger::of(root).filter(|l| !l.fingerprint.is_empty()) {
        None => match PUBLISHED.iter().map(|n| root.join(n)).find(|p| there(p)) {
            Some(path) => foreign(path),
            None => Ok(()),
        },
        Some(ledger) => match strangers(root, &ledger)?.into_iter().next() {
            Some(name) => foreign(root.join(name)),
            None => Ok(()),
        },
    }
}

/// Files among the shards and rejects that the ledger does not know.
///
/// # Errors
/// A folder cannot be listed.
pub fn strangers(out: &Path, ledger: &Ledger) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for folder in ["data", "rejects"] {
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

/// Write a file whole or not at all: to a temporary name, flushed, then renamed.
///
/// # Errors
/// The file system refuses.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".writing-")
        .permissions(readable())
        .tempfile_in(folder)
        .map_err(Error::io("create a file in", folder))?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(Error::io("write", path))?;
    file.persist(path).map_err(|e| Error::io("write", path)(e.error))?;
    Ok(())
}

/// What an ordinary file gets, where `tempfile` would make one that only its owner reads.
fn readable() -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    fs::Permissions::from_mode(0o644)
}

/// Whether there is anything of this name, be it a link to nowhere.
fn there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Remove a file, folder or link, if it is there.
///
/// # Errors
/// The file system refuses.
pub fn remove(path: &Path) -> Result<()> {
    let is_dir = fs::symlink_metadata(path).is_ok_and(|m| m.is_dir());
    let removed = if is_dir { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io("remove", path)(e)),
        _ => Ok(()),
    }
}

/// Make renames inside `path` durable.
///
/// # Errors
/// The file system refuses.
pub fn sync_dir(path: &Path) -> Result<()> {
    File::open(path).and_then(|d| d.sync_all()).map_err(Error::io("flush", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temp() -> tempfile::TempDir {
        tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"))
    }

    fn stage(folder: &Folder, text: &str) {
        let staging = folder.fresh_staging().unwrap_or_else(|e| panic!("{e}"));
        for name in &PUBLISHED[2..] {
            let ledger = Ledger { fingerprint: text.to_owned(), ..Ledger::default() };
            let json = serde_json::to_vec(&ledger).unwrap_or_else(|e| panic!("{e}"));
            write_whole(&staging.join(name), &json).unwrap_or_else(|e| panic!("{e}"));
        }
    }

    fn ledger(root: &Path) -> String {
        let bytes = fs::read(root.join("ledger.json")).unwrap_or_default();
        serde_json::from_slice::<Ledger>(&bytes).map(|l| l.fingerprint).unwrap_or_default()
    }

    #[test]
    fn one_build_at_a_time_but_many_slices() -> Result<()> {
        let dir = temp();
        let held = Folder::open(dir.path(), false)?;
        assert!(matches!(Folder::open(dir.path(), false), Err(Error::Busy(_))));
        assert!(matches!(Folder::open(dir.path(), true), Err(Error::Busy(_))));
        drop(held);
        let _one = Folder::open(dir.path(), true)?;
        let _two = Folder::open(dir.path(), true)?;
        Ok(())
    }

    #[test]
    fn a_cut_publication_is_completed_at_the_next_start() -> Result<()> {
        for (done, shared) in (0..=PUBLISHED.len()).flat_map(|n| [(n, false), (n, true)]) {
            let dir = temp();
            let folder = Folder::open(dir.path(), false)?;
            stage(&folder, "first");
            folder.publish()?;
            assert_eq!(ledger(dir.path()), "first");
            stage(&folder, "second");
            write_whole(&folder.marker(), b"")?;
            for name in &PUBLISHED[..done] {
                remove(&dir.path().join(name))?;
                fs::rename(folder.staging().join(name), dir.path().join(name)).map_err(Error::io("move", name))?;
            }
            drop(folder);
            let folder = Folder::open(dir.path(), shared)?;
            assert_eq!(ledger(dir.path()), "second", "cut after {done} moves");
            assert!(!folder.staging().exists() && !folder.marker().exists());
        }
        Ok(())
    }

    #[test]
    fn a_folder_of_somebody_else_is_left_alone() {
        let dir = temp();
        fs::create_dir(dir.path().join("data")).unwrap_or_else(|e| panic!("{e}"));
        let error = Folder::open(dir.path(), false).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains("choose another --out"), "{error}");
        assert!(!dir.path().join(".setaccio").exists(), "nothing is left in it");
        fs::write(dir.path().join("ledger.json"), "{}").unwrap_or_else(|e| panic!("{e}"));
        assert!(Folder::open(dir.path(), false).is_err());
    }
}
