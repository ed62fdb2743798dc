//! Rows as Arrow columns: content in the conversational columns that `datasets` and TRL read.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, ListBuilder, StringBuilder, StructBuilder},
    datatypes::{DataType, Field, Fields},
};
use serde_json::Value;
use setaccio_filters::row::{Content, Kind, Message};

use crate::recipe::ColumnType;

/// `text`, or `messages`, or `prompt`, `chosen`, `rejected`.
pub fn content_fields(kind: Kind) -> Vec<Field> {
    let names: &[&str] = match kind {
        Kind::Text => return vec![Field::new("text", DataType::Utf8, true)],
        Kind::Chat => &["messages"],
        Kind::Preference => &["prompt", "chosen", "rejected"],
    };
    names.iter().map(|n| Field::new(*n, DataType::List(turn_item()), true)).collect()
}

fn turn_fields() -> Fields {
    Fields::from(vec![Field::new("role", DataType::Utf8, true), Field::new("content", DataType::Utf8, true)])
}

fn turn_item() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Struct(turn_fields()), true))
}

/// Collects contents of one kind into columns.
pub enum ContentBuilder {
    /// One column of texts.
    Text(StringBuilder),
    /// One column of message lists a side.
    Sides(Vec<ListBuilder<StructBuilder>>),
}

impl ContentBuilder {
    /// Empty columns for rows of `kind`.
    pub fn new(kind: Kind) -> Self {
        let side = || ListBuilder::new(StructBuilder::from_fields(turn_fields(), 0)).with_field(turn_item());
        match kind {
            Kind::Text => Self::Text(StringBuilder::new()),
            Kind::Chat => Self::Sides(vec![side()]),
            Kind::Preference => Self::Sides(vec![side(), side(), side()]),
        }
    }

    /// Add one row; `None` for a row that could not be read. The content must be of the builder's kind.
    pub fn push(&mut self, content: Option<&Content>) {
        match (self, content) {
            (Self::Text(texts), Some(Content::Text(text))) => texts.append_value(text),
            (Self::Text(texts), _) => texts.append_null(),
            (Self::Sides(sides), Some(Content::Chat(messages))) => turns(&mut sides[0], messages),
            (Self::Sides(sides), Some(Content::Preference { prompt, chosen, rejected })) => {
                for (side, messages) in sides.iter_mut().zip([prompt, chosen, rejected]) {
                    turns(side, messages);
                }
            }
            (Self::Sides(sides), _) => sides.iter_mut().for_each(|s| s.append(false)),
        }
    }

    /// The columns, in the order of [`content_fields`].
    pub fn finish(&mut self) -> Vec<ArrayRef> {
        match self {
            Self::Text(texts) => vec![Arc::new(texts.finish())],
            Self::Sides(sides) => sides.iter_mut().map(|s| Arc::new(s.finish()) as ArrayRef).collect(),
        }
    }
}

fn turns(side: &mut ListBuilder<StructBuilder>, messages: &[Message]) {
    let item = side.values();
    for message in messages {
        for (i, text) in [&message.role, &message.content].into_iter().enumerate() {
            if let Some(column) = item.field_builder::<StringBuilder>(i) {
                column.append_value(text);
            }
        }
        item.append(true);
    }
    side.append(true);
}

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
