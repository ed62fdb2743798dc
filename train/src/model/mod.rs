//! The Llama family.

pub mod config;
pub mod files;
pub mod gguf;
pub mod head;
pub mod layer;
pub mod linear;
pub mod llama;
pub mod load;
pub mod pass;
pub mod rope_scaling;
pub mod rotary;
pub mod safetensors;
pub mod save;
pub mod sharded;
pub mod tiny;
pub mod values;
pub mod weight;
