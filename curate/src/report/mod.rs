//! What is told of a build: its ledger and card, the page that shows it, whether a finished one is as it was written, what
//! became of a row, which rows there are of each rule and source, and what differs between two builds.

pub mod browse;
pub mod card;
pub mod compare;
pub mod estimate;
pub mod ledger;
pub mod page;
pub mod review;
mod rows;
mod settings;
pub mod verify;
pub mod why;
