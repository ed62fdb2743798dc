//! What can go wrong.

use std::path::PathBuf;

/// An error, in a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A task says something that cannot be.
    #[error("{file}: {message}")]
    Task {
        /// The task's file.
        file: String,
        /// What.
        message: String,
    },
    /// A row of a task's data.
    #[error("{file}, row {row}: {message}")]
    Row {
        /// The data's file.
        file: String,
        /// Number of the row in it, from 0.
        row: u64,
        /// What is wrong with it.
        message: String,
    },
    /// A group of questions that a model cannot answer.
    #[error("question {number}: {message}")]
    Group {
        /// Its number, from 0.
        number: usize,
        /// Why.
        message: String,
    },
    /// A file of a folder of results.
    #[error("{path}: {message}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// Somebody asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// Of the data side.
    #[error(transparent)]
    Curate(#[from] setaccio_curate::Error),
    /// Of the model.
    #[error(transparent)]
    Train(#[from] setaccio_train::Error),
    /// Of files.
    #[error(transparent)]
    Base(#[from] setaccio_base::Error),
    /// Something else.
    #[error("{0}")]
    Other(String),
}

/// Of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Of a task.
    pub fn task(file: &str, message: impl Into<String>) -> Self {
        Self::Task { file: file.to_owned(), message: message.into() }
    }

    /// Of a file of results.
    pub fn damaged(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self::Damaged { path: path.into(), message: message.into() }
    }

    /// Whether somebody asked to stop.
    pub fn interrupted(&self) -> bool {
        matches!(
            self,
            Self::Interrupted
                | Self::Curate(setaccio_curate::Error::Interrupted)
                | Self::Train(setaccio_train::Error::Interrupted | setaccio_train::Error::Stopped)
        )
    }
}
