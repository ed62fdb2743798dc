//! A run's folder belongs to one process at a time.

use std::path::{Path, PathBuf};

use setaccio_base::{
    hidden::{self, HIDDEN},
    lock_file::{LockFile, Mode},
    manifest,
};

use crate::{
    error::{Error, Result},
    report::{card, curve, lock, metrics, tensorboard},
};

/// There in every folder of a chain.
pub const CHAIN: &str = "chain.lock.toml";

/// Name of the lock.
const MARK: &str = "run";

/// Locked by the process that trains, and there in every folder that a run was begun in.
fn mark(run: &Path) -> PathBuf {
    run.join(HIDDEN).join(MARK)
}

/// Check that whatever a run would replace in `run` is an earlier run's.
///
/// # Errors
/// Something is there that no run wrote, or a chain is.
pub fn check(run: &Path) -> Result<()> {
    if run.join(CHAIN).exists() {
        let message = "holds a chain of `setaccio train-all`, whose parts a run would mix with its own: give the run a folder of \
                       its own with `--out`";
        return Err(Error::damaged(run, message));
    }
    let written = [
        card::NAME,
        "adapter",
        "base",
        "checkpoints",
        curve::NAME,
        lock::NAME,
        manifest::NAME,
        metrics::NAME,
        "model",
        tensorboard::NAME,
    ];
    match written.iter().map(|name| run.join(name)).find(|path| path.exists()) {
        Some(path) if !mark(run).exists() => {
            let message = "is there already, and no run wrote it; move it away or give the run a folder of its own with \
                           `--out`";
            Err(Error::damaged(path, message))
        }
        _ => Ok(()),
    }
}

/// Whether a run was begun in this very folder.
pub fn holds_a_run(folder: &Path) -> bool {
    mark(folder).exists() || folder.join(lock::NAME).exists()
}

/// Create or open `run` and lock it until what is returned is dropped.
///
/// # Errors
/// Another process has the lock, the folder holds what no run wrote, or the file system refuses.
pub fn acquire(run: &Path) -> Result<LockFile> {
    check(run)?;
    hidden::lock(run, MARK, Mode::Exclusive).map_err(|error| match error {
        setaccio_base::Error::Busy(_) => {
            Error::damaged(run, "another setaccio trains in it: wait for it to end, or give this run its own `--out`")
        }
        other => other.into(),
    })
}
