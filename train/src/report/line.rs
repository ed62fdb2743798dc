//! A line of `metrics.jsonl` as it is read back.

use std::collections::BTreeMap;

/// The metrics of a step, or of the evaluation after it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// Its step.
    pub step: u64,
    /// Everything else that is a finite number.
    pub values: BTreeMap<String, f64>,
}

impl Line {
    /// The value called `name`.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.get(name).copied()
    }
}
