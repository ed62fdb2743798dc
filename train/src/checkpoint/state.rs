//! What a checkpoint holds beside tensors: `state.toml`.

use serde::{Deserialize, Serialize};

use crate::trainer::objective::StepMetrics;

/// What a run needs beside its tensors to go on as if it had never stopped. The position in the data and the state
/// of every random stream are functions of the step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Steps done.
    pub step: u64,
    /// Tokens seen.
    pub tokens: u64,
    /// Length of `metrics.jsonl` then; see [`crate::report::metrics::Metrics::sync`].
    pub metrics_bytes: u64,
    /// Loss of the last step, in nats.
    pub loss: f64,
    /// What the next line of metrics is the mean of.
    pub window: Window,
    /// The last evaluation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval: Option<Evaluation>,
}

/// PreferenceSums over the steps since the last line of metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Steps.
    pub steps: u64,
    /// Sum of their losses.
    pub loss: f64,
    /// Over their rows.
    #[serde(rename = "told")]
    pub metrics: StepMetrics,
}

/// An evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// The step after which it was made.
    pub step: u64,
    /// Mean loss of a trained token, in nats.
    pub loss: f64,
}
