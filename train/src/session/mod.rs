//! A run from recipe to adapter: planned, trained step by step, checkpointed, reported.

mod ended;
mod finish;
pub mod outlook;
mod plan;
mod reference;
mod run;
mod samples;
pub mod sketch;
mod steps;

pub use ended::Ended;
pub use plan::RunPlan;
pub use run::{RunOutcome, StartMode, run};
