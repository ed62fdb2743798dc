//! From curated shards to batches of tokens: shards -> rows -> tokens with a loss mask -> token cache -> order of the
//! steps -> packed micro-batches.

mod batch;
pub mod cache;
pub mod dataset;
mod keep;
pub mod mask;
pub mod micro;
pub mod order;
pub mod outcome;
pub mod pack;
pub mod pair;
mod rendered;
mod said;
pub mod shards;
pub mod show;
pub mod spans;
pub mod told;

pub use batch::{Batch, Example, IGNORE};
pub use dataset::{Counts, Dataset};
pub use micro::MicroBatch;
pub use order::{Order, Shape, in_order};
pub use shards::Split;
