//! What keeps, edits or drops a document: one file per rule, its serde struct is its TOML schema.

mod codes;
pub mod context;
mod error;
pub mod filter;
pub mod fold;
pub mod language;
mod lines;
pub mod lists;
pub mod personal;
pub mod pipeline;
pub mod quality;
pub mod registry;
pub mod rule;
pub mod rules;
pub mod segments;
pub mod sentences;
mod sieve;
pub mod spaceless;
pub mod units;
mod word_starts;
pub mod words;
