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
    /// The evaluation with the least loss, the first of equals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<Evaluation>,
    /// Evaluations since the last one that was better by more than `eval.min_delta`.
    #[serde(default)]
    pub stale: u64,
    /// The step after which the model was asked last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<u64>,
}

impl State {
    /// Take note of an evaluation; `min_delta` is how much less a loss has to be to count as better. As transformers'
    /// `EarlyStoppingCallback` counts: held against the least loss so far, whether or not that one counted.
    pub fn evaluated(&mut self, eval: Evaluation, min_delta: f64) {
        self.eval = Some(eval);
        // What was evaluated before the first step was not trained.
        if eval.step == 0 {
            return;
        }
        let better = self.best.is_none_or(|best| eval.loss < best.loss && best.loss - eval.loss > min_delta);
        self.stale = if better { 0 } else { self.stale + 1 };
        if self.best.is_none_or(|best| eval.loss < best.loss) {
            self.best = Some(eval);
        }
    }

    /// Whether the last evaluation is the best.
    pub fn is_best(&self) -> bool {
        self.best.is_some_and(|best| Some(best) == self.eval)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evaluations_are_counted_as_transformers_counts_them() {
        #[derive(Deserialize)]
        struct Case {
            patience: u64,
            min_delta: f64,
            losses: Vec<f64>,
            stops: Option<u64>,
            best: u64,
        }
        let cases = include_str!("../../../tests/oracles/train/early_stopping.json");
        let cases: Vec<Case> = serde_json::from_str(cases).unwrap();
        assert!(cases.len() > 5);
        for Case { patience, min_delta, losses, stops, best } in cases {
            let mut state = State::default();
            // What was evaluated before the first step is neither.
            state.evaluated(Evaluation { step: 0, loss: 0.0 }, min_delta);
            let stopped = (1..).zip(&losses).find(|(step, loss)| {
                state.evaluated(Evaluation { step: *step, loss: **loss }, min_delta);
                state.stale >= patience
            });
            assert_eq!(stopped.map(|(step, _)| step), stops, "{losses:?}");
            assert_eq!(state.best.map(|e| e.step), Some(best), "{losses:?}");
        }
    }
}
