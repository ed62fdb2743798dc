//! One file per rule. CONTRIBUTING.md says how to add one.

pub mod column;
pub mod min_words_per_line;
