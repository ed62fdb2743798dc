//! Why there is no answer.

use polars::prelude::PolarsError;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The query is not one, or asks for what is not there.
    #[error("{0}")]
    Query(String),
    /// A file is missing, damaged or not to be written.
    #[error(transparent)]
    Base(#[from] setaccio_base::Error),
    /// There is no build, or it is not as it was written.
    #[error(transparent)]
    Build(#[from] setaccio_curate::Error),
    /// Rows cannot be written where they go.
    #[error("cannot write the rows")]
    Write(#[source] std::sync::Arc<std::io::Error>),
    /// Ctrl-C or SIGTERM.
    #[error("interrupted")]
    Interrupted,
}

impl From<PolarsError> for Error {
    fn from(error: PolarsError) -> Self {
        Self::Query(said(&error))
    }
}

/// What the engine says, without the expressions that it shows behind it.
pub fn said(error: &PolarsError) -> String {
    let said = error.to_string();
    let first = said.split("\n\n").next().unwrap_or_default();
    // What its parser made of the query is for its authors.
    let first = match ["Ident {", "(["].iter().filter_map(|of_parser| first.find(of_parser)).min() {
        Some(at) => first[..at].rsplit_once(": ").map_or(&first[..at], |(said, _)| said),
        None => first,
    };
    first.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}
