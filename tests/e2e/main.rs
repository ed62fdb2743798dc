//! End to end, through the command line: what a user types, what a user finds.

mod architecture;
mod audit;
mod bad_input;
#[cfg(feature = "browse")]
mod browse;
mod cards;
mod commands;
mod compare;
#[cfg(feature = "train")]
mod compare_runs;
mod contributing;
mod decontamination;
#[cfg(feature = "train")]
mod deliver;
mod embedded;
#[cfg(feature = "train")]
mod eval;
#[cfg(feature = "train")]
mod evaluation;
mod faults;
mod fixture;
#[cfg(feature = "train")]
mod full;
#[cfg(unix)]
mod hostile;
mod hub;
mod init;
mod interruption;
#[cfg(unix)]
mod mutations;
mod near;
mod own_data;
#[cfg(feature = "train")]
mod own_rows;
#[cfg(feature = "train")]
mod plan;
#[cfg(feature = "train")]
mod preference;
mod quality;
#[cfg(feature = "query")]
mod query;
mod recipes;
mod repeats;
mod report;
mod review;
mod row_templates;
mod same_bytes;
mod sampling;
#[cfg(feature = "semantic")]
mod semantic;
#[cfg(feature = "serve")]
mod serve;
mod sources;
mod standing;
#[cfg(feature = "store")]
mod store;
mod submit;
mod tables;
mod templates;
mod terminal;
#[cfg(feature = "train")]
mod train;
mod trust;
#[cfg(feature = "train")]
mod unsaid;
mod whole;
