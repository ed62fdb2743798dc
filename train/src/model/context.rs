//! What a forward pass reads besides its input.

use candle_core::Tensor;

use crate::{
    kernels::{RowIndex, Span},
    random,
};

/// What every layer of a pass reads besides its input: T tokens.
pub struct Context<'a> {
    /// Cosines and sines of the positions, [T, R / 2] each of the R elements of a head that turn; one pair for each rotary
    /// embedding of the model.
    pub angles: Vec<(Tensor, Tensor)>,
    /// The documents.
    pub spans: &'a [Span],
    /// Which token's key and value each key of the spans is; every token's own, in order, without it.
    pub keys: Option<RowIndex>,
    /// Which row of the cache each token's key and value are put into, if there is one.
    pub cached: Option<RowIndex>,
    /// Whether there is a backward pass.
    pub mode: Mode,
}

/// Whether there is a backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// No, and no dropout.
    Eval,
    /// The same for tokens of different texts, each row of T by itself: what becomes of one does not depend on how many there are.
    Tokens,
    /// Yes, with dropout.
    Train(Pass),
}

impl Mode {
    /// The training pass, if it is one.
    pub fn pass(self) -> Option<Pass> {
        match self {
            Self::Train(pass) => Some(pass),
            Self::Eval | Self::Tokens => None,
        }
    }
}

/// A micro-batch of a step: what the random streams of its pass are derived from. The same pass gives the same dropout
/// masks and the same noise in forward, backward and recomputation.
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

/// Whether somebody needs a gradient. That of a layer's input is needed if anything below the layer is trained; that of
/// the head's input, unless the model is only evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grad {
    /// It is computed.
    Needed,
    /// It is left out.
    NotNeeded,
}
