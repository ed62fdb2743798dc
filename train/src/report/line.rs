//! A line of `metrics.jsonl` as it is read back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The metrics of a step, or of the evaluation after it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// Its step.
    pub step: u64,
    /// Everything else that is a finite number.
    pub values: BTreeMap<String, f64>,
    /// What the model wrote then.
    pub samples: Vec<Sample>,
}

/// What a model wrote when it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// The question, or the beginning of a document.
    pub prompt: String,
    /// How it went on.
    pub text: String,
}

impl Line {
    /// The value called `name`.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.get(name).copied()
    }
}
