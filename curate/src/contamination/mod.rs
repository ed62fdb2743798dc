//! Contamination: which rows hold what evaluations are made of.
//!
//! An item of an evaluation set is one or several texts. Its words, in the normal form, are cut into runs of n; a text of fewer words
//! is one run. A row holds an item if enough of the words of one of its texts lie in runs that are in the row, anywhere.
//!
//! What is in memory is the [`Index`] of the items, whatever the number of rows, and nothing depends on what other rows say.

mod finder;
mod index;

pub use finder::{Finder, Found};
pub use index::{Builder, Index};

/// Part of the task keys of recipes that name evaluation sets: raised when other rows would be found for the same sets.
pub const EVALUATION_FORMAT: u32 = 1;
