//! Questions in SQL of what builds and runs left: `tables` finds what there is in a folder and checks it, `statement` says whether a query only
//! reads these tables, `rewrite` puts it in words that the engine answers right, `answer` lets polars compute it a piece at a time, and
//! `writer` and `layout` show the rows to programs and to persons.

pub mod answer;
mod builds;
mod error;
mod frame;
pub mod layout;
mod rewrite;
mod runs;
mod scan;
mod statement;
mod table;
pub mod tables;
mod value;
pub mod writer;

pub use error::{Error, Result};
