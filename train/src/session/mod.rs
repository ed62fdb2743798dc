//! A run from recipe to adapter: planned, trained step by step, checkpointed, reported.

mod finish;
pub mod outlook;
mod plan;
mod reference;
mod run;
mod samples;
pub mod sketch;
mod steps;

pub use plan::RunPlan;
pub use run::{Ended, RunOutcome, StartMode, run};
