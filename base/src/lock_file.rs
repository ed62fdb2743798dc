//! A folder that belongs to one process at a time, or to several that share it.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use crate::{
    atomic,
    error::{Error, Result},
};

/// Name of the hidden folder in every folder that this program writes.
pub const HIDDEN: &str = ".setaccio";

/// Whether others may hold the same lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nobody else.
    Exclusive,
    /// Others that share it too.
    Shared,
}

/// A lock on a file, given up when it is dropped.
#[derive(Debug)]
pub struct LockFile {
    file: File,
    path: PathBuf,
}

impl LockFile {
    /// Take the lock on `path`, which is made if it is not there.
    ///
    /// # Errors
    /// [`Error::Busy`] with `path` if another process has it.
    pub fn acquire(path: &Path, mode: Mode) -> Result<Self> {
        let file =
            File::options().create(true).truncate(false).write(true).open(path).map_err(Error::io("open", path))?;
        let lock = Self { file, path: path.to_owned() };
        lock.lock(mode)?;
        Ok(lock)
    }

    /// Give the lock up and take it in another mode; somebody else may come between.
    ///
    /// # Errors
    /// As [`Self::acquire`].
    pub fn change_mode(&self, mode: Mode) -> Result<()> {
        self.file.unlock().map_err(Error::io("unlock", &self.path))?;
        self.lock(mode)
    }

    fn lock(&self, mode: Mode) -> Result<()> {
        let locked = match mode {
            Mode::Exclusive => self.file.try_lock(),
            Mode::Shared => self.file.try_lock_shared(),
        };
        locked.map_err(|error| match error {
            TryLockError::WouldBlock => Error::Busy(self.path.clone()),
            TryLockError::Error(error) => Error::io("lock", &self.path)(error),
        })
    }
}

/// Make the hidden folder of `root`, which git ignores: what is in it is nobody's to commit or push.
pub fn hidden_folder(root: &Path) -> Result<PathBuf> {
    let hidden = root.join(HIDDEN);
    fs::create_dir_all(&hidden).map_err(Error::io("create", &hidden))?;
    let ignore = hidden.join(".gitignore");
    if !ignore.exists() {
        atomic::write(&ignore, b"*\n")?;
    }
    Ok(hidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_it_alone_or_several_share_it() -> Result<()> {
        let dir = tempfile::tempdir().map_err(Error::io("create", "temp"))?;
        let path = hidden_folder(dir.path())?.join("lock");
        let alone = LockFile::acquire(&path, Mode::Exclusive)?;
        for mode in [Mode::Exclusive, Mode::Shared] {
            assert!(matches!(LockFile::acquire(&path, mode), Err(Error::Busy(_))));
        }
        alone.change_mode(Mode::Shared)?;
        let shared = LockFile::acquire(&path, Mode::Shared)?;
        assert!(matches!(LockFile::acquire(&path, Mode::Exclusive), Err(Error::Busy(_))));
        drop((alone, shared));
        LockFile::acquire(&path, Mode::Exclusive).map(drop)
    }
}
