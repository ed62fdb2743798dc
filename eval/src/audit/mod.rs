//! The audit of a model for bias and safety: what it finds likely of whom, and what it refuses.
//!
//! A [`suite`] is sentences and lists in TOML. Three measures are of likelihoods: [`association`], [`pairs`] with the masculine
//! default beside them, and [`parity`] of forms of address and varieties; one is of what a model writes: [`writing`]. [`run`] asks a
//! model all of it, [`report`] says what came of it, base beside what was made of it.
//!
//! It measures, and makes no model safe: a small number says that these words showed nothing, and of other words it says nothing.

pub mod association;
pub mod pairs;
pub mod parity;
pub mod report;
pub mod run;
pub mod suite;
pub mod sureness;
pub mod writing;

#[cfg(test)]
mod tests;
