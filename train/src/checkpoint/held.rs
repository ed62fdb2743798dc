//! A run's folder belongs to one process at a time.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use setaccio_base::atomic::write as write_whole;

use crate::{
    error::{Error, Result},
    report::{card, curve, lock, metrics, tensorboard},
};

/// Held by the process that trains, and there in every folder that a run was begun in.
fn mark(run: &Path) -> PathBuf {
    run.join(".setaccio/run")
}

/// Check that whatever a run would replace in `run` is an earlier run's.
///
/// # Errors
/// Something is there that no run wrote.
pub fn ours(run: &Path) -> Result<()> {
    let written = [
        card::NAME,
        "adapter",
        "base",
        "checkpoints",
        curve::NAME,
        lock::NAME,
        metrics::NAME,
        "model",
        tensorboard::NAME,
    ];
    match written.iter().map(|name| run.join(name)).find(|path| path.exists()) {
        Some(path) if !mark(run).exists() => {
            let message = "is there already, and no run wrote it; move it away or give the run a folder of its own with \
                           `--out`";
            Err(Error::Damaged { path, message: message.into() })
        }
        _ => Ok(()),
    }
}

/// Create or open `run` and hold it until the file that is returned is dropped.
///
/// # Errors
/// Another process holds it, it holds what no run wrote, or the file system refuses.
pub fn hold(run: &Path) -> Result<File> {
    ours(run)?;
    let hidden = run.join(".setaccio");
    fs::create_dir_all(&hidden).map_err(Error::io("create", &hidden))?;
    // What is in it is nobody's to commit or push.
    let ignore = hidden.join(".gitignore");
    if !ignore.exists() {
        write_whole(&ignore, b"*\n")?;
    }
    let path = mark(run);
    let file =
        File::options().create(true).truncate(false).write(true).open(&path).map_err(Error::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Damaged {
            path: run.to_owned(),
            message: "another setaccio trains in it: wait for it to end, or give this run its own `--out`".into(),
        }),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", &path)(error)),
    }
}
