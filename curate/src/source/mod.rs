//! From files on disk to rows: Parquet, Arrow, JSON, CSV and text, plain or compressed, in bounded memory.

mod columns;
mod compress;
mod conversation;
mod csv;
mod encoding;
mod format;
mod frame;
mod globs;
mod hint;
mod ipc;
mod json;
mod json_object;
mod layout;
mod lined;
pub mod origin;
pub mod own_files;
mod parquet;
mod reader;
mod record;
mod scan;
pub mod schema;
mod schemas;
mod shape;
pub mod stored_files;
pub mod subset;
mod text;
mod value;
mod windows;

pub use format::{inspect, inspected};
pub use globs::{find, is_of_rows, select, stray};
pub use reader::{InputFile, Inspection, Item, Items, Limits, Projection, Reader, Slice};
pub use record::{Reading, Record};
pub use schema::{ColumnSpec, Mapping, Schema};
pub use schemas::{SCHEMAS, evaluation::Evaluation, find_schema};
pub use setaccio_base::names::{Names, short};

#[cfg(test)]
mod tests;
