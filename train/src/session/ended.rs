//! How a run ended.

/// Where a run ended, and what of it is the result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Steps that were taken.
    pub steps: u64,
    /// Whether it stopped before its last one because its evaluation loss did not fall any more.
    pub early: bool,
    /// The step whose state is the result, if that is not the last one taken.
    pub best: Option<u64>,
}
