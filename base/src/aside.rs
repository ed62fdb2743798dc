//! Hidden names beside a place, under which something is written before it gets its own. Each is locked while its process
//! lives, so that what a killed one left is told from what is being written.

use std::{
    fs::{self, File, Permissions, TryLockError},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use tempfile::{Builder, NamedTempFile, TempDir};

use crate::{
    error::{Error, Result},
    lock_file::{LockFile, Mode, is_at},
};

/// How hidden names begin.
pub(crate) const PREFIX: &str = ".writing-";

/// A new file in `folder`, which vanishes when it is dropped.
pub(crate) fn file(folder: &Path) -> Result<NamedTempFile> {
    loop {
        // As an ordinary file has it, less the umask, where `tempfile` would let only its owner read.
        let file = Builder::new().prefix(PREFIX).permissions(Permissions::from_mode(0o666)).tempfile_in(folder);
        let file = file.map_err(Error::io("create a file in", folder))?;
        if is_ours(file.as_file(), file.path()).map_err(Error::io("create a file in", folder))? {
            return Ok(file);
        }
    }
}

/// A folder that vanishes when it is dropped before it is [put in place](Self::put).
#[derive(Debug)]
pub(crate) struct AsideFolder {
    folder: TempDir,
    _held: File,
}

impl AsideFolder {
    /// A new one in `parent`.
    pub fn create(parent: &Path) -> Result<Self> {
        let create = || loop {
            let folder = Builder::new().prefix(PREFIX).permissions(Permissions::from_mode(0o777)).tempdir_in(parent)?;
            match File::open(folder.path()) {
                Ok(held) if is_ours(&held, folder.path())? => return Ok(Self { folder, _held: held }),
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        };
        create().map_err(Error::io("create a folder in", parent))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Give it its name.
    pub fn put(self, place: &Path) -> io::Result<()> {
        fs::rename(self.folder.path(), place)?;
        let _ = self.folder.keep();
        Ok(())
    }
}

/// Whether what was just made at `path` is held now, and not swept away before.
fn is_ours(made: &File, path: &Path) -> io::Result<bool> {
    match made.try_lock() {
        Err(TryLockError::WouldBlock) => Ok(false),
        // A file system without locks has none to respect.
        Err(TryLockError::Error(_)) => Ok(true),
        Ok(()) => is_at(made, path),
    }
}

/// What is at `path`, if no process holds it.
pub(crate) fn abandoned(path: &Path) -> Option<File> {
    let file = File::open(path).ok()?;
    (file.try_lock().is_ok() && is_at(&file, path).ok()?).then_some(file)
}

/// The right to write a place, from before it is looked at until it is written.
#[derive(Debug)]
pub(crate) struct PlaceLock(Option<LockFile>);

impl PlaceLock {
    /// Take it for the file or folder `name` of `parent`.
    pub fn take(parent: &Path, name: &str) -> Result<Self> {
        let path: PathBuf = parent.join(format!("{PREFIX}{name}.lock"));
        match LockFile::acquire(&path, Mode::Exclusive) {
            Err(Error::Busy(_)) => Err(Error::Busy(parent.join(name))),
            Err(Error::Io { action: "lock", .. }) => {
                let _ = fs::remove_file(path);
                Ok(Self(None))
            }
            lock => Ok(Self(Some(lock?))),
        }
    }
}

impl Drop for PlaceLock {
    fn drop(&mut self) {
        // What cannot be removed is nobody's, and the next one takes it.
        let _ = self.0.take().map(LockFile::remove);
    }
}
