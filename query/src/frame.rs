//! Tables of small files: rows of JSON values as columns in memory.

use polars::prelude::{Column, DataFrame, IntoLazy as _};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{error::Result, table::Table};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Text; of what is neither text nor null, its JSON.
    Text,
    /// Whole numbers.
    Integer,
    /// Numbers.
    Float,
    /// True or false.
    Boolean,
}

use Holds::{Boolean, Float, Integer, Text};

/// A table of these columns, each row with a value or null for each.
pub fn table(name: &'static str, columns: &[(&str, Holds)], rows: &[Map<String, Value>]) -> Result<Table> {
    let columns: Vec<Column> = columns
        .iter()
        .map(|(name, holds)| {
            let values = rows.iter().map(|row| row.get(*name).unwrap_or(&Value::Null));
            let column = (*name).into();
            match holds {
                Text => Column::new(column, values.map(text).collect::<Vec<Option<String>>>()),
                Integer => Column::new(column, values.map(integer).collect::<Vec<Option<i64>>>()),
                Float => Column::new(column, values.map(Value::as_f64).collect::<Vec<Option<f64>>>()),
                Boolean => Column::new(column, values.map(Value::as_bool).collect::<Vec<Option<bool>>>()),
            }
        })
        .collect();
    Table::new(name, rows.len() as u64, DataFrame::new(rows.len(), columns)?.lazy(), false)
}

/// The fields of what is written as an object of JSON.
pub fn fields(of: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(of) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

/// The columns of rows: first `known`, then what else they have, in the order in which it comes.
pub fn columns_of<'r>(known: &[(&'r str, Holds)], rows: &'r [Map<String, Value>]) -> Vec<(&'r str, Holds)> {
    let mut columns: Vec<(&str, Option<Holds>)> = known.iter().map(|(name, holds)| (*name, Some(*holds))).collect();
    for (name, value) in rows.iter().flatten() {
        let held = match value {
            Value::Null => None,
            Value::Bool(_) => Some(Boolean),
            Value::Number(number) if number.is_i64() => Some(Integer),
            Value::Number(_) => Some(Float),
            _ => Some(Text),
        };
        match columns.iter_mut().find(|(known, _)| known == name) {
            Some((_, holds)) => *holds = both(*holds, held),
            None => columns.push((name, held)),
        }
    }
    // A column in which no row has a value.
    columns.into_iter().map(|(name, holds)| (name, holds.unwrap_or(Float))).collect()
}

/// What holds the values of both.
fn both(a: Option<Holds>, b: Option<Holds>) -> Option<Holds> {
    match (a, b) {
        (Some(a), Some(b)) if a == b => Some(a),
        (Some(Integer | Float), Some(Integer | Float)) => Some(Float),
        (Some(_), Some(_)) => Some(Text),
        (a, b) => a.or(b),
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn integer(value: &Value) -> Option<i64> {
    // Counts are below 2^63.
    value.as_i64()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rows(rows: &Value) -> Vec<Map<String, Value>> {
        rows.as_array().into_iter().flatten().map(fields).collect()
    }

    #[test]
    fn columns_hold_what_all_rows_have() {
        let rows = rows(&json!([
            {"step": 1, "loss": 6, "flag": true, "none": null},
            {"step": 2, "loss": 5.5, "samples": [1], "mixed": 1},
            {"step": 3, "mixed": "x", "samples": null}
        ]));
        let expected = [
            ("step", Integer),
            ("epoch", Float),
            ("loss", Float),
            ("flag", Boolean),
            ("none", Float),
            ("samples", Text),
            ("mixed", Text),
        ];
        assert_eq!(columns_of(&[("step", Integer), ("epoch", Float)], &rows), expected);
    }

    #[test]
    fn values_are_kept_and_what_is_missing_is_null() -> Result<()> {
        let rows = rows(&json!([{"a": 1, "t": "x"}, {"a": null}, {"a": 3, "t": [1, "due"]}]));
        let table = table("t", &[("a", Integer), ("t", Text), ("gone", Float)], &rows)?;
        assert_eq!((table.rows, table.names().collect::<Vec<_>>()), (3, vec!["a", "t", "gone"]));
        let frame = table.frame.collect()?;
        let values: Vec<String> = frame.columns().iter().map(|column| format!("{:?}", column.null_count())).collect();
        assert_eq!(values, ["1", "1", "3"]);
        Ok(())
    }
}
