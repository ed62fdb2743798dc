//! What becomes of the values that are where a result goes.

/// What becomes of the values that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// They do not count.
    Overwrite,
    /// The result is added to them.
    Accumulate,
}

impl Output {
    /// What they are multiplied by before a product is added.
    pub fn beta(self) -> f64 {
        match self {
            Self::Overwrite => 0.0,
            Self::Accumulate => 1.0,
        }
    }
}
