//! Every way a training run can fail, each with the place and what to do about it.

use std::{
    io,
    path::{Path, PathBuf},
};

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a command stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The recipe says something unknown or contradicts itself.
    #[error("{file}: {message}")]
    Recipe {
        /// The recipe's file name.
        file: String,
        /// What is wrong and what to write instead.
        message: String,
    },
    /// A model file is missing, torn or not of this family.
    #[error("{file}: {message}")]
    Model {
        /// The file.
        file: PathBuf,
        /// What is wrong and what to do.
        message: String,
    },
    /// A tensor is missing or not what the configuration says.
    #[error("{file}: tensor `{tensor}`: {message}")]
    Tensor {
        /// The file it is in, or should be.
        file: PathBuf,
        /// Its name.
        tensor: String,
        /// Expected and found.
        message: String,
    },
    /// A row cannot be trained on.
    #[error("{at}: {message}")]
    Row {
        /// File, row group and row.
        at: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// Loss or gradient is not a number any more.
    #[error("step {step}: {what} is not finite; rows of the step: {rows}; {kept}")]
    Diverged {
        /// 1-based step.
        step: u64,
        /// `loss` or `gradient of NAME`.
        what: String,
        /// Where the step's rows came from.
        rows: String,
        /// Which checkpoint is the last good one, and what to try.
        kept: String,
    },
    /// A fault of files or threads.
    #[error(transparent)]
    Base(setaccio_base::Error),
    /// A template that cannot be used.
    #[error(transparent)]
    Template(#[from] setaccio_templates::Error),
    /// candle refused an operation: a fault of ours or of the device.
    #[error("{0}")]
    Candle(candle_core::Error),
    /// Ctrl-C.
    #[error("interrupted; the last checkpoint is kept, and `--resume` goes on from there")]
    Interrupted,
    /// Ctrl-C in work that is whole or not at all.
    #[error("interrupted; nothing was put in place")]
    Stopped,
    /// Anything else a person must be told.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// Wrap an I/O error: `.map_err(Error::io("write", path))`.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Base(setaccio_base::Error::io(action, path)(error))
    }

    /// A file that is not what was written.
    pub fn damaged(path: impl AsRef<Path>, message: impl Into<String>) -> Self {
        Self::Base(setaccio_base::Error::damaged(path, message))
    }

    /// A mistake in a model's file.
    pub fn model(file: impl AsRef<Path>, message: impl Into<String>) -> Self {
        Self::Model { file: file.as_ref().to_owned(), message: message.into() }
    }

    /// A tensor that is missing or wrong.
    pub fn tensor(file: impl AsRef<Path>, tensor: &str, message: impl Into<String>) -> Self {
        Self::Tensor { file: file.as_ref().to_owned(), tensor: tensor.to_owned(), message: message.into() }
    }

    /// The same of what is written under the name `from` and is to lie at `to`, which is the name that people know.
    #[must_use]
    pub fn in_place(self, from: &Path, to: &Path) -> Self {
        let moved = |path: PathBuf| match path.strip_prefix(from) {
            Ok(below) if below.as_os_str().is_empty() => to.to_owned(),
            Ok(below) => to.join(below),
            Err(_) => path,
        };
        match self {
            Self::Model { file, message } => Self::Model { file: moved(file), message },
            Self::Tensor { file, tensor, message } => Self::Tensor { file: moved(file), tensor, message },
            Self::Base(setaccio_base::Error::Io { action, path, error }) => {
                Self::Base(setaccio_base::Error::Io { action, path: moved(path), error })
            }
            Self::Base(setaccio_base::Error::Damaged { path, message }) => {
                Self::Base(setaccio_base::Error::Damaged { path: moved(path), message })
            }
            other => other,
        }
    }

    /// A mistake in the recipe called `file`.
    pub fn recipe(file: &str, message: impl Into<String>) -> Self {
        Self::Recipe { file: file.to_owned(), message: message.into() }
    }
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Candle(without_backtrace(error))
    }
}

/// With RUST_BACKTRACE set, candle writes its backtrace into what it says.
fn without_backtrace(error: candle_core::Error) -> candle_core::Error {
    use candle_core::Error::{Context, WithBacktrace, WithPath};
    let inside = |inner: Box<candle_core::Error>| Box::new(without_backtrace(*inner));
    match error {
        WithBacktrace { inner, .. } => without_backtrace(*inner),
        Context { inner, context } => Context { inner: inside(inner), context },
        WithPath { inner, path } => WithPath { inner: inside(inner), path },
        error => error,
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

#[cfg(test)]
mod tests {
    use std::backtrace::Backtrace;

    use super::*;

    #[test]
    fn what_is_written_aside_is_called_as_it_is_going_to_be() {
        let (aside, place) = (Path::new("/a/.writing-x"), Path::new("/a/merged"));
        for error in [
            Error::model("/a/.writing-x/config.json", "is torn"),
            Error::tensor("/a/.writing-x/model.safetensors", "w", "is NaN"),
            Error::damaged("/a/.writing-x", "is torn"),
            Error::io("write", "/a/.writing-x/b/c")(io::Error::other("full")),
            Error::model("/b/base", "is torn"),
        ] {
            let said = error.in_place(aside, place).to_string();
            assert!(!said.contains(".writing-") && (said.contains("/a/merged") || said.contains("/b/base")), "{said}");
        }
    }

    #[test]
    fn a_backtrace_of_a_library_is_no_part_of_an_error() {
        let traced = |inner: candle_core::Error| candle_core::Error::WithBacktrace {
            inner: Box::new(inner),
            backtrace: Box::new(Backtrace::force_capture()),
        };
        let error =
            traced(traced(candle_core::Error::Msg("shapes differ".into())).context("in a layer").with_path("a.bin"));
        assert!(error.to_string().lines().count() > 4, "{error}");
        assert_eq!(Error::from(error).to_string(), "path: \"a.bin\" in a layer\nshapes differ");
    }
}
