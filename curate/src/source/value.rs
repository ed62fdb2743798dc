//! Arrow values as JSON. Read by Parquet's own types, every spelling of a text, list or struct comes out the same.

use std::{collections::HashSet, fmt::Debug, sync::Arc};

use arrow_array::{
    Array, ArrayRef, PrimitiveArray, StructArray,
    cast::AsArray,
    timezone::Tz,
    types::{
        ArrowTimestampType, Date32Type, Date64Type, Decimal128Type, Decimal256Type, Float16Type, Float32Type,
        Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType, Time32SecondType,
        Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType,
        TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};
use arrow_schema::{DataType, Field, Fields, TimeUnit};
use chrono::{DateTime, SecondsFormat};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use serde_json::{Map, Value};
use setaccio_base::{row, value};

use super::{
    conversation,
    reader::too_long,
    record::{RAW_BYTES, Record},
};

/// The value in row `i` of a column, which is of `field`.
///
/// # Errors
/// A value or a type that has no place in JSON.
pub fn json(field: &Field, column: &ArrayRef, i: usize) -> Result<Value, String> {
    // A column of the type null has no buffer that says so.
    if column.is_null(i) || column.data_type() == &DataType::Null {
        return Ok(Value::Null);
    }
    Ok(match column.data_type() {
        DataType::Binary => text(column.as_binary::<i32>().value(i))?,
        DataType::BinaryView => text(column.as_binary_view().value(i))?,
        DataType::Boolean => column.as_boolean().value(i).into(),
        DataType::Int8 => column.as_primitive::<Int8Type>().value(i).into(),
        DataType::Int16 => column.as_primitive::<Int16Type>().value(i).into(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(i).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(i).into(),
        DataType::UInt8 => column.as_primitive::<UInt8Type>().value(i).into(),
        DataType::UInt16 => column.as_primitive::<UInt16Type>().value(i).into(),
        DataType::UInt32 => column.as_primitive::<UInt32Type>().value(i).into(),
        DataType::UInt64 => column.as_primitive::<UInt64Type>().value(i).into(),
        DataType::Float16 => value::float(column.as_primitive::<Float16Type>().value(i).to_f64()),
        DataType::Float32 => value::float(f64::from(column.as_primitive::<Float32Type>().value(i))),
        DataType::Float64 => value::float(column.as_primitive::<Float64Type>().value(i)),
        DataType::List(item) => list(item, &column.as_list::<i32>().value(i))?,
        DataType::Struct(fields) => object(fields, column.as_struct(), i)?,
        DataType::Map(entry, _) => list(entry, &entries(column, i))?,
        DataType::FixedSizeBinary(_) if is_int96(field) => int96(column.as_fixed_size_binary().value(i))?,
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
        DataType::Decimal256(..) => column.as_primitive::<Decimal256Type>().value_as_string(i).into(),
        other => return Err(no_place(other)),
    })
}

/// What a map holds, an object of key and value each, as Arrow has them: keys are not always texts, nor different.
fn entries(column: &ArrayRef, i: usize) -> ArrayRef {
    Arc::new(column.as_map().value(i))
}

/// What is said of a type whose values are not read.
pub fn no_place(data_type: &DataType) -> String {
    let name = data_type.to_string();
    let name = name.split(['(', ' ']).next().unwrap_or_default();
    format!("is of type {name}, which is not read: write the column as numbers or as texts")
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

fn list(item: &Field, items: &ArrayRef) -> Result<Value, String> {
    (0..items.len()).map(|i| json(item, items, i)).collect::<Result<Vec<_>, _>>().map(Value::Array)
}

fn object(fields: &Fields, values: &StructArray, i: usize) -> Result<Value, String> {
    let mut object = Map::with_capacity(fields.len());
    for (field, column) in fields.iter().zip(values.columns()) {
        let value = match json(field, column, i) {
            Ok(value) => value,
            Err(e) if MESSAGE.contains(&field.name().as_str()) => {
                return Err(format!("has a `{}` that {e}", field.name()));
            }
            // What it holds is nobody's text: it is accounted for, as far as it can be read.
            Err(_) => lossy_value(field, column, i, placeholder, &mut { usize::MAX }),
        };
        object.insert(field.name().clone(), value);
    }
    Ok(Value::Object(object))
}

/// The mark of a column of INT96, the times of Hive, Impala and older Sparks: Arrow would count their nanoseconds in 64 bits,
/// which hold those of 1677 to 2262 and wrap others round.
pub const INT96: i32 = -96;

/// Whether a column's bytes are INT96.
fn is_int96(field: &Field) -> bool {
    field.metadata().get(PARQUET_FIELD_ID_META_KEY).is_some_and(|id| *id == INT96.to_string())
}

/// Nanoseconds of the day, then the Julian day, both little endian.
fn int96(bytes: &[u8]) -> Result<Value, String> {
    /// The Julian day of 1970-01-01.
    const EPOCH: i64 = 2_440_588;
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
    let (nanoseconds, day) = bytes.split_at(bytes.len().min(8));
    let nanoseconds = number(nanoseconds);
    let seconds = i64::try_from(number(day)).ok().map(|day| (day - EPOCH) * 86_400);
    let seconds = seconds.zip(i64::try_from(nanoseconds / 1_000_000_000).ok()).and_then(|(a, b)| a.checked_add(b));
    let part = u32::try_from(nanoseconds % 1_000_000_000).unwrap_or(0);
    time(seconds.and_then(|seconds| DateTime::from_timestamp(seconds, part)).map(|time| time.naive_utc()))
}

/// Row `i` of these columns, without the nulls that fill up structs. What cannot be read of a column, or is longer than `max` bytes, is an error where the column
/// is `needed`, and marked elsewhere. Values that lie in a dictionary may be longer in all than memory, so they are
/// measured before they are made.
pub fn record<'a>(
    columns: impl Iterator<Item = (&'a Field, &'a ArrayRef)> + Clone,
    i: usize,
    needed: &HashSet<String>,
    max: u64,
) -> Result<Record, String> {
    let all: u64 = columns.clone().filter(|(f, _)| needed.contains(f.name())).map(|(_, column)| size(column, i)).sum();
    if all > max {
        return Err(too_long(all, max));
    }
    let value = |(field, column): (&Field, &ArrayRef)| {
        let is_needed = needed.contains(field.name());
        if !is_needed {
            let bytes = size(column, i);
            if bytes > max {
                let instead = format!("[{bytes} bytes, more than read.max_row_bytes]");
                return Ok((field.name().clone(), instead.into()));
            }
        }
        let value = match json(field, column, i) {
            Ok(value) => value,
            Err(e) if is_needed => return Err(format!("column `{}` {e}", field.name())),
            Err(_) => lossy_value(field, column, i, placeholder, &mut { usize::MAX }),
        };
        Ok((field.name().clone(), value))
    };
    let mut record: Record = columns.map(value).collect::<Result<_, _>>()?;
    conversation::unpad(&mut record);
    // As JSON a number or a date may be longer than it was.
    let needed = record.iter().filter(|(name, _)| needed.contains(*name));
    let bytes = needed.map(|(_, value)| row::size(value)).sum();
    if bytes > max { Err(too_long(bytes, max)) } else { Ok(record) }
}

/// Bytes of the texts in the value of row `i`; a number counts as eight, and nothing for none.
pub fn size(column: &ArrayRef, i: usize) -> u64 {
    if column.is_null(i) {
        return 0;
    }
    let items = |items: ArrayRef| -> u64 {
        match items.data_type() {
            kind if kind.is_primitive() => 8 * items.len() as u64,
            _ => (0..items.len()).map(|i| size(&items, i)).sum(),
        }
    };
    match column.data_type() {
        DataType::Binary => column.as_binary::<i32>().value(i).len() as u64,
        DataType::LargeBinary => column.as_binary::<i64>().value(i).len() as u64,
        DataType::BinaryView => column.as_binary_view().value(i).len() as u64,
        DataType::Utf8 => column.as_string::<i32>().value(i).len() as u64,
        DataType::LargeUtf8 => column.as_string::<i64>().value(i).len() as u64,
        DataType::Utf8View => column.as_string_view().value(i).len() as u64,
        DataType::List(_) => items(column.as_list::<i32>().value(i)),
        DataType::LargeList(_) => items(column.as_list::<i64>().value(i)),
        DataType::FixedSizeList(..) => items(column.as_fixed_size_list().value(i)),
        DataType::Map(..) => items(Arc::new(column.as_map().value(i))),
        DataType::Struct(_) => column.as_struct().columns().iter().map(|column| size(column, i)).sum(),
        DataType::Dictionary(..) => {
            let one = column.slice(i, 1);
            let dictionary = one.as_any_dictionary();
            dictionary.normalized_keys().first().map_or(0, |key| size(dictionary.values(), *key))
        }
        _ => 8,
    }
}

/// A row as far as it can be read: what is wrong with a value stands in its place, and bytes that are no
/// UTF-8 are marked. Of each column as much is read as is kept of a bad row.
pub fn lossy<'a>(columns: impl Iterator<Item = (&'a Field, &'a ArrayRef)>, i: usize) -> Map<String, Value> {
    let marked = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let value = |(field, column)| lossy_value(field, column, i, marked, &mut { RAW_BYTES });
    columns.map(|(field, column)| (field.name().clone(), value((field, column)))).collect()
}

/// What stands for bytes that are no text in a column that nobody reads.
pub fn placeholder(bytes: &[u8]) -> String {
    format!("[{} bytes that are no text]", bytes.len())
}

/// A value as far as it can be read, and as there is `room` for; `unreadable` stands for bytes that are no text.
fn lossy_value(field: &Field, column: &ArrayRef, i: usize, unreadable: fn(&[u8]) -> String, room: &mut usize) -> Value {
    let mut bytes = |bytes: &[u8]| {
        let kept = &bytes[..bytes.len().min(*room)];
        *room -= kept.len();
        text(kept).unwrap_or_else(|_| unreadable(kept).into())
    };
    match column.data_type() {
        _ if column.is_null(i) => Value::Null,
        DataType::Binary => bytes(column.as_binary::<i32>().value(i)),
        DataType::BinaryView => bytes(column.as_binary_view().value(i)),
        DataType::List(item) | DataType::Map(item, _) => {
            let map = matches!(column.data_type(), DataType::Map(..));
            let list = if map { entries(column, i) } else { column.as_list::<i32>().value(i) };
            let mut items = Vec::new();
            for i in 0..list.len() {
                let Some(left) = room.checked_sub(1) else { break };
                *room = left;
                items.push(lossy_value(item, &list, i, unreadable, room));
            }
            items.into()
        }
        DataType::Struct(fields) => {
            let columns = fields.iter().zip(column.as_struct().columns());
            let value = |(field, column): (&Arc<Field>, &ArrayRef)| {
                (field.name().clone(), lossy_value(field, column, i, unreadable, room))
            };
            columns.map(value).collect()
        }
        _ => json(field, column, i).unwrap_or_else(Value::from),
    }
}

/// Fields of a message, in both spellings.
const MESSAGE: [&str; 4] = ["role", "content", "from", "value"];

#[cfg(test)]
mod tests {
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
        let plain = |column: &ArrayRef| Field::new("x", column.data_type().clone(), true);
        for (column, expected) in columns {
            assert_eq!(json(&plain(&column), &column, 0), Ok(expected.into()), "{}", column.data_type());
        }
        let never: ArrayRef = Arc::new(TimestampSecondArray::from(vec![i64::MAX]));
        assert!(json(&plain(&never), &never, 0).unwrap_err().contains("no calendar"));
    }
}
