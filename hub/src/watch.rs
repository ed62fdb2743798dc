//! Who watches long work, and may stop it.

/// Told of bytes as they pass; asked whether to stop.
pub trait Watch: Sync {
    /// Whether to stop at the next safe point.
    fn cancelled(&self) -> bool;
    /// So many bytes have passed. What has to be done again is counted again.
    fn bytes(&self, bytes: u64);
    /// Something a person should know while it happens, one sentence.
    fn note(&self, sentence: &str);
}

/// Watches nothing.
pub struct Nobody;

impl Watch for Nobody {
    fn cancelled(&self) -> bool {
        false
    }

    fn bytes(&self, _: u64) {}

    fn note(&self, _: &str) {}
}
