//! `setaccio serve`, in a build with the feature `serve`; without it, how to get one.

// Compiled always, so that it is tested always.
#[cfg_attr(feature = "serve", allow(dead_code, reason = "what a build without the server says"))]
mod absent;
#[cfg(feature = "serve")]
mod present;

#[cfg(not(feature = "serve"))]
pub use absent::{Args, run};
#[cfg(feature = "serve")]
pub use present::{Args, run};
