//! What every other crate needs, by concept.
//!
//! - files: [`atomic`] puts a file or a folder in place whole, [`lock_file`] keeps a folder to
//!   one process, [`hidden`] is what such a folder hides, [`sha256`] hashes what passes through,
//!   [`search`] finds what globs and folders name, [`objects`] are files in a store;
//! - models: [`safetensors_header`] and [`gguf_header`] hold what files say of themselves against their length;
//! - work: [`progress`] is followed by a person, [`parallel`] shares work out and gives results in order, [`large_buffers`] are used again;
//! - recipes: [`bundle`] has those that the program carries, [`overlay`] lays one table over another, [`flat`] compares two, [`suggest`] names
//!   the nearest known word, [`date`] reads a date, [`shell`] writes words of a command;
//! - rows: [`row`] is a document, a conversation or a preference, [`value`] what a column holds, [`nfc`] makes canonically
//!   equal texts one, [`unit`] what a text is cut into, [`filter_report`] says what filters did to many, [`unwound`] calls
//!   readers that may panic;
//! - reports: [`shown`] keeps text of others from acting on a terminal, [`card`] has the parts of cards and pictures, [`page`] those of pages,
//!   [`numbers`] and [`names`] how these are written, [`run_lock`] what a
//!   training run was made from;
//! - checks: [`manifest`] has the hash of every file of a folder, [`seal`] lets no bit of a text change unseen, [`fault`] is
//!   what is wrong with a file.

mod aside;
pub mod atomic;
pub mod bundle;
pub mod card;
pub mod date;
pub mod error;
pub mod fault;
pub mod filter_report;
pub mod flat;
pub mod gguf_header;
pub mod hidden;
pub mod hub_name;
pub mod large_buffers;
pub mod lock_file;
pub mod manifest;
pub mod names;
pub mod nfc;
pub mod numbers;
pub mod objects;
pub mod overlay;
pub mod page;
pub mod parallel;
pub mod progress;
pub mod row;
pub mod run_lock;
pub mod safetensors_header;
pub mod seal;
pub mod search;
pub mod sha256;
pub mod shell;
pub mod shown;
pub mod suggest;
pub mod unit;
pub mod unwound;
pub mod value;

pub use error::{Error, Result};
