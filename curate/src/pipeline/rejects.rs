//! Rejects: every dropped row, whole, as it entered the stage that dropped it, with what dropped it.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, Int32Array, RecordBatch, StringArray, UInt32Array, UInt64Array,
    cast::AsArray,
    new_null_array,
    types::{UInt16Type, UInt32Type},
};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::take::take;
use setaccio_base::{
    row::{Kind, Row},
    sha256::hex,
};
use setaccio_dataset::{
    columns::{ContentBuilder, Extras, content_fields, content_names},
    shard::Position,
};

use super::spill::{self, meta_json};
use crate::{
    error::{Error, Result},
    key,
};

/// The column that names the message of a conversation that a filter dropped the row for; null: the row as a whole.
pub const MESSAGE: &str = "message";

/// Columns of every rejects file of a recipe of `kind`.
pub fn schema(kind: Kind) -> SchemaRef {
    let text = |name| Field::new(name, DataType::Utf8, true);
    let mut fields = vec![text("stage"), text("rule"), text("detail")];
    // Of a text there are no messages.
    fields.extend((kind != Kind::Text).then(|| text(MESSAGE)));
    fields.extend([
        text("source"),
        text("file"),
        Field::new("row_group", DataType::Int32, true),
        Field::new("row", DataType::UInt64, true),
        text(spill::ID),
        text(spill::LANGUAGE),
    ]);
    fields.extend(content_fields(kind, &Extras::default()));
    fields.extend([text("meta"), text("raw")]);
    Arc::new(Schema::new(fields))
}

