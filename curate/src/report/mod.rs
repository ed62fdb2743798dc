//! What is told of a build: its ledger and card, whether a finished one is as it was written, and what became of a row.

pub mod card;
pub mod estimate;
pub mod ledger;
pub mod verify;
pub mod why;
