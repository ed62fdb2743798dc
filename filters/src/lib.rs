//! What keeps, edits or drops a document: one file per rule, its serde struct is its TOML schema.

mod codes;
pub mod context;
pub mod filter;
pub mod lists;
pub mod pipeline;
pub mod registry;
pub mod rule;
pub mod rules;
pub mod words;

// Until every crate takes them from where they are.
pub use setaccio_base::{row, suggest};
#[doc(hidden)]
pub mod hash {
    pub use setaccio_base::sha256::{hex, hex_digest as sha256};
}
