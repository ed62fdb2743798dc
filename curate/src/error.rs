//! Every way a build can fail, each with the place and what to do about it.

use std::{
    io,
    path::{Path, PathBuf},
};

use setaccio_filters::rule::RuleError;

use crate::source::SourceError;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a command stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The recipe cannot be read, says something unknown, or contradicts itself.
    #[error("{file}: {message}")]
    Recipe {
        /// The recipe's file name.
        file: String,
        /// What is wrong and what to write instead.
        message: String,
    },
    /// What was asked for is not there, or cannot be.
    #[error("{0}")]
    Argument(String),
    /// A rule of `[[screen]]` cannot be built.
    #[error("{file}: [[screen]] number {number} (`{rule}`): {error}")]
    Rule {
        /// The recipe's file name.
        file: String,
        /// 1-based number of the `[[screen]]` table.
        number: usize,
        /// Its `rule` key.
        rule: String,
        /// What the rule says.
        error: RuleError,
    },
    /// An input file is missing, torn or not what it should be.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A row that cannot be read, with `on_bad_row = "stop"`.
    #[error(
        "{file}, {at}, rule `{rule}`: {reason}\n  mend or remove the row, or run again with `--on-bad-row skip` to put such rows among the rejects"
    )]
    BadRow {
        /// The input file.
        file: String,
        /// Row group and row.
        at: String,
        /// What refuses it: reading, or the output.
        rule: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The operating system refused a file operation.
    #[error("cannot {action} {path}: {error}{}", hint(error))]
    Io {
        /// What was being done, as a verb.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// Another build holds the output folder.
    #[error("{0} is in use by another setaccio: wait for it to end, or give this build its own --out")]
    Busy(PathBuf),
    /// Ctrl-C.
    #[error("interrupted; finished tasks are kept, and the same command goes on from there")]
    Interrupted,
    /// Nothing to train on.
    #[error("no row is left to train on: {0}; `setaccio preview` shows why; nothing was written")]
    Empty(String),
    /// A `--finish` before every slice is there.
    #[error("{missing} of {total} tasks are not done yet: {tasks}; task T is in slice (T - 1) mod N + 1 of N")]
    Unfinished {
        /// Tasks without a manifest.
        missing: usize,
        /// All tasks of the plan.
        total: usize,
        /// Their numbers, for a person.
        tasks: String,
    },
    /// A file of the work folder or of a finished build is not what its manifest says.
    #[error("{path}: {message}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        message: String,
    },
    /// Arrow or Parquet refused something of ours.
    #[error("{path}: {message}")]
    Encode {
        /// The file being written or read.
        path: PathBuf,
        /// Its message.
        message: String,
    },
    /// A fault of files or threads.
    #[error(transparent)]
    Base(setaccio_base::Error),
    /// A template or tokenizer failed.
    #[error(transparent)]
    Render(#[from] setaccio_templates::Error),
}

impl Error {
    /// Wrap an I/O error: `.map_err(Error::io("write", path))`.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io { action, path: path.as_ref().to_owned(), error }
    }

    /// Wrap an Arrow or Parquet error met while writing or reading `path`.
    pub fn encode<E: std::error::Error>(path: impl AsRef<Path>) -> impl FnOnce(E) -> Self {
        move |error| {
            let mut message = error.to_string();
            if message.contains("No space left") {
                message.push_str(DISK_FULL);
            }
            Self::Encode { path: path.as_ref().to_owned(), message }
        }
    }

    /// A mistake in the recipe called `file`.
    pub fn recipe(file: &str, message: impl Into<String>) -> Self {
        Self::Recipe { file: file.to_owned(), message: message.into() }
    }
}

impl From<setaccio_base::Error> for Error {
    fn from(error: setaccio_base::Error) -> Self {
        use setaccio_base::Error as Base;
        match error {
            Base::Io { action, path, error } => Self::Io { action, path, error },
            Base::Busy(path) => Self::Busy(path),
            Base::Damaged { path, message } => Self::Damaged { path, message },
            Base::Interrupted => Self::Interrupted,
            other => Self::Base(other),
        }
    }
}

const DISK_FULL: &str = "; free some space or choose another disk with --out, then run the same command again: \
                         finished tasks and earlier output are kept";

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DISK_FULL,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; choose a folder that you may write to with --out"
        }
        _ => "",
    }
}
