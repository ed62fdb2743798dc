//! The trainer's numbers beside those of other programs. Expected values were made by the scripts in
//! `tests/oracles/train/`; models and inputs are formulas, the same here and there.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, clippy::many_single_char_names, reason = "tests")]

mod adamw;
mod autograd;
mod bf16_products;
mod dora;
mod families;
mod families_files;
mod folders;
mod formula;
mod four_bit;
mod gradients;
mod kept;
mod llama_cpp;
mod logits;
mod merge;
mod model_files;
mod nf4;
mod peft;
mod preference;
mod quantized;
mod sft;
mod smollm2;
mod tables;
mod tokens;
mod trl_preference;