/// A batch of these columns, which may come in any order.
fn to_batch(kind: Kind, columns: impl IntoIterator<Item = (&'static str, ArrayRef)>) -> Result<RecordBatch> {
    let schema = schema(kind);
    let mut columns: std::collections::HashMap<&str, ArrayRef> = columns.into_iter().collect();
    let columns = schema.fields().iter().filter_map(|field| columns.remove(field.name().as_str())).collect();
    RecordBatch::try_new(schema, columns).map_err(Error::encode("rejects"))
}

fn texts<T: AsRef<str>>(values: impl Iterator<Item = Option<T>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

/// What is left of a row that a task drops.
pub enum Remains {
    /// It could not be read; what was read of it, as text.
    Raw(String),
    /// A filter dropped it, for this message if it is one of a conversation, or the output has no place for it.
    Row(Box<Row>, Option<String>),
}

struct Reject {
    file: Arc<str>,
    at: Position,
    rule: String,
    detail: String,
    remains: Remains,
}

impl Reject {
    fn row(&self) -> Option<&Row> {
        match &self.remains {
            Remains::Row(row, _) => Some(row),
            Remains::Raw(_) => None,
        }
    }

    fn message(&self) -> Option<&str> {
        match &self.remains {
            Remains::Row(_, message) => message.as_deref(),
            Remains::Raw(_) => None,
        }
    }

    fn raw(&self) -> Option<&str> {
        match &self.remains {
            Remains::Raw(raw) => Some(raw),
            Remains::Row(..) => None,
        }
    }
}

/// Collects the rows that one task drops.
pub struct Rejects {
    kind: Kind,
    source: String,
    file: Arc<str>,
    rows: Vec<Reject>,
    bytes: u64,
}

impl Rejects {
    /// None yet, of this source.
    pub fn new(kind: Kind, source: &str) -> Self {
        Self { kind, source: source.to_owned(), file: "".into(), rows: Vec::new(), bytes: 0 }
    }

    /// What comes from now on is of this file.
    pub fn of_file(&mut self, name: &str) {
        self.file = name.into();
    }

    /// Add one.
    pub fn push(&mut self, at: Position, rule: &str, detail: String, remains: Remains) {
        self.bytes += match &remains {
            Remains::Raw(raw) => raw.len() as u64,
            Remains::Row(row, _) => row.content.bytes(),
        };
        self.rows.push(Reject { file: self.file.clone(), at, rule: rule.to_owned(), detail, remains });
    }

    /// Bytes of text held.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What is held, and its bytes; `None` if that is nothing.
    pub fn drain(&mut self) -> Result<Option<(RecordBatch, u64)>> {
        let rows = std::mem::take(&mut self.rows);
        if rows.is_empty() {
            return Ok(None);
        }
        let groups = rows.iter().map(|r| r.at.row_group.and_then(|g| i32::try_from(g).ok()));
        let mut content = ContentBuilder::new(self.kind, &Extras::default());
        for reject in &rows {
            content.push(reject.row().map(|row| &row.content));
        }
        let mut columns: Vec<(&'static str, ArrayRef)> = vec![
            ("stage", texts(rows.iter().map(|r| Some(if r.row().is_some() { "screen" } else { "read" })))),
            ("rule", texts(rows.iter().map(|r| Some(&r.rule)))),
            ("detail", texts(rows.iter().map(|r| Some(&r.detail)))),
            (MESSAGE, texts(rows.iter().map(Reject::message))),
            ("source", texts(rows.iter().map(|_| Some(&self.source)))),
            ("file", texts(rows.iter().map(|r| Some(&r.file)))),
            ("row_group", Arc::new(groups.collect::<Int32Array>())),
            ("row", Arc::new(UInt64Array::from_iter_values(rows.iter().map(|r| r.at.row)))),
            (spill::ID, texts(rows.iter().map(|r| Some(hex(&key::id(&r.row()?.content)))))),
            (spill::LANGUAGE, texts(rows.iter().map(|r| r.row()?.language.as_deref()))),
            ("meta", texts(rows.iter().map(|r| r.row().map(meta_json)))),
            ("raw", texts(rows.iter().map(Reject::raw))),
        ];
        columns.extend(content_names(self.kind).iter().copied().zip(content.finish()));
        Ok(Some((to_batch(self.kind, columns)?, std::mem::take(&mut self.bytes))))
    }
}

/// The rule that drops rows which are the same but for their label.
pub const CONFLICT: &str = "conflict";

/// The rule that drops near-duplicates.
pub const NEAR: &str = "near";

/// The rule that removes what other rows hold, and drops rows of which too little is left.
pub const REPEATS: &str = "repeats";

/// The rule that drops rows which mean nearly what another means.
pub const SEMANTIC: &str = "semantic";

/// A row that the resolver drops: its place in the batch, the stage, the rule and the detail.
pub struct DropRow {
    /// Row of the batch.
    pub row: u32,
    /// Bytes of its content.
    pub bytes: u64,
    /// `dedup` or `sample`.
    pub stage: &'static str,
    /// The stage's name, [`CONFLICT`], [`NEAR`], [`SEMANTIC`], [`REPEATS`] or [`DECONTAMINATION`](super::filter::DECONTAMINATION).
    pub rule: &'static str,
    /// Which row it repeats, or why it is not of the sample.
    pub detail: String,
}

/// Rejects of the resolver. `sources` and `files` are the names that the batch's numbers stand for.
pub fn resolver_rejects(
    kind: Kind,
    batch: &RecordBatch,
    drops: &[DropRow],
    sources: &[&str],
    files: &[&str],
) -> Result<RecordBatch> {
    let rows = UInt32Array::from_iter_values(drops.iter().map(|l| l.row));
    let column = |name: &str| take(spill::column(batch, name)?, &rows, None).map_err(Error::encode("rejects"));
    let (source, file) = (column(spill::SOURCE)?, column(spill::FILE)?);
    let source = source.as_primitive::<UInt16Type>().iter().map(|i| sources.get(usize::from(i?)));
    let file = file.as_primitive::<UInt32Type>().iter().map(|i| files.get(i? as usize));
    let mut columns: Vec<(&'static str, ArrayRef)> = vec![
        ("stage", texts(drops.iter().map(|l| Some(l.stage)))),
        ("rule", texts(drops.iter().map(|l| Some(l.rule)))),
        ("detail", texts(drops.iter().map(|l| Some(&l.detail)))),
        (MESSAGE, new_null_array(&DataType::Utf8, rows.len())),
        ("source", texts(source)),
        ("file", texts(file)),
        ("row_group", column(spill::ROW_GROUP)?),
        ("row", column(spill::ROW)?),
        ("meta", column(spill::META)?),
        ("raw", new_null_array(&DataType::Utf8, rows.len())),
    ];
    for name in [spill::ID, spill::LANGUAGE].into_iter().chain(content_names(kind).iter().copied()) {
        columns.push((name, column(name)?));
    }
    to_batch(kind, columns)
}
