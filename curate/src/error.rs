//! Every way a build can fail, each with the place and what to do about it.

use std::{
    io,
    path::{Path, PathBuf},
};

use setaccio_base::{error::DISK_FULL, objects::StoreError};
use setaccio_dataset::{recipe::Source, shard::Position};
use setaccio_filters::rule::RuleError;

/// Why a source's file cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{file}{}: {message}", at.map(|a| format!(", {a}")).unwrap_or_default())]
pub struct SourceError {
    /// The file's name.
    pub file: String,
    /// How far reading came.
    pub at: Option<Position>,
    /// What is wrong and what to do.
    pub message: String,
}

impl SourceError {
    /// At no place of its own.
    pub fn new(file: &str, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), at: None, message: message.into() }
    }

    /// A file without rows. One's own cannot be fetched again.
    pub fn no_rows(file: &str, source: &Source) -> Self {
        let advice = if source.local() { "put some into it" } else { "fetch it again" };
        Self::new(file, format!("holds no rows: {advice}, or take it out of the recipe"))
    }

    /// At a row.
    pub fn at(file: &str, at: Position, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), at: Some(at), message: message.into() }
    }
}

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
    /// A rule of `[[filter]]` cannot be built.
    #[error("{file}: [[filter]] number {number} (`{rule}`): {error}")]
    Rule {
        /// The recipe's file name.
        file: String,
        /// 1-based number of the `[[filter]]` table.
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
    /// Rows that contradict each other, with `dedup.conflicts = "stop"`.
    #[error(
        "{first} and {second} are the same row, and differ in `{label}`: mend the files, or say what becomes of such rows with `dedup.conflicts`: \"drop\" or \"keep\""
    )]
    Conflict {
        /// Where the one is.
        first: String,
        /// Where the other is.
        second: String,
        /// The column.
        label: String,
    },
    /// A fault of files or threads.
    #[error(transparent)]
    Base(setaccio_base::Error),
    /// Ctrl-C.
    #[error("interrupted; finished tasks are kept, and the same command goes on from there")]
    Interrupted,
    /// Nothing to train on.
    #[error("no row is left to train on: {drops}; {advice}; nothing was written")]
    Empty {
        /// What dropped how many rows.
        drops: String,
        /// Where to look.
        advice: &'static str,
    },
    /// A `--finish` before every slice is there.
    #[error("{missing} of {total} tasks are not done yet; these commands do them:{}", list(commands))]
    Unfinished {
        /// Tasks without a manifest.
        missing: usize,
        /// All tasks of the plan.
        total: usize,
        /// What does them, a command each.
        commands: Vec<String>,
    },
    /// An input was not inspected, and is not to be read through now.
    #[error("the inputs were not inspected yet; the first slices to come do that")]
    Uninspected,
    /// Arrow or Parquet refused something of ours.
    #[error("{path}: {message}")]
    Encode {
        /// The file being written or read.
        path: PathBuf,
        /// Its message.
        message: String,
    },
    /// A template or tokenizer failed.
    #[error(transparent)]
    Render(#[from] setaccio_templates::Error),
}

impl Error {
    /// Wrap an I/O error: `.map_err(Error::io("write", path))`.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |error| setaccio_base::Error::io(action, path)(error).into()
    }

    /// A file that is not what it should be.
    pub fn damaged(path: impl AsRef<Path>, message: impl Into<String>) -> Self {
        setaccio_base::Error::damaged(path, message).into()
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

    /// Rows in a spill file that are not what a task writes.
    pub fn spoilt(message: String) -> Self {
        Self::Encode { path: "spill file".into(), message }
    }

    /// A mistake in the recipe called `file`.
    pub fn recipe(file: &str, message: impl Into<String>) -> Self {
        Self::Recipe { file: file.to_owned(), message: message.into() }
    }
}

impl From<setaccio_base::Error> for Error {
    fn from(error: setaccio_base::Error) -> Self {
        match error {
            setaccio_base::Error::Interrupted => Self::Interrupted,
            other => Self::Base(other),
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        setaccio_base::Error::from(error).into()
    }
}

/// Commands shown of a long list.
const SHOWN: usize = 20;

fn list(commands: &[String]) -> String {
    let shown: String = commands.iter().take(SHOWN).flat_map(|command| ["\n  ", command]).collect();
    let more = commands.len().saturating_sub(SHOWN);
    if more > 0 { format!("{shown}\n  and {more} more") } else { shown }
}
