//! The streaming engine, in layers: recipe, source, plan, pipeline, report. Each looks down only; `build` sees all.

pub mod build;
pub mod contamination;
pub mod embedding;
pub mod error;
pub mod folder;
pub mod init;
pub mod key;
pub mod parts;
pub mod pipeline;
pub mod plan;
pub mod recipe;
pub mod report;
pub mod shared_finish;
pub mod shared_work;
pub mod source;
pub mod stored;
mod words;

pub use error::{Error, Result};
