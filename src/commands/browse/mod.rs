//! `setaccio browse`, in a build with the feature `browse`; without it, how to get one.

// Compiled always, so that it is tested always.
#[cfg_attr(feature = "browse", allow(dead_code, reason = "what a build without the browser says"))]
mod absent;
#[cfg(feature = "browse")]
mod present;

#[cfg(not(feature = "browse"))]
pub use absent::{Args, run};
#[cfg(feature = "browse")]
pub use present::{Args, run};
