//! The hidden folder in every folder that this program writes.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use crate::{
    atomic,
    error::{Error, Result},
    lock_file::{LockFile, Mode},
};

/// Its name.
pub const HIDDEN: &str = ".setaccio";

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

/// Take the lock `name` of a folder, which lies in what the folder hides.
///
/// # Errors
/// [`Error::Busy`] with the folder if another process has it; the file system refuses.
pub fn lock(folder: &Path, name: &str, mode: Mode) -> Result<LockFile> {
    loop {
        match LockFile::acquire_beside_lookers(&hidden_folder(folder)?.join(name), mode) {
            // Whoever had it and came to nothing took the hidden folder away.
            Err(Error::Io { error, .. }) if error.kind() == ErrorKind::NotFound => {}
            Err(Error::Busy(_)) => return Err(Error::Busy(folder.to_owned())),
            lock => return lock,
        }
    }
}
