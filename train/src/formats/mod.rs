//! Files that other programs read and write, one format a module.

pub mod bitsandbytes;
pub mod config_json;
pub mod gguf;
pub mod model_files;
pub mod peft;
pub mod safetensors;
pub mod sharded;
pub mod tokenizer_json;
