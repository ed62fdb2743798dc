//! What is told of a build: its ledger and card, and whether a finished one is as it was written.

pub mod card;
pub mod ledger;
pub mod verify;
