//! Chat templates and token counts: what a trainer would see of a row. And templates over columns, which make rows.

mod columns;
mod jinja;
mod renderer;
mod tokens;

pub use columns::ColumnTemplate;
pub use jinja::{Clock, Template};
pub use renderer::{End, Renderer, Rendering};
pub use tokens::tokenizer;

/// A template or a tokenizer that cannot be used, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
