//! What is made of a finished run: merged models and exports, each put in place whole.

pub mod destination;
pub mod export;
pub mod finished_run;
pub mod merge;
pub mod model_folder;
mod side_by_side;
pub mod tiny;
