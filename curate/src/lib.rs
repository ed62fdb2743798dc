//! The streaming engine: recipe, source, merge, screen, dedup, sample, shard, ledger, card.

pub mod blocks;
pub mod build;
pub mod card;
pub mod carried;
pub mod columns;
mod counts;
pub mod error;
pub mod finish;
pub mod folder;
pub mod hash;
pub mod init;
pub mod keys;
pub mod lock;
pub mod merge;
pub mod origin;
pub mod overrides;
pub mod pins;
pub mod plan;
pub mod recipe;
pub mod rejects;
pub mod shards;
pub mod source;
pub mod stats;
pub mod subset;
pub mod task;
pub mod verify;

pub use error::{Error, Result};
pub use setaccio_dataset::ledger;
pub use setaccio_templates as render;
