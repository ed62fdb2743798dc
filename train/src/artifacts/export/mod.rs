//! Models for other programs: GGUF files, GGUF adapters, and folders in bitsandbytes' 4 bits.

mod bitsandbytes;
mod gguf;
mod gguf_lora;
mod quant;

use std::collections::BTreeMap;

pub use bitsandbytes::{four_bit, save_4bit};
pub use gguf::gguf;
pub use gguf_lora::gguf_lora;
pub use quant::Quant;

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportReport {
    /// Length of the file, or of the folder's weights.
    pub bytes: u64,
    /// How many tensors are in which type.
    pub kinds: BTreeMap<&'static str, usize>,
}

impl ExportReport {
    fn new(bytes: u64, entries: &[write::Entry]) -> Self {
        let mut kinds = BTreeMap::new();
        for entry in entries {
            *kinds.entry(write::kind(entry.kind).0).or_default() += 1;
        }
        Self { bytes, kinds }
    }
}

#[cfg(test)]
mod tests;
