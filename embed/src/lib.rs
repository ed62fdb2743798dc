//! Sentence embeddings: a vector of length 1 for a text, so that texts which say nearly the same have nearly the same vector.
//!
//! The arithmetic is this crate's own, in 32 bits and in a stated order: a sum of products goes by ascending index, each
//! product is rounded before it is added, and no vector instruction joins the two. So a text has the same bytes whatever
//! the processor, the number of threads and the texts beside it.

mod bert;
mod folder;
mod math;
mod model;
mod modules;
#[cfg(feature = "onnx")]
mod onnx;
mod product;
mod sentence_encoder;
mod static_table;
mod tensors;
mod words;

pub use model::{Embedded, Embedder, States};
pub use product::Panels;
