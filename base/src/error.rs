//! Faults of files and threads, each with the place and what to do about it.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::objects::{StoreError, Why};

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something of this crate stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused a file operation.
    #[error("cannot {action} {path}: {error}{}", hint(action, error))]
    Io {
        /// What was being done, as a verb.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// Another process has the lock of this folder or file.
    #[error("{0} is in use by another setaccio: wait for it to end, or name another place with --out")]
    Busy(PathBuf),
    /// A file is not what was written, or not what was asked for.
    #[error("{path}: {message}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        message: String,
    },
    /// The system gives no threads.
    #[error("cannot start {jobs} threads: {reason}; give a smaller --jobs")]
    Threads {
        /// So many were asked for.
        jobs: usize,
        /// The system's words.
        reason: String,
    },
    /// A worker panicked: a fault of the program, not of its input.
    #[error("a fault of setaccio itself: {0}; please report it with the command that you ran")]
    Panic(String),
    /// A store does not do what it is asked for.
    #[error(transparent)]
    Store(StoreError),
    /// Ctrl-C or SIGTERM.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// Wrap an I/O error: `.map_err(Error::io("write", path))`.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io { action, path: path.as_ref().to_owned(), error }
    }

    /// A file that is not what it should be.
    pub fn damaged(path: impl AsRef<Path>, message: impl Into<String>) -> Self {
        Self::Damaged { path: path.as_ref().to_owned(), message: message.into() }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error.why {
            Why::Interrupted => Self::Interrupted,
            Why::Changed | Why::Refused => Self::Store(error),
        }
    }
}

/// What to do about a full disk.
pub const DISK_FULL: &str = "; free some space or choose another disk, then run the same command again: \
                             finished work and earlier output are kept";

/// Whether what reading came upon is a word of the system or of a store, and none on what the file holds.
pub fn is_of_the_way(error: &io::Error) -> bool {
    error.raw_os_error().is_some() || StoreError::of(error).is_some()
}

/// What to do about a file operation that was refused, to be said behind the error. 5, 12, 23 and 24 are `EIO`,
/// `ENOMEM`, `ENFILE` and `EMFILE`, for which Rust has no names.
pub fn hint(action: &str, error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DISK_FULL,
        io::ErrorKind::PermissionDenied if action.starts_with("read") || action.starts_with("open") => "",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; choose a folder that you may write to"
        }
        _ => match error.raw_os_error() {
            Some(5) => "; the disk or the way to it fails: try again, and look at what the system says of it",
            Some(12) => "; the system gives no more memory: give a smaller --jobs",
            Some(23 | 24) => "; the system opens no more files at a time: raise `ulimit -n`, or give a smaller --jobs",
            _ => "",
        },
    }
}
