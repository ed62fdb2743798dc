//! The Llama family.

pub mod config;
pub mod head;
pub mod layer;
pub mod linear;
pub mod llama;
pub mod load;
pub mod lora;
pub mod maybe_trained;
pub mod mode;
pub mod rope;
pub mod rope_scaling;
pub mod weight;
