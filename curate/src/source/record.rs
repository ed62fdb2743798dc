//! A record: one row of a source as JSON, whatever the container; and the questions schemas ask of it.

use std::{
    collections::HashSet,
    ops::{Deref, DerefMut},
    sync::Arc,
};

use arrow_schema::{DataType, Field, Fields};
use serde_json::{Map, Value};
use setaccio_base::{
    names::{Names, short},
    row::{Message, Renamed},
    value,
};

/// Column name to value.
pub type Record = Map<String, Value>;

/// A record while a schema takes the content out of it.
#[derive(Debug)]
pub struct Reading {
    /// What is left of it.
    pub columns: Record,
    /// What the content calls otherwise than the record did, each once.
    pub renamed: Vec<Renamed>,
}

impl Reading {
    /// Note that a name is another one from here on.
    pub fn note(&mut self, renamed: Renamed) {
        if !self.renamed.contains(&renamed) {
            self.renamed.push(renamed);
        }
    }
}

impl From<Record> for Reading {
    fn from(columns: Record) -> Self {
        Self { columns, renamed: Vec::new() }
    }
}

impl Deref for Reading {
    type Target = Record;

    fn deref(&self) -> &Record {
        &self.columns
    }
}

impl DerefMut for Reading {
    fn deref_mut(&mut self) -> &mut Record {
        &mut self.columns
    }
}

/// How much of a bad row is kept.
pub const RAW_BYTES: usize = 64 << 10;

/// Take a text that must be there.
pub fn text(record: &mut Record, column: &str) -> Result<String, String> {
    match record.shift_remove(column) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(wrong(column, &other, "text")),
        None => Err(missing(record, column)),
    }
}

/// Take a text that may be absent or null.
pub fn optional_text(record: &mut Record, column: &str) -> Result<Option<String>, String> {
    optional(record, column, text)
}

/// Take a value, or nothing where the column is absent or null.
pub fn optional<T>(
    record: &mut Record,
    column: &str,
    take: impl FnOnce(&mut Record, &str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    match record.get(column) {
        None | Some(Value::Null) => Ok(record.shift_remove(column).and(None)),
        Some(_) => take(record, column).map(Some),
    }
}

/// A system turn, of a text that says anything.
pub fn system_turn(text: Option<String>) -> Option<Message> {
    text.filter(|text| !text.trim().is_empty()).map(|text| Message::new("system", text))
}

/// "column `x` holds a list, where text is required".
pub fn wrong(column: &str, value: &Value, wanted: &str) -> String {
    format!("column `{column}` holds {}, where {wanted} is required", shown(value))
}

/// "column `x` is missing; there are a, b".
pub fn missing(record: &Record, column: &str) -> String {
    let mut keys: Vec<&String> = record.keys().collect();
    keys.sort_unstable();
    let there: Names = keys.into_iter().collect();
    let there = if there.count() == 0 { "there are no others".to_owned() } else { format!("there are {there}") };
    format!("column `{column}` is missing; {there} (map names with `rename` in the recipe's [[source]])")
}

/// What is said where two columns have one name, or two fields of a column: one would hide the other.
pub fn twice(fields: &Fields) -> Option<String> {
    let inside = |field: &Arc<Field>| inside(field).map(|what| format!("column `{}` {what}", short(field.name())));
    second("columns", fields).or_else(|| fields.iter().find_map(inside))
}

/// The same of these alone, and not of what is in them.
fn second(what: &str, fields: &Fields) -> Option<String> {
    let mut seen = HashSet::new();
    fields.iter().find(|field| !seen.insert(field.name())).map(|second| has_two(what, second.name()))
}

/// What is said of two columns, fields or keys of one name.
pub fn has_two(what: &str, name: &str) -> String {
    format!("has two {what} called `{}`, of which one would hide the other: give each a name of its own", short(name))
}

fn inside(field: &Field) -> Option<String> {
    match field.data_type() {
        DataType::Struct(fields) => second("fields", fields).or_else(|| fields.iter().find_map(|field| inside(field))),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => inside(item),
        _ => None,
    }
}

/// A value's type, for messages.
pub fn shown(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) if value::wide_number(value).is_some() => "a number",
        Value::Object(_) => "an object",
    }
}

/// What fits of a bad row's bytes, as text.
pub fn raw(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(RAW_BYTES)];
    let mut text = String::from_utf8_lossy(cut).into_owned();
    if cut.len() < bytes.len() {
        text.push_str(" [cut]");
    }
    text
}
