//! Models for other programs: GGUF files, GGUF adapters, and folders in bitsandbytes' 4 bits.

mod file;
mod four_bit;
mod lora;
mod model;
mod quant;
mod vocab;

use std::collections::BTreeMap;

pub use four_bit::four_bit;
pub use lora::gguf_lora;
pub use model::gguf;
pub use quant::Quant;

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Length of the file, or of the folder's weights.
    pub bytes: u64,
    /// How many tensors are in which type.
    pub kinds: BTreeMap<&'static str, usize>,
}

impl Exported {
    fn new(bytes: u64, entries: &[file::Entry]) -> Self {
        let mut kinds = BTreeMap::new();
        for entry in entries {
            *kinds.entry(file::kind(entry.kind).0).or_default() += 1;
        }
        Self { bytes, kinds }
    }
}

#[cfg(test)]
mod tests;
