//! What is made of a finished run: merged models and exports, each put in place whole.

pub mod export;
pub mod finished_run;
pub mod merge;
pub mod place;
pub mod tiny;
