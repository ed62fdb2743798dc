//! The Llama family.

pub mod config;
pub mod head;
pub mod layer;
pub mod linear;
pub mod llama;
pub mod load;
pub mod pass;
mod rope_scaling;
pub mod rotary;
pub mod weight;
