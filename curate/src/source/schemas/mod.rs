//! One file per schema. CONTRIBUTING.md says how to add one.

pub mod alpaca;
pub mod baize;
pub mod dolly;
pub mod kto;
pub mod messages;
pub mod orca;
pub mod preference;
pub mod sharegpt;
pub mod text;

#[cfg(test)]
mod tests;
