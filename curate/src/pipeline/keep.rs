//! Columns of the source that `output.keep` names, as Arrow columns.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray};
use arrow_schema::{DataType, Field};
use serde_json::Value;
use setaccio_base::value;
use setaccio_dataset::recipe::ColumnType;

/// The field of a column of this name and type.
pub fn field(name: &str, kind: ColumnType) -> Field {
    let data_type = match kind {
        ColumnType::String | ColumnType::Json => DataType::Utf8,
        ColumnType::Int64 => DataType::Int64,
        ColumnType::Float64 => DataType::Float64,
        ColumnType::Bool => DataType::Boolean,
    };
    Field::new(name, data_type, true)
}

/// A column of values that [`fit`](fits); an absent one is null.
pub fn array<'a>(kind: ColumnType, values: impl Iterator<Item = Option<&'a Value>>) -> ArrayRef {
    let values = values.map(|value| value.filter(|v| !v.is_null()));
    match kind {
        ColumnType::String => Arc::new(values.map(|v| v.map(value::printed)).collect::<StringArray>()),
        ColumnType::Json => Arc::new(values.map(|v| v.map(value::to_json)).collect::<StringArray>()),
        ColumnType::Int64 => Arc::new(values.map(|v| v.and_then(Value::as_i64)).collect::<Int64Array>()),
        ColumnType::Float64 => Arc::new(values.map(|v| v.and_then(value::as_f64)).collect::<Float64Array>()),
        ColumnType::Bool => Arc::new(values.map(|v| v.and_then(Value::as_bool)).collect::<BooleanArray>()),
    }
}

/// Whether a value can stand in a column of this type.
///
/// # Errors
/// What it is instead.
pub fn fits(kind: ColumnType, value: Option<&Value>) -> Result<(), String> {
    let Some(held) = value.filter(|v| !v.is_null()) else { return Ok(()) };
    let (good, want) = match kind {
        ColumnType::String => (true, "string"),
        ColumnType::Json => (true, "json"),
        ColumnType::Int64 => (held.is_i64(), "int64"),
        ColumnType::Float64 => (value::as_f64(held).is_some(), "float64"),
        ColumnType::Bool => (held.is_boolean(), "bool"),
    };
    if good { Ok(()) } else { Err(format!("holds {}, which is no {want}", value::short(held))) }
}
