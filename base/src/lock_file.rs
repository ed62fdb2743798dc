//! What belongs to one process at a time, or to several that share it.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use crate::error::{Error, Result};

/// How often a lock that another process has is asked for again, and after how long.
const LOOKS: usize = 10;
const A_MOMENT: Duration = Duration::from_millis(20);

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
        loop {
            let file = File::options().create(true).truncate(false).write(true).open(path);
            let lock = Self { file: file.map_err(Error::io("open", path))?, path: path.to_owned() };
            lock.lock(mode)?;
            // Between opening and locking, whoever had it may have removed it: others would lock another file.
            if is_at(&lock.file, path).map_err(Error::io("read", path))? {
                return Ok(lock);
            }
        }
    }

    /// The same, asked for again for a moment: [`Self::is_held`] of another process has it so long.
    ///
    /// # Errors
    /// As [`Self::acquire`].
    pub fn acquire_beside_lookers(path: &Path, mode: Mode) -> Result<Self> {
        for _ in 0..LOOKS {
            match Self::acquire(path, mode) {
                Err(Error::Busy(_)) => thread::sleep(A_MOMENT),
                lock => return lock,
            }
        }
        Self::acquire(path, mode)
    }

    /// Whether another process has the lock on `path`. Nothing is made, and the file may be one that this process cannot write.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn is_held(path: &Path) -> Result<bool> {
        match File::open(path) {
            Ok(file) => match file.try_lock_shared() {
                Err(TryLockError::WouldBlock) => Ok(true),
                Err(TryLockError::Error(error)) => Err(Error::io("lock", path)(error)),
                Ok(()) => Ok(false),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io("open", path)(error)),
        }
    }

    /// Give the lock up and take it in another mode; somebody else may come between.
    ///
    /// # Errors
    /// As [`Self::acquire`].
    pub fn change_mode(&self, mode: Mode) -> Result<()> {
        self.file.unlock().map_err(Error::io("unlock", &self.path))?;
        self.lock(mode)
    }

    /// Give the lock up and leave no file of it. Whoever waits for it takes a new one.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn remove(self) -> Result<()> {
        fs::remove_file(&self.path).map_err(Error::io("remove", &self.path))
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

/// Whether what is open lies at `path` now.
pub(crate) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_it_alone_or_several_share_it() -> Result<()> {
        let dir = tempfile::tempdir().map_err(Error::io("create", "temp"))?;
        let path = dir.path().join("lock");
        assert!(!LockFile::is_held(&path)? && !path.exists(), "looking makes no file");
        let alone = LockFile::acquire(&path, Mode::Exclusive)?;
        assert!(LockFile::is_held(&path)?);
        for mode in [Mode::Exclusive, Mode::Shared] {
            assert!(matches!(LockFile::acquire(&path, mode), Err(Error::Busy(_))));
        }
        alone.change_mode(Mode::Shared)?;
        let shared = LockFile::acquire(&path, Mode::Shared)?;
        assert!(matches!(LockFile::acquire(&path, Mode::Exclusive), Err(Error::Busy(_))));
        drop((alone, shared));
        assert!(!LockFile::is_held(&path)?);
        let last = LockFile::acquire(&path, Mode::Exclusive)?;
        last.remove()?;
        assert!(!path.exists());
        LockFile::acquire(&path, Mode::Exclusive).map(drop)
    }
}
