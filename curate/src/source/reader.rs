//! What reads one format: a file is inspected once, then read slice by slice.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Debug,
    io,
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use setaccio_base::{
    bundle::{BundleReader, Place},
    error::{hint, is_of_the_way},
    row::Row,
};
use setaccio_dataset::{recipe::ColumnType, shard::Position};

use super::{
    hint::Hint,
    record::Record,
    schema::{self, Mapping, Schema},
};
use crate::error::SourceError;

/// Reads the files of one format.
pub trait Reader: Debug + Send + Sync {
    /// Look a file through once. Stops early, with whatever it has, when `cancelled` says so.
    ///
    /// # Errors
    /// The file is not whole.
    fn inspect(
        &self,
        file: &mut BundleReader,
        name: &str,
        limits: &Limits,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Inspection, SourceError>;

    /// Whether it reads text that has no columns of its own.
    fn plain_text(&self) -> bool {
        false
    }

    /// Of a file that is one object: where the rows may be if that is none.
    fn hint(&self) -> Option<&Hint> {
        None
    }

    /// Read a slice of an inspected file.
    ///
    /// # Errors
    /// The file cannot be opened, or lacks a column that the schema needs.
    fn open(
        &self,
        file: &InputFile,
        slice: &Slice,
        projection: &Projection<'_>,
        limits: &Limits,
    ) -> Result<Items, SourceError>;
}

/// What inspecting a file finds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// SHA-256 of its bytes, hex; empty for a stored file that is known by its ETag.
    pub sha256: String,
    /// Rows, where they could be counted cheaply.
    pub rows: Option<u64>,
    /// Parts that can be read independently, in order.
    pub slices: Vec<Slice>,
    /// Bytes of text it holds, about.
    pub text_bytes: u64,
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
    /// What reads it.
    pub reader: Arc<dyn Reader>,
    /// What was found.
    pub inspection: Inspection,
}

impl InputFile {
    /// What tells its bytes from any others: their SHA-256, or of a stored file that was not read through the store's own name.
    pub fn content(&self) -> String {
        match &self.place {
            Place::Stored(object) if self.inspection.sha256.is_empty() => object.state(),
            _ => self.inspection.sha256.clone(),
        }
    }

    /// The store's name for its bytes, where their SHA-256 is not known.
    pub fn etag(&self) -> Option<String> {
        match &self.place {
            Place::Stored(object) if self.inspection.sha256.is_empty() => object.etag.clone(),
            _ => None,
        }
    }

    /// Read a slice of it.
    ///
    /// # Errors
    /// The file cannot be opened, or lacks a column that the schema needs.
    pub fn open(&self, slice: &Slice, projection: &Projection<'_>, limits: &Limits) -> Result<Items, SourceError> {
        self.reader.open(self, slice, projection, limits)
    }
}

/// What of a file is read, and how it becomes rows.
#[derive(Clone, Copy)]
pub struct Projection<'a> {
    /// How its columns are laid out.
    pub schema: &'static dyn Schema,
    /// How they become the schema's.
    pub mapping: &'a Mapping,
    /// Columns beside the schema's that must be readable: those that filters and output read.
    pub extra: &'a [String],
    /// Types that the output gives to columns: CSV has none of its own.
    pub types: &'a BTreeMap<String, ColumnType>,
}

/// Makes a row of a record, or says what is wrong with it.
pub type Convert = Box<dyn Fn(Record) -> Result<Row, String> + Send>;

impl Projection<'_> {
    /// The name that a schema's column has in this source.
    pub fn name_here<'n>(&'n self, column: &'n str) -> &'n str {
        self.mapping.rename.get(column).map_or(column, String::as_str)
    }

    /// Columns that must be there, by their names in this source.
    pub fn required(&self) -> impl Iterator<Item = &str> {
        let required = self.schema.columns().iter().filter(|c| c.required && !self.mapping.makes(c.name));
        let read = self.mapping.templates.iter().flat_map(|(_, template)| template.required());
        required.map(|column| self.name_here(column.name)).chain(read)
    }

    /// Columns whose values must be readable; what cannot be read of the others is left out.
    pub fn needed(&self) -> HashSet<String> {
        let columns = self.schema.columns().iter().map(|c| self.name_here(c.name));
        columns.chain(self.mapping.read()).map(str::to_owned).chain(self.extra.iter().cloned()).collect()
    }

    /// What makes rows of records.
    pub fn convert(&self) -> Convert {
        let (schema, mapping, kept) = (self.schema, self.mapping.clone(), self.extra.to_vec());
        Box::new(move |record| schema::row(schema, record, &mapping, &kept))
    }
}

/// What reading gives, one by one; an error is the last.
pub type Items = Box<dyn Iterator<Item = Result<Item, SourceError>> + Send>;

/// What reading gives.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "nearly all of them are rows, and a box would cost each an allocation")]
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

/// The part of a file that one task reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Whole records of a plain text file: of CSV, or lines.
    Records {
        /// Offset of the first record.
        start: u64,
        /// Offset after the last.
        end: u64,
        /// Number of its first row in the file.
        first_row: u64,
        /// Rows in all.
        rows: u64,
        /// Number of its first line in the file.
        line: u64,
    },
    /// A file that can only be read from its start, as compressed ones are.
    Whole,
}

impl Slice {
    /// Rows in it, where that is known.
    pub fn rows(&self) -> Option<u64> {
        match self {
            Self::RowGroups { rows, .. } | Self::Bytes { rows, .. } | Self::Records { rows, .. } => Some(*rows),
            Self::Whole => None,
        }
    }
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
    /// A decoder may look back 2^this many bytes, and so needs as much memory.
    pub window_log: u32,
}

/// What is said of a file that the system does not let be read.
pub fn unreadable(name: &str) -> impl Fn(io::Error) -> SourceError {
    move |e| SourceError::new(name, format!("cannot be read: {e}{}", hint("read", &e)))
}

/// What reading refuses although the file may be whole: a limit, or an encoding that it is not in. Says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(String);

impl Refusal {
    /// As readers pass errors on.
    pub fn error(message: String) -> io::Error {
        io::Error::other(Self(message))
    }

    /// The refusal that an error stands for.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

/// What is said where reading breaks off.
pub fn cut_short(name: &str, row: u64, error: &io::Error) -> SourceError {
    let message = match Refusal::of(error) {
        Some(refusal) if row == 0 => return SourceError::new(name, refusal.to_string()),
        Some(refusal) => format!("reading stops here: {refusal}"),
        // What the system says is no word on what the file holds.
        None if is_of_the_way(error) => format!("reading stops here: {error}{}", hint("read", error)),
        None => format!("reading stops here: {error}; the file is cut short or damaged, fetch it again"),
    };
    SourceError::at(name, Position { row_group: None, row }, message)
}

/// What is said of a row above `read.max_row_bytes`.
pub fn too_long(bytes: u64, max: u64) -> String {
    format!("holds {bytes} bytes, more than read.max_row_bytes allows, which is {max} (--set read.max_row_bytes=N)")
}
