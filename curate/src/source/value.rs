//! Arrow values as JSON. Read by Parquet's own types, every spelling of a text, list or struct comes out the same.

use std::fmt::Debug;

use arrow_array::{
    Array, ArrayRef, PrimitiveArray, RecordBatch, StructArray,
    cast::AsArray,
    timezone::Tz,
    types::{
        ArrowTimestampType, Date32Type, Date64Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
        Int32Type, Int64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType,
        TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type,
        UInt16Type, UInt32Type, UInt64Type,
    },
};
use arrow_schema::{DataType, TimeUnit};
use chrono::SecondsFormat;
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
        DataType::Date32 => time(column.as_primitive::<Date32Type>().value_as_date(i))?,
        DataType::Date64 => time(column.as_primitive::<Date64Type>().value_as_datetime(i))?,
        DataType::Time32(TimeUnit::Second) => time(column.as_primitive::<Time32SecondType>().value_as_time(i))?,
        DataType::Time32(_) => time(column.as_primitive::<Time32MillisecondType>().value_as_time(i))?,
        DataType::Time64(TimeUnit::Nanosecond) => time(column.as_primitive::<Time64NanosecondType>().value_as_time(i))?,
        DataType::Time64(_) => time(column.as_primitive::<Time64MicrosecondType>().value_as_time(i))?,
        DataType::Timestamp(unit, zone) => {
            let zone = zone.as_deref();
            match unit {
                TimeUnit::Second => timestamp(column.as_primitive::<TimestampSecondType>(), zone, i)?,
                TimeUnit::Millisecond => timestamp(column.as_primitive::<TimestampMillisecondType>(), zone, i)?,
                TimeUnit::Microsecond => timestamp(column.as_primitive::<TimestampMicrosecondType>(), zone, i)?,
                TimeUnit::Nanosecond => timestamp(column.as_primitive::<TimestampNanosecondType>(), zone, i)?,
            }
        }
        DataType::Decimal128(..) => column.as_primitive::<Decimal128Type>().value_as_string(i).into(),
        other => return Err(format!("is of type {other}, which has no place in a row")),
    })
}

/// ISO 8601, which is how chrono debugs; the crate arrow-cast has it too, and takes a minute to compile.
fn time(value: Option<impl Debug>) -> Result<Value, String> {
    value.map(|value| format!("{value:?}").into()).ok_or_else(|| "is a time that no calendar has".into())
}

fn timestamp<T: ArrowTimestampType>(column: &PrimitiveArray<T>, zone: Option<&str>, i: usize) -> Result<Value, String> {
    let Some(zone) = zone else { return time(column.value_as_datetime(i)) };
    let zone: Tz = zone.parse().map_err(|e| format!("is of a time zone that is not known: {e}"))?;
    let shown = column.value_as_datetime_with_tz(i, zone).map(|t| t.to_rfc3339_opts(SecondsFormat::AutoSi, true));
    shown.map(Value::from).ok_or_else(|| "is a time that no calendar has".into())
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{
        Date32Array, Date64Array, Decimal128Array, Time32SecondArray, Time64MicrosecondArray,
        TimestampMillisecondArray, TimestampSecondArray,
    };

    use super::*;

    #[test]
    fn times_and_decimals_are_written_as_iso_8601_and_in_full() {
        // 1,555,840,800 seconds are 18,007 days and ten hours.
        let seconds = TimestampSecondArray::from(vec![1_555_840_800]);
        let decimal = |value| Decimal128Array::from(vec![value]).with_precision_and_scale(10, 2).unwrap();
        let columns: [(ArrayRef, &str); 10] = [
            (Arc::new(Date32Array::from(vec![18_007])), "2019-04-21"),
            (Arc::new(Date64Array::from(vec![1_555_840_800_000])), "2019-04-21T10:00:00"),
            (Arc::new(seconds.clone()), "2019-04-21T10:00:00"),
            (Arc::new(seconds.clone().with_timezone("UTC")), "2019-04-21T10:00:00Z"),
            (Arc::new(seconds.with_timezone("Europe/Rome")), "2019-04-21T12:00:00+02:00"),
            (Arc::new(TimestampMillisecondArray::from(vec![1_555_840_800_250])), "2019-04-21T10:00:00.250"),
            (Arc::new(Time32SecondArray::from(vec![3661])), "01:01:01"),
            (Arc::new(Time64MicrosecondArray::from(vec![1_500_000])), "00:00:01.500"),
            (Arc::new(decimal(12_345)), "123.45"),
            (Arc::new(decimal(-5)), "-0.05"),
        ];
        for (column, expected) in columns {
            assert_eq!(json(&column, 0), Ok(expected.into()), "{}", column.data_type());
        }
        let never: ArrayRef = Arc::new(TimestampSecondArray::from(vec![i64::MAX]));
        assert!(json(&never, 0).unwrap_err().contains("no calendar"));
    }
}
