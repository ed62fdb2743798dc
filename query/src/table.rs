//! A table that can be asked.

use polars::prelude::{DataType, LazyFrame, PlSmallStr, SchemaRef};

use crate::error::Result;

/// A table that can be asked.
#[derive(Clone)]
pub struct Table {
    /// Its name in a query.
    pub name: &'static str,
    /// Its rows.
    pub rows: u64,
    /// Its columns, in order.
    pub columns: SchemaRef,
    /// What reads it.
    pub frame: LazyFrame,
    /// Whether it lies in files that may be larger than memory.
    pub in_files: bool,
}

impl Table {
    /// Of what is read when it is asked.
    ///
    /// # Errors
    /// A file is no Parquet.
    pub fn new(name: &'static str, rows: u64, mut frame: LazyFrame, in_files: bool) -> Result<Self> {
        let columns = frame.collect_schema()?;
        Ok(Self { name, rows, columns, frame, in_files })
    }

    /// Names of its columns.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter_names().map(PlSmallStr::as_str)
    }
}

/// A type, as a person says it.
pub fn type_name(kind: &DataType) -> String {
    match kind {
        DataType::Boolean => "boolean".into(),
        DataType::String => "text".into(),
        DataType::Binary => "bytes".into(),
        DataType::Float32 | DataType::Float64 => "float".into(),
        DataType::Null => "null".into(),
        kind if kind.is_integer() => "integer".into(),
        DataType::List(inner) => format!("list of {}", type_name(inner)),
        DataType::Struct(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|field| format!("{} {}", field.name(), type_name(field.dtype()))).collect();
            format!("({})", fields.join(", "))
        }
        other => other.to_string(),
    }
}
