//! The hidden folder in every folder that this program writes.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use crate::{
    atomic,
    error::{Error, Result},
    lock_file::{LockFile, Mode},
};

/// Its name.
pub const HIDDEN: &str = ".setaccio";

/// How often a lock that another process has is asked for again, and after how long.
const LOOKS: usize = 10;
const A_MOMENT: Duration = Duration::from_millis(20);

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
    let mut looks = 0;
    loop {
        match LockFile::acquire(&hidden_folder(folder)?.join(name), mode) {
            // Whoever had it and came to nothing took the hidden folder away.
            Err(Error::Io { error, .. }) if error.kind() == ErrorKind::NotFound => {}
            // Whoever only looks whether it is held has it for a moment.
            Err(Error::Busy(_)) if looks < LOOKS => {
                looks += 1;
                thread::sleep(A_MOMENT);
            }
            Err(Error::Busy(_)) => return Err(Error::Busy(folder.to_owned())),
            lock => return lock,
        }
    }
}
