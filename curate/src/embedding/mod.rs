//! What rows mean: the model of sentence embeddings that a recipe names.

// Compiled always, so that it is tested always.
#[cfg_attr(feature = "semantic", allow(dead_code, reason = "what a build without embeddings says"))]
mod absent;

#[cfg(not(feature = "semantic"))]
pub use absent::{Embedded, Embedder, Panels};
#[cfg(feature = "semantic")]
pub use setaccio_embed::{Embedded, Embedder, Panels};
