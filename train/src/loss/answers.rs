//! What a preference loss is given, and what it gives back.

use super::scalar::float;

/// An answer as the model sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Answer {
    /// Log-probability, summed over its tokens, in nats.
    pub logp: f64,
    /// How many tokens.
    pub tokens: u64,
}

impl Answer {
    /// Tokens as a divisor; 1 for none, as TRL has it.
    pub(super) fn length(self) -> f64 {
        float(self.tokens.max(1))
    }

    /// Mean log-probability of a token, in nats.
    pub(super) fn mean(self) -> f64 {
        self.logp / self.length()
    }
}

/// Two answers to one prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pair {
    /// The better one.
    pub chosen: Answer,
    /// The other.
    pub rejected: Answer,
    /// Log-probability of chosen and rejected under the reference, in nats; zeros where the loss needs none.
    pub reference: [f64; 2],
    /// The prompt followed by the chosen answer: every token but the first, which nothing precedes. Only ORPO reads it,
    /// whose NLL is over both.
    pub text: Answer,
}

/// Denominators of a step's means: what they are taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Denominators {
    /// Pairs, or judged answers, of all its micro-batches.
    pub rows: u64,
    /// Tokens that the NLL is over, of all its micro-batches: those of `text` for ORPO, of `chosen` for the others.
    pub tokens: u64,
}

/// Gradients of the step's loss with respect to each summed log-probability, per nat. `text` holds the chosen answer's
/// tokens too: both gradients apply to them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Grads {
    /// With that of the chosen answer.
    pub chosen: f64,
    /// With that of the rejected answer.
    pub rejected: f64,
    /// With that of the prompt and chosen answer.
    pub text: f64,
}

/// What one pair adds to the loss, before means are taken: a part per row and a part per token.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PairLoss {
    /// Averaged over rows.
    pub row: f64,
    /// Gradients of `row`; `text` is not used.
    pub grads: Grads,
    /// What the NLL is over.
    pub nll: Answer,
    /// What the mean of the NLL over tokens is multiplied by.
    pub nll_weight: f64,
}

/// A single answer and what somebody thought of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct UnpairedAnswer {
    /// The answer.
    pub answer: Answer,
    /// Its log-probability under the reference, in nats.
    pub reference: f64,
    /// Whether it was wanted.
    pub desirable: bool,
}
