//! Screened rows on their way from the tasks to the shards: the columns of the output, and before
//! them what merging needs to know of each row. Their names start with `_` and end here.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, FixedSizeBinaryBuilder, Int32Builder, RecordBatch, StringBuilder, UInt16Builder, UInt32Builder,
        UInt64Builder,
    },
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use setaccio_dataset::columns::{ContentBuilder, content_fields};
use setaccio_filters::{hash::hex, row::Row};

use crate::{
    error::{Error, Result},
    pipeline::keep::{KeptBuilder, fits},
    pipeline::key::{self, Key},
    recipe::{Dedup, Recipe},
    source::Position,
};
use setaccio_templates::Renderer;

/// How many leading columns are ours alone.
pub const HIDDEN: usize = 11;

/// Columns that are enough to decide which rows stay.
pub const DECIDING: [usize; 5] = [0, 1, 2, 3, HIDDEN];

/// Columns of a carried batch: [`HIDDEN`] ones, then `id`, `language`, content, kept, rendered, tokens.
pub fn schema(recipe: &Recipe, renderer: &Renderer) -> SchemaRef {
    let hidden = [
        ("_order", DataType::UInt64),
        ("_same", DataType::FixedSizeBinary(16)),
        ("_source", DataType::UInt16),
        ("_bytes", DataType::UInt64),
        ("_characters", DataType::UInt32),
        ("_words", DataType::UInt32),
        ("_turns", DataType::UInt32),
        ("_file", DataType::UInt32),
        ("_group", DataType::Int32),
        ("_row", DataType::UInt64),
        ("_meta", DataType::Utf8),
    ];
    debug_assert_eq!(hidden.len(), HIDDEN);
    let mut fields: Vec<Field> = hidden.into_iter().map(|(name, kind)| Field::new(name, kind, true)).collect();
    fields.extend(["id", "language"].map(|name| Field::new(name, DataType::Utf8, true)));
    fields.extend(content_fields(recipe.kind));
    fields.extend(recipe.output.keep.iter().map(|(name, kind)| KeptBuilder::field(name, *kind)));
    if renderer.renders() {
        fields.push(Field::new(&recipe.output.rendered, DataType::Utf8, true));
    }
    if renderer.counts() {
        fields.push(Field::new("tokens", DataType::Int32, true));
    }
    Arc::new(Schema::new(fields))
}

/// Columns of the shards: `id`, `source`, `language`, then the rest of a carried batch.
pub fn output_schema(carried: &Schema) -> SchemaRef {
    let mut fields: Vec<Field> = carried.fields()[HIDDEN..].iter().map(|f| f.as_ref().clone()).collect();
    fields.insert(1, Field::new("source", DataType::Utf8, true));
    Arc::new(Schema::new(fields))
}

/// A row that passed the screen, with the place it came from.
pub struct Passed {
    /// The row, edited.
    pub row: Row,
    /// Its place in the file.
    pub at: Position,
    /// Its key.
    pub key: Key,
    /// Its text through the template, and the tokens of that, where the recipe wants them.
    rendered: Option<(String, i32)>,
}

/// Makes carried batches.
pub struct Carrier<'a> {
    recipe: &'a Recipe,
    renderer: &'a Renderer,
    dedup: Dedup,
    schema: SchemaRef,
}

impl<'a> Carrier<'a> {
    /// For the rows of `recipe`.
    pub fn new(recipe: &'a Recipe, renderer: &'a Renderer) -> Self {
        let dedup = recipe.dedup.clone().unwrap_or_default();
        Self { recipe, renderer, dedup, schema: schema(recipe, renderer) }
    }

    /// Make a row ready to be carried, or say why the output has no place for it.
    ///
    /// # Errors
    /// A kept column of another type, or a template or tokenizer that fails on the row; the row comes back.
    #[allow(clippy::result_large_err, reason = "no larger than what comes back when it is well")]
    pub fn pass(&self, row: Row, at: Position) -> std::result::Result<Passed, (Row, String)> {
        for (column, kind) in &self.recipe.output.keep {
            if let Err(e) = fits(*kind, row.columns.get(column)) {
                return Err((row, format!("kept column `{column}` {e}")));
            }
        }
        let rendered = match self.rendered(&row) {
            Ok(rendered) => rendered,
            Err(reason) => return Err((row, reason)),
        };
        let key = Key::new(&row.content, &self.dedup, self.recipe.seed);
        Ok(Passed { row, at, key, rendered })
    }

