//! The Llama family.

pub mod config;
pub mod files;
pub mod gguf;
pub mod rope_scaling;
pub mod safetensors;
pub mod tiny;
