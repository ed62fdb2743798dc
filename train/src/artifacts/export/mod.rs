//! Models for other programs: GGUF files, GGUF adapters, and folders in bitsandbytes' 4 bits.

mod bitsandbytes;
mod check;
mod gguf;
mod gguf_lora;
mod quant;
mod report;

pub use bitsandbytes::{four_bit, save_4bit};
pub use check::ExportCheck;
pub use gguf::{GgufOptions, can_be_gguf, gguf};
pub use gguf_lora::{LoraOptions, gguf_lora};
pub use quant::Quant;
pub use report::ExportReport;

#[cfg(test)]
mod tests;
