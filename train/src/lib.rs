//! QLoRA on candle: curated shards in, a PEFT adapter out.
//!
//! Forward and backward are written by hand, layer by layer, over candle tensors: candle's own autograd
//! would compute and keep the gradients of frozen weights. It serves as the oracle in the tests instead.

#![allow(clippy::many_single_char_names, reason = "as in the formulas")]

pub mod artifacts;
pub mod askable;
pub mod chain;
pub mod checkpoint;
pub mod cost;
pub mod data;
pub mod device;
pub mod error;
pub mod formats;
pub mod generate;
#[cfg(feature = "cuda")]
pub mod gpu_cases;
pub mod gpus;
pub mod inference;
pub mod kernels;
pub mod loss;
pub mod memory;
pub mod model;
pub mod models;
pub mod nf4;
pub mod optim;
pub mod random;
pub mod recipe;
pub mod report;
pub mod session;
pub mod tokenizer;
pub mod trainer;

pub use error::{Error, Result};
