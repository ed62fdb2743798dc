//! What a run reports of the tokens that it is trained on: sums that add up over micro-batches.

use serde::{Deserialize, Serialize};

use super::scalar::mean;
use crate::kernels::RowLoss;

/// Sums over the tokens that count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenSums {
    /// Sum of -log p(label), in nats.
    pub nll: f64,
    /// Sum of entropies, in nats.
    pub entropy: f64,
    /// How often the label was the most probable token.
    pub correct: u64,
    /// Of how many.
    pub guessed: u64,
    /// Tokens that count.
    pub targets: u64,
}

impl TokenSums {
    /// Of these tokens.
    pub fn of(rows: &[RowLoss]) -> Self {
        let mut sums = Self::default();
        for row in rows {
            sums.nll += row.nll;
            sums.entropy += row.entropy;
            sums.correct += u64::from(row.correct);
            sums.guessed += 1;
            sums.targets += 1;
        }
        sums
    }

    /// Mean -log p of a token that counts, in nats; 0 of none.
    pub fn mean(&self) -> f64 {
        mean(self.nll, self.targets)
    }

    /// Add another micro-batch's.
    pub fn add(&mut self, other: Self) {
        self.nll += other.nll;
        self.entropy += other.entropy;
        self.correct += other.correct;
        self.guessed += other.guessed;
        self.targets += other.targets;
    }
}
