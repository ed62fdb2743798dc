//! Columns of the source that the recipe keeps, as Arrow columns.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, StringBuilder},
    datatypes::{DataType, Field},
};
use serde_json::Value;

use crate::recipe::ColumnType;

/// Collects one kept column of the source.
pub enum KeptBuilder {
    /// UTF-8 text.
    String(StringBuilder),
    /// 64-bit integers.
    Int64(Int64Builder),
    /// 64-bit floats.
    Float64(Float64Builder),
    /// Booleans.
    Bool(BooleanBuilder),
}

impl KeptBuilder {
    /// An empty column of a type.
    pub fn new(kind: ColumnType) -> Self {
        match kind {
            ColumnType::String => Self::String(StringBuilder::new()),
            ColumnType::Int64 => Self::Int64(Int64Builder::new()),
            ColumnType::Float64 => Self::Float64(Float64Builder::new()),
            ColumnType::Bool => Self::Bool(BooleanBuilder::new()),
        }
    }

    /// Its Arrow field.
    pub fn field(name: &str, kind: ColumnType) -> Field {
        let data_type = match kind {
            ColumnType::String => DataType::Utf8,
            ColumnType::Int64 => DataType::Int64,
            ColumnType::Float64 => DataType::Float64,
            ColumnType::Bool => DataType::Boolean,
        };
        Field::new(name, data_type, true)
    }

    /// Add one value that [`fits`]; absent is null.
    pub fn push(&mut self, value: Option<&Value>) {
        let present = value.filter(|v| !v.is_null());
        match self {
            Self::String(column) => match present {
                Some(Value::String(text)) => column.append_value(text),
                Some(other) => column.append_value(other.to_string()),
                None => column.append_null(),
            },
            Self::Int64(column) => column.append_option(present.and_then(Value::as_i64)),
            Self::Float64(column) => column.append_option(present.and_then(Value::as_f64)),
            Self::Bool(column) => column.append_option(present.and_then(Value::as_bool)),
        }
    }

    /// The column.
    pub fn finish(&mut self) -> ArrayRef {
        match self {
            Self::String(c) => Arc::new(c.finish()),
            Self::Int64(c) => Arc::new(c.finish()),
            Self::Float64(c) => Arc::new(c.finish()),
            Self::Bool(c) => Arc::new(c.finish()),
        }
    }
}

/// Whether a value can stand in a kept column of this type.
///
/// # Errors
/// What it is instead.
pub fn fits(kind: ColumnType, value: Option<&Value>) -> Result<(), String> {
    let Some(value) = value.filter(|v| !v.is_null()) else { return Ok(()) };
    let (good, want) = match kind {
        ColumnType::String => (true, "string"),
        ColumnType::Int64 => (value.is_i64(), "int64"),
        ColumnType::Float64 => (value.is_number(), "float64"),
        ColumnType::Bool => (value.is_boolean(), "bool"),
    };
    if good { Ok(()) } else { Err(format!("holds {value}, which is no {want}")) }
}
