//! A chain of runs, each upon the last one's model: data, training, merging, exports and the card. [`schema`] is its
//! recipe, [`run`] does its steps, [`lock`] remembers which are finished,
//! [`finished`] finds the models of one, [`page`] shows it, and [`compare`] holds two against each other.

pub mod card;
pub mod compare;
pub mod finished;
pub mod lock;
pub mod page;
pub mod places;
pub mod run;
pub mod schema;

#[cfg(test)]
mod tests;
