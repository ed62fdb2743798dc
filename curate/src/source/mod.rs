//! From files on disk to rows: Parquet, JSON arrays and JSON lines, plain or compressed, in bounded memory.

mod compress;
mod format;
mod frame;
mod globs;
mod json;
pub mod origin;
mod parquet;
mod reader;
mod record;
mod schema;
mod schemas;
pub mod subset;
mod value;

pub use format::inspect;
pub use globs::{find, select};
pub use reader::{InputFile, Inspection, Item, Items, Limits, Projection, Reader, Slice};
pub use record::Record;
pub use schema::{ColumnSpec, Schema};
pub use schemas::{SCHEMAS, find_schema};
