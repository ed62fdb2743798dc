//! Evaluation: tasks are recipes, rows of data become questions, models answer, and answers are scored as lm-evaluation-harness
//! scores them.
//!
//! From the bottom up: [`recipe`] is a task as TOML, [`rows`] reads its data, [`questions`] makes prompts of them; [`scorer`] asks a
//! model, whatever is asked; [`metrics`] says what answers are worth and [`statistics`] how sure that is; [`run`] does it all, and
//! remembers what was answered in a [`journal`]; [`results`] is what is written of it, and [`compare`] pairs what was written of two models. [`audit`] asks other questions of the same scorer.

pub mod audit;
pub mod bertscore;
pub mod compare;
pub mod error;
pub mod journal;
pub mod metrics;
mod python_random;
pub mod questions;
pub mod recipe;
pub mod results;
pub mod rows;
pub mod run;
pub mod scorer;
pub mod shots;
pub mod statistics;
#[cfg(test)]
mod tests;
mod whitespace;

pub use error::{Error, Result};
