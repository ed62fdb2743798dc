//! The routes, one file each, and what they share.

pub mod asked;
pub mod chat;
pub mod choice;
pub mod completions;
pub mod embeddings;
pub mod error;
pub mod logprobs;
pub mod models;
pub mod state;
pub mod stream;
pub mod tokens;
