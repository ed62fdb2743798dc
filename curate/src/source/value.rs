//! Arrow values as JSON. Read by Parquet's own types, every spelling of a text, list or struct comes out the same.

use arrow_array::{
    Array, ArrayRef, RecordBatch, StructArray,
    cast::AsArray,
    types::{
        Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type,
        UInt64Type,
    },
};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::DataType;
use serde_json::{Map, Value};

/// The value in row `i` of a column.
///
/// # Errors
/// A type that has no place in JSON.
pub fn json(column: &ArrayRef, i: usize) -> Result<Value, String> {
    // A column of the type null has no buffer that says so.
    if column.is_null(i) || column.data_type() == &DataType::Null {
        return Ok(Value::Null);
    }
    Ok(match column.data_type() {
        DataType::Binary => text(column.as_binary::<i32>().value(i))?,
        DataType::Boolean => column.as_boolean().value(i).into(),
        DataType::Int8 => column.as_primitive::<Int8Type>().value(i).into(),
        DataType::Int16 => column.as_primitive::<Int16Type>().value(i).into(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(i).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(i).into(),
        DataType::UInt8 => column.as_primitive::<UInt8Type>().value(i).into(),
        DataType::UInt16 => column.as_primitive::<UInt16Type>().value(i).into(),
        DataType::UInt32 => column.as_primitive::<UInt32Type>().value(i).into(),
        DataType::UInt64 => column.as_primitive::<UInt64Type>().value(i).into(),
        DataType::Float32 => f64::from(column.as_primitive::<Float32Type>().value(i)).into(),
        DataType::Float64 => column.as_primitive::<Float64Type>().value(i).into(),
        DataType::List(_) => list(&column.as_list::<i32>().value(i))?,
        DataType::Struct(_) => object(column.as_struct(), i)?,
        DataType::Date32
        | DataType::Date64
        | DataType::Timestamp(..)
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Decimal128(..) => {
            let formatter =
                ArrayFormatter::try_new(column.as_ref(), &FormatOptions::default()).map_err(|e| e.to_string())?;
            formatter.value(i).to_string().into()
        }
        other => return Err(format!("is of type {other}, which has no place in a row")),
    })
}

fn text(bytes: &[u8]) -> Result<Value, String> {
    std::str::from_utf8(bytes)
        .map(Value::from)
        .map_err(|e| format!("is not valid UTF-8 from its byte {} on", e.valid_up_to()))
}

fn list(items: &ArrayRef) -> Result<Value, String> {
    (0..items.len()).map(|i| json(items, i)).collect::<Result<Vec<_>, _>>().map(Value::Array)
}

fn object(fields: &StructArray, i: usize) -> Result<Value, String> {
    let mut object = Map::with_capacity(fields.num_columns());
    for (name, column) in fields.column_names().into_iter().zip(fields.columns()) {
        if !has_place(column.data_type()) {
            continue;
        }
        match json(column, i) {
            Ok(value) => drop(object.insert(name.to_owned(), value)),
            Err(e) if MESSAGE.contains(&name) => return Err(format!("has a `{name}` that {e}")),
            // Other fields of a message are left out, whatever they are.
            Err(_) => {}
        }
    }
    Ok(Value::Object(object))
}

/// A row as far as it can be read: what is wrong with a value stands in its place, and bytes that are no
/// UTF-8 are marked.
pub fn lossy(batch: &RecordBatch, i: usize) -> Map<String, Value> {
    let fields = batch.schema_ref().fields().iter().map(|f| f.name().clone());
    fields.zip(batch.columns().iter().map(|column| lossy_value(column, i))).collect()
}

fn lossy_value(column: &ArrayRef, i: usize) -> Value {
    let items = |list: ArrayRef| (0..list.len()).map(|i| lossy_value(&list, i)).collect();
    match column.data_type() {
        _ if column.is_null(i) => Value::Null,
        DataType::Binary => String::from_utf8_lossy(column.as_binary::<i32>().value(i)).into_owned().into(),
        DataType::List(_) => Value::Array(items(column.as_list::<i32>().value(i))),
        DataType::Struct(_) => {
            let fields = column.as_struct();
            let values = fields.columns().iter().map(|field| lossy_value(field, i));
            Value::Object(fields.column_names().into_iter().map(str::to_owned).zip(values).collect())
        }
        _ => json(column, i).unwrap_or_else(Value::from),
    }
}

/// Fields of a message, in both spellings.
const MESSAGE: [&str; 4] = ["role", "content", "from", "value"];

/// Whether a type's values can stand in a row. Columns of other types are left out.
pub fn has_place(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) => has_place(item.data_type()),
        DataType::Float16 | DataType::Map(..) | DataType::FixedSizeBinary(_) | DataType::Interval(_) => false,
        other => {
            other.is_null()
                || other.is_temporal()
                || other.is_numeric()
                || matches!(other, DataType::Binary | DataType::Boolean | DataType::Struct(_))
        }
    }
}
