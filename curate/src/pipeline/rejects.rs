//! Rejects: every dropped row, whole, as it entered the stage that dropped it, with what dropped it.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, Int32Builder, RecordBatch, StringArray, StringBuilder, UInt32Array, UInt64Builder},
    compute::take,
    datatypes::{DataType, Field, Schema, SchemaRef, UInt16Type, UInt32Type},
};
use setaccio_dataset::columns::{ContentBuilder, content_fields};
use setaccio_filters::{
    hash::hex,
    row::{Kind, Row},
};

use crate::{
    error::{Error, Result},
    pipeline::key,
    pipeline::spill::{HIDDEN, meta_json},
    source::Position,
};

/// Columns of every rejects file of a recipe of `kind`.
pub fn schema(kind: Kind) -> SchemaRef {
    let text = |name| Field::new(name, DataType::Utf8, true);
    let mut fields = vec![
        text("stage"),
        text("rule"),
        text("detail"),
        text("source"),
        text("file"),
        Field::new("row_group", DataType::Int32, true),
        Field::new("row", DataType::UInt64, true),
        text("id"),
        text("language"),
    ];
    fields.extend(content_fields(kind));
    fields.extend([text("meta"), text("raw")]);
    Arc::new(Schema::new(fields))
}

/// Why a row of a task is dropped, and what is left of it.
pub enum Loss<'a> {
    /// It could not be read; what was read of it, as text.
    Unreadable(&'a str),
    /// A rule of the screen dropped it.
    Screened(&'a Row),
}

/// Collects the rows that one task drops.
pub struct Rejects {
    schema: SchemaRef,
    source: String,
    file: String,
    stage: StringBuilder,
    rule: StringBuilder,
    detail: StringBuilder,
    group: Int32Builder,
    row: UInt64Builder,
    id: StringBuilder,
    language: StringBuilder,
    content: ContentBuilder,
    meta: StringBuilder,
    raw: StringBuilder,
    kind: Kind,
    rows: usize,
    bytes: u64,
}

impl Rejects {
    /// None yet, of this source and file.
    pub fn new(kind: Kind, source: &str, file: &str) -> Self {
        Self {
            schema: schema(kind),
            source: source.to_owned(),
            file: file.to_owned(),
            stage: StringBuilder::new(),
            rule: StringBuilder::new(),
            detail: StringBuilder::new(),
            group: Int32Builder::new(),
            row: UInt64Builder::new(),
            id: StringBuilder::new(),
            language: StringBuilder::new(),
            content: ContentBuilder::new(kind),
            meta: StringBuilder::new(),
            raw: StringBuilder::new(),
            kind,
            rows: 0,
            bytes: 0,
        }
    }

    /// Add one.
    pub fn push(&mut self, at: Position, rule: &str, detail: &str, loss: &Loss<'_>) {
        let row = match loss {
            Loss::Unreadable(raw) => {
                self.stage.append_value("read");
                self.raw.append_value(raw);
                self.bytes += raw.len() as u64;
                None
            }
            Loss::Screened(row) => {
                self.stage.append_value("screen");
                self.raw.append_null();
                self.bytes += row.content.bytes();
                Some(*row)
            }
        };
        self.rule.append_value(rule);
        self.detail.append_value(detail);
        self.group.append_option(at.row_group.and_then(|g| i32::try_from(g).ok()));
        self.row.append_value(at.row);
        self.id.append_option(row.map(|r| hex(&key::id(&r.content))));
        self.language.append_option(row.and_then(|r| r.language.as_deref()));
        self.content.push(row.map(|r| &r.content));
        self.meta.append_option(row.map(meta_json));
        self.rows += 1;
    }

    /// Bytes of text held.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What is held, and its bytes; `None` if that is nothing.
    ///
    /// # Errors
    /// Never, but for a fault of ours.
    pub fn drain(&mut self) -> Result<Option<(RecordBatch, u64)>> {
        if self.rows == 0 {
            return Ok(None);
        }
        let repeat = |text: &str| Arc::new(StringArray::from(vec![text; self.rows])) as ArrayRef;
        let (source, file) = (repeat(&self.source), repeat(&self.file));
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(self.stage.finish()),
            Arc::new(self.rule.finish()),
            Arc::new(self.detail.finish()),
            source,
            file,
            Arc::new(self.group.finish()),
            Arc::new(self.row.finish()),
            Arc::new(self.id.finish()),
            Arc::new(self.language.finish()),
        ];
        columns.extend(self.content.finish());
        columns.push(Arc::new(self.meta.finish()));
        columns.push(Arc::new(self.raw.finish()));
        let batch = RecordBatch::try_new(self.schema.clone(), columns).map_err(Error::encode("rejects"))?;
        self.rows = 0;
        self.content = ContentBuilder::new(self.kind);
        Ok(Some((batch, std::mem::take(&mut self.bytes))))
    }
}

/// A row that merging drops: its place in the carried batch, the stage, and the detail.
/// The rule of such a stage has the stage's name.
pub struct Merged {
    /// Row of the carried batch.
    pub row: u32,
    /// Bytes of its content.
    pub bytes: u64,
    /// `dedup` or `sample`.
    pub stage: &'static str,
    /// Which row it repeats, or why it is not of the sample.
    pub detail: String,
}

/// Rejects of the merging stages. `sources` and `files` are the names that the batch's numbers stand for.
///
/// # Errors
/// Never, but for a fault of ours.
pub fn merged(
    kind: Kind,
    batch: &RecordBatch,
    lost: &[Merged],
    sources: &[&str],
    files: &[&str],
) -> Result<RecordBatch> {
    let rows = UInt32Array::from_iter_values(lost.iter().map(|l| l.row));
    let taken = |column: usize| take(batch.column(column), &rows, None).map_err(Error::encode("rejects"));
    let text = |f: &dyn Fn(&Merged) -> String| Arc::new(StringArray::from_iter_values(lost.iter().map(f))) as ArrayRef;
    let named = |index: Option<usize>, names: &[&str]| index.and_then(|i| names.get(i)).copied().map(str::to_owned);
    let source = taken(2)?;
    let source = source.as_primitive::<UInt16Type>();
    let file = taken(7)?;
    let file = file.as_primitive::<UInt32Type>();
    let mut columns: Vec<ArrayRef> = vec![
        text(&|l| l.stage.to_owned()),
        text(&|l| l.stage.to_owned()),
        text(&|l| l.detail.clone()),
        Arc::new(source.iter().map(|i| named(i.map(usize::from), sources)).collect::<StringArray>()),
        Arc::new(file.iter().map(|i| named(i.map(|i| i as usize), files)).collect::<StringArray>()),
        taken(8)?,
        taken(9)?,
        taken(HIDDEN)?,
        taken(HIDDEN + 1)?,
    ];
    for side in 0..content_fields(kind).len() {
        columns.push(taken(HIDDEN + 2 + side)?);
    }
    columns.push(taken(10)?);
    columns.push(arrow::array::new_null_array(&DataType::Utf8, rows.len()));
    RecordBatch::try_new(schema(kind), columns).map_err(Error::encode("rejects"))
}
