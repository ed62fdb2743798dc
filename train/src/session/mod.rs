//! A run from recipe to adapter: planned, trained step by step, checkpointed, reported.

mod finish;
mod plan;
mod reference;
mod run;
mod steps;

pub use plan::RunPlan;
pub use run::{RunOutcome, StartMode, run};