    fn rendered(&self, row: &Row) -> std::result::Result<Option<(String, i32)>, String> {
        if !self.renderer.renders() && !self.renderer.counts() {
            return Ok(None);
        }
        let text = self.renderer.render(&row.content)?;
        let tokens = self.renderer.count(&text)?;
        Ok(Some((text, tokens)))
    }

    /// Rows of one source file as a batch.
    ///
    /// # Errors
    /// Arrow refuses the columns.
    pub fn batch(&self, rows: &[Passed], source: u16, file: u32, name: &str) -> Result<RecordBatch> {
        let n = rows.len();
        let (mut order, mut same) = (UInt64Builder::with_capacity(n), FixedSizeBinaryBuilder::with_capacity(n, 16));
        let (mut bytes, mut row_number) = (UInt64Builder::with_capacity(n), UInt64Builder::with_capacity(n));
        let (mut sources, mut files) = (UInt16Builder::with_capacity(n), UInt32Builder::with_capacity(n));
        let (mut characters, mut words) = (UInt32Builder::with_capacity(n), UInt32Builder::with_capacity(n));
        let (mut turns, mut groups) = (UInt32Builder::with_capacity(n), Int32Builder::with_capacity(n));
        let (mut meta, mut ids, mut languages) = (StringBuilder::new(), StringBuilder::new(), StringBuilder::new());
        let mut content = ContentBuilder::new(self.recipe.kind);
        let mut kept: Vec<_> =
            self.recipe.output.keep.iter().map(|(name, kind)| (name, KeptBuilder::new(*kind))).collect();
        let (mut rendered, mut tokens) = (StringBuilder::new(), Int32Builder::new());
        for Passed { row, at, key, rendered: through } in rows {
            order.append_value(key.order);
            same.append_value(key.same.to_be_bytes()).map_err(Error::encode(name))?;
            sources.append_value(source);
            files.append_value(file);
            groups.append_option(at.row_group.and_then(|g| i32::try_from(g).ok()));
            row_number.append_value(at.row);
            bytes.append_value(row.content.bytes());
            let count = |f: fn(&str) -> usize| u32::try_from(row.content.texts().map(f).sum::<usize>());
            characters.append_value(count(|t| t.chars().count()).unwrap_or(u32::MAX));
            words.append_value(count(|t| t.split_whitespace().count()).unwrap_or(u32::MAX));
            turns.append_value(u32::try_from(row.content.messages().count()).unwrap_or(u32::MAX));
            meta.append_value(meta_json(row));
            ids.append_value(hex(&key::id(&row.content)));
            languages.append_option(row.language.as_deref());
            content.push(Some(&row.content));
            for (column, builder) in &mut kept {
                builder.push(row.columns.get(*column));
            }
            if let Some((text, count)) = through {
                rendered.append_value(text);
                tokens.append_value(*count);
            }
        }
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(order.finish()),
            Arc::new(same.finish()),
            Arc::new(sources.finish()),
            Arc::new(bytes.finish()),
            Arc::new(characters.finish()),
            Arc::new(words.finish()),
            Arc::new(turns.finish()),
            Arc::new(files.finish()),
            Arc::new(groups.finish()),
            Arc::new(row_number.finish()),
            Arc::new(meta.finish()),
            Arc::new(ids.finish()),
            Arc::new(languages.finish()),
        ];
        columns.extend(content.finish());
        columns.extend(kept.iter_mut().map(|(_, builder)| builder.finish()));
        if self.renderer.renders() {
            columns.push(Arc::new(rendered.finish()));
        }
        if self.renderer.counts() {
            columns.push(Arc::new(tokens.finish()));
        }
        RecordBatch::try_new(self.schema.clone(), columns).map_err(Error::encode(name))
    }
}

/// The source's other columns as one JSON object.
pub fn meta_json(row: &Row) -> String {
    serde_json::to_string(&row.columns).unwrap_or_default()
}
