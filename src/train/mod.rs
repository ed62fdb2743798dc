//! The commands of the trainer, in a build with the feature `train`; without it, how to get one.

// Compiled always, so that it is tested always.
#[cfg_attr(feature = "train", allow(dead_code, reason = "what a build without the trainer says"))]
mod absent;
#[cfg(feature = "train")]
mod export;
#[cfg(feature = "train")]
mod generate;
#[cfg(feature = "train")]
mod merge;
#[cfg(feature = "train")]
mod plan;
#[cfg(feature = "train")]
mod run;
#[cfg(feature = "train")]
mod watch;

#[cfg(not(feature = "train"))]
pub use absent::{Args, ExportArgs, GenerateArgs, MergeArgs, export, generate, interrupted, merge, run};
#[cfg(feature = "train")]
pub use {
    export::{Args as ExportArgs, run as export},
    generate::{Args as GenerateArgs, run as generate},
    merge::{Args as MergeArgs, run as merge},
    run::{Args, run},
    watch::interrupted,
};
