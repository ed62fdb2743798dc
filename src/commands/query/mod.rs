//! `setaccio query`, in a build with the feature `query`; without it, how to get one.

// Compiled always, so that it is tested always.
#[cfg_attr(feature = "query", allow(dead_code, reason = "what a build without the engine says"))]
mod absent;
#[cfg(feature = "query")]
mod present;

#[cfg(not(feature = "query"))]
pub use absent::{Args, run};
#[cfg(feature = "query")]
pub use present::{Args, run};
