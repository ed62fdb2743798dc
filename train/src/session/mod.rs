//! A run from recipe to adapter: prepared, trained step by step, checkpointed, told about.

mod finish;
mod prepare;
mod reference;
mod run;
mod steps;

pub use prepare::{BASE, RunPlan, TINY};
pub use run::{RunOutcome, StartMode, run};

/// Follows a run, and can stop it.
pub trait Watch: Sync {
    /// Whether to stop.
    fn cancelled(&self) -> bool {
        false
    }
    /// A stage of so many things begins.
    fn stage(&self, _name: &'static str, _of: u64) {}
    /// So many more of them are done; `note` is what to say beside them.
    fn done(&self, _more: u64, _note: &str) {}
    /// Something a person should know although the run goes on.
    fn warn(&self, _message: &str) {}
}

/// Nobody watches.
impl Watch for () {}
