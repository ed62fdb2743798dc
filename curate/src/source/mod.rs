//! From files on disk to rows: Parquet, JSON arrays and JSON lines, plain or compressed, in bounded memory.

use std::collections::BTreeMap;

use serde::Serialize;
use setaccio_base::{bundle::Place, row::Row};

pub use crate::error::SourceError;

mod compress;
mod frame;
mod globs;
mod json;
pub mod origin;
mod parquet;
mod record;
mod schema;
mod schemas;
pub mod subset;
mod value;

pub use setaccio_dataset::shard::Position;

pub use globs::{find, select};
pub use record::Record;
pub use schema::{ColumnSpec, SCHEMAS, Schema, find_schema};

use compress::Packing;

/// What reading gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A row.
    Row {
        /// Its place.
        at: Position,
        /// What it says.
        row: Row,
    },
    /// A row that is no row of its schema.
    Bad {
        /// Its place.
        at: Position,
        /// What is wrong with it.
        reason: String,
        /// What was read of it, at most [`RAW_BYTES`].
        raw: String,
    },
}

/// How much of a bad row is kept.
pub const RAW_BYTES: usize = 64 << 10;

/// A file's container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Parquet.
    Parquet,
    /// One JSON array of objects.
    Array(Packing),
    /// One JSON object a line.
    Lines(Packing),
}

/// The part of a file that one task reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Slice {
    /// Whole row groups of a Parquet file.
    RowGroups {
        /// The first.
        first: u32,
        /// How many.
        count: u32,
        /// Number of its first row in the file.
        first_row: u64,
        /// Rows in all.
        rows: u64,
    },
    /// Whole elements of a plain JSON file.
    Bytes {
        /// Offset of the first element.
        start: u64,
        /// Offset after the last.
        end: u64,
        /// Number of its first row in the file.
        first_row: u64,
        /// Rows in all.
        rows: u64,
    },
    /// A compressed file, which can only be read from its start.
    Whole,
}

impl Slice {
    /// Rows in it, where that is known.
    pub fn rows(&self) -> Option<u64> {
        match self {
            Self::RowGroups { rows, .. } | Self::Bytes { rows, .. } => Some(*rows),
            Self::Whole => None,
        }
    }
}

/// An inspected file.
#[derive(Clone, Debug)]
pub struct InputFile {
    /// Where it is.
    pub place: Place,
    /// What errors, lock and card call it.
    pub name: String,
    /// Size on disk.
    pub bytes: u64,
    /// SHA-256 of its bytes, hex.
    pub sha256: String,
    /// Rows, where they could be counted cheaply.
    pub rows: Option<u64>,
    /// Its container.
    pub format: Format,
    /// Parts that can be read independently, in order.
    pub slices: Vec<Slice>,
    /// Bytes of text it holds, about.
    pub text_bytes: u64,
}

/// Bounds of reading.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A slice holds about this much text, in bytes.
    pub slice_bytes: u64,
    /// A longer row is bad, in bytes.
    pub max_row_bytes: u64,
    /// Read compressed files through to count their rows.
    pub count_compressed: bool,
}

/// What reading gives, one by one; an error is the last.
pub type Items = Box<dyn Iterator<Item = Result<Item, SourceError>> + Send>;

/// Look a file through once: its hash, container, rows and slices. Stops early, with whatever it has,
/// when `cancelled` says so.
///
/// # Errors
/// The file is missing, empty, of no known container, or ends early.
pub fn inspect(
    place: &Place,
    name: &str,
    limits: &Limits,
    cancelled: &dyn Fn() -> bool,
) -> Result<InputFile, SourceError> {
    let unreadable = |e: std::io::Error| SourceError::new(name, format!("cannot be read: {e}"));
    let mut file = place.open().map_err(unreadable)?;
    let bytes = file.length().map_err(unreadable)?;
    if bytes == 0 {
        return Err(SourceError::new(name, "is empty (0 bytes); fetch it again, or take it out of the recipe"));
    }
    let found = match compress::detect(&mut file, name)? {
        Format::Parquet => parquet::inspect(&mut file, name, limits, cancelled)?,
        format => json::inspect(&mut file, name, format, limits, cancelled)?,
    };
    if found.rows == Some(0) {
        return Err(SourceError::no_rows(name));
    }
    Ok(InputFile { place: place.clone(), name: name.to_owned(), bytes, ..found })
}

/// Read a slice. `rename` maps a schema's column to the name it has in this source; `wanted` are columns
/// beside the schema's that must be readable.
///
/// # Errors
/// The file cannot be opened, or lacks a column that the schema needs.
pub fn open(
    file: &InputFile,
    slice: &Slice,
    schema: &'static dyn Schema,
    rename: &BTreeMap<String, String>,
    wanted: &[String],
    limits: &Limits,
) -> Result<Items, SourceError> {
    let renamed = rename.clone();
    let convert: record::Convert = Box::new(move |record| schema::row(schema, record, &renamed));
    match file.format {
        Format::Parquet => parquet::open(file, slice, (schema, rename, wanted), limits, convert),
        _ => json::open(file, slice, limits, convert),
    }
}
