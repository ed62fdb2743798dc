//! From rows to shards.
//!
//! ```text
//! source ──> filter ──> spill file: a block a bucket          one a task (slice of an input file), on any machine
//!               │                │
//!               └ rejects        ▼  bucket after bucket, in the output's order
//!                      partition (buckets next to each other, a row group's worth of text)
//!                                │  resolver: sort, dedup, sample, split
//!                                ├ rejects
//!                                ▼
//!                            row group ──> shard
//! ```

pub mod alone;
mod block_index;
mod extras;
pub mod filter;
mod find_components;
mod find_leaks;
mod find_near;
pub mod find_repeats;
mod find_semantic;
pub mod gather;
pub mod keep;
mod kept_rows;
mod leaks;
pub mod lengths;
pub mod near;
pub mod piece_file;
mod ranges;
pub mod rejects;
mod repeats;
pub mod resolver;
pub mod scratch;
pub mod semantic;
pub mod shards;
mod shuffle;
pub mod spans;
pub mod spill;
pub mod spill_file;
mod stage;
pub mod team;
pub mod write;
