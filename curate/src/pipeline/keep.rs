//! Columns of the source that `output.keep` names, as Arrow columns.

use std::{borrow::Cow, sync::Arc};

use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray};
use arrow_schema::{DataType, Field};
use serde_json::Value;
use setaccio_dataset::recipe::ColumnType;

/// The field of a column of this name and type.
pub fn field(name: &str, kind: ColumnType) -> Field {
    let data_type = match kind {
        ColumnType::String => DataType::Utf8,
        ColumnType::Int64 => DataType::Int64,
        ColumnType::Float64 => DataType::Float64,
        ColumnType::Bool => DataType::Boolean,
    };
    Field::new(name, data_type, true)
}

/// A column of values that [`fit`](fits); an absent one is null.
pub fn array<'a>(kind: ColumnType, values: impl Iterator<Item = Option<&'a Value>>) -> ArrayRef {
    let values = values.map(|value| value.filter(|v| !v.is_null()));
    let text = |value: &'a Value| match value {
        Value::String(text) => Cow::Borrowed(text.as_str()),
        other => Cow::Owned(other.to_string()),
    };
    match kind {
        ColumnType::String => Arc::new(values.map(|v| v.map(text)).collect::<StringArray>()),
        ColumnType::Int64 => Arc::new(values.map(|v| v.and_then(Value::as_i64)).collect::<Int64Array>()),
        ColumnType::Float64 => Arc::new(values.map(|v| v.and_then(Value::as_f64)).collect::<Float64Array>()),
        ColumnType::Bool => Arc::new(values.map(|v| v.and_then(Value::as_bool)).collect::<BooleanArray>()),
    }
}

/// Whether a value can stand in a column of this type.
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
