//! End to end, through the command line: what a user types, what a user finds.

mod bad_input;
mod contributing;
#[cfg(feature = "train")]
mod deliver;
mod embedded;
#[cfg(feature = "train")]
mod full;
mod hub;
mod init;
mod interruption;
mod lab;
#[cfg(feature = "train")]
mod preference;
mod recipes;
mod same_bytes;
mod sampling;
mod sources;
mod templates;
#[cfg(feature = "train")]
mod train;
mod trust;
