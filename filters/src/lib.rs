//! What keeps, edits or drops a document: one file per rule, its serde struct is its TOML schema.

mod codes;
pub mod context;
pub mod hash;
pub mod lists;
pub mod registry;
pub mod rule;
pub mod rules;
pub mod screen;
pub mod words;

pub use setaccio_base::{row, suggest};
