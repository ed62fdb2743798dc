//! Which pass this is: what the random streams of a training step are derived from.

use crate::random;

/// With which adapter the model is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// As it was before training: without the adapter, or with the one that training began with.
    Reference,
    /// With the adapter as it is.
    Trained,
    /// With the adapter, its dropout and its gradients.
    Training(Pass),
}

impl View {
    /// The training pass, if it is one.
    pub fn pass(self) -> Option<Pass> {
        match self {
            Self::Training(pass) => Some(pass),
            _ => None,
        }
    }
}

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
