//! The commands of the trainer, in a build with the feature `train`; without it, how to get one.

// Compiled always, so that it is tested always.
#[cfg_attr(feature = "train", allow(dead_code, reason = "what a build without the trainer says"))]
mod absent;
#[cfg(feature = "train")]
mod all;
#[cfg(feature = "train")]
mod asking;
#[cfg(feature = "train")]
mod audit;
#[cfg(feature = "train")]
mod compare;
#[cfg(feature = "train")]
mod data;
#[cfg(feature = "train")]
mod eval;
#[cfg(feature = "train")]
mod export;
#[cfg(feature = "train")]
mod generate;
#[cfg(feature = "train")]
mod interrupted;
#[cfg(feature = "train")]
mod merge;
#[cfg(feature = "train")]
mod noted;
#[cfg(feature = "train")]
mod own_rows;
#[cfg(feature = "train")]
mod pages;
#[cfg(feature = "train")]
mod plan;
#[cfg(feature = "train")]
mod run;

#[cfg(not(feature = "train"))]
pub use absent::{
    Args, Args as AllArgs, Args as AuditArgs, Args as EvalArgs, Args as ExportArgs, Args as GenerateArgs,
    Args as MergeArgs, all, audit, chain_page, compare_chains, compare_runs, eval, export, generate, interrupted,
    merge, run, run_page, task,
};
#[cfg(feature = "train")]
pub use {
    all::{Args as AllArgs, run as all},
    audit::{Args as AuditArgs, run as audit},
    compare::{chains as compare_chains, runs as compare_runs},
    eval::{Args as EvalArgs, run as eval, task},
    export::{Args as ExportArgs, run as export},
    generate::{Args as GenerateArgs, device, run as generate},
    interrupted::interrupted,
    merge::{Args as MergeArgs, run as merge},
    pages::{chain_page, run_page},
    run::{Args, run},
};
