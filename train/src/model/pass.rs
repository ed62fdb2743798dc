//! Which pass this is: what the random streams of a training step are derived from.

use crate::random;

/// A micro-batch of a step. The same pass gives the same masks and the same noise, forward, backward and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    /// The recipe's.
    pub seed: u64,
    /// 0-based step.
    pub step: u64,
    /// Number of the micro-batch in its step.
    pub micro: u64,
}

impl Pass {
    /// The key of the stream called `name` in this pass.
    pub fn key(self, name: &str) -> u64 {
        random::child(random::child(random::key(self.seed, name), self.step), self.micro)
    }
}
