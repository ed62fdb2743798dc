//! Rows between the tasks and the shards, as they lie in the spill files: the columns of the output, and hidden ones
//! that say what the resolver, the lengths and the rejects need to know of each row.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arrow_array::{
    Array, ArrayRef, FixedSizeBinaryArray, Int32Array, RecordBatch, StringArray, UInt16Array, UInt32Array, UInt64Array,
    cast::AsArray,
    types::{Int32Type, UInt32Type, UInt64Type},
};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use serde_json::Value;
use setaccio_base::{
    row::{Content, Kind, Row},
    sha256::hex,
    value,
};
use setaccio_dataset::{
    columns::{ContentBuilder, Extras, content_fields, content_names},
    recipe::{Dedup, Output, Recipe},
    shard::Position,
};
use setaccio_templates::Renderer;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    extras::{self, EXTRAS},
    keep,
};
use crate::{
    error::{Error, Result},
    key::{self, Key},
};

/// What the names of hidden columns begin with.
const HIDDEN: &str = "setaccio:";
/// Place of the row in the output, u64.
pub const ORDER: &str = "setaccio:order";
/// Hash of the normalised content, 16 bytes.
pub const SAME: &str = "setaccio:same";
/// Number of the row's source, u16.
pub const SOURCE: &str = "setaccio:source";
/// Hash of its label, u64; null if it has none.
pub const LABEL: &str = "setaccio:label";
/// Which of two equal rows is kept, u64: the one with more kept columns filled, then by a hash of these.
pub const TIE: &str = "setaccio:tie";
/// Hash of all its columns, u64, where the kept ones are equal.
pub const REST: &str = "setaccio:rest";
/// Bytes of its content, u64.
pub const BYTES: &str = "setaccio:bytes";
/// Characters of its content, u32.
pub const CHARACTERS: &str = "setaccio:characters";
/// Words of its content, u32.
pub const WORDS: &str = "setaccio:words";
/// Its messages, u32.
pub const TURNS: &str = "setaccio:turns";
/// Number of its input file, u32: in a spill file that among the task's, later that in the plan.
pub const FILE: &str = "setaccio:file";
/// Its row group in that file, i32.
pub const ROW_GROUP: &str = "setaccio:row_group";
/// Its row in that file, u64.
pub const ROW: &str = "setaccio:row";
/// The source's other columns, JSON.
pub const META: &str = "setaccio:meta";
/// Hash of its content, hex.
pub const ID: &str = "id";
/// Its language, or null.
pub const LANGUAGE: &str = "language";
/// Tokens of its text through the template, i32.
pub const TOKENS: &str = "tokens";

/// Columns that are enough to decide which rows stay.
pub const DECIDING: [&str; 11] = [ORDER, SAME, SOURCE, BYTES, ID, LABEL, TIE, REST, FILE, ROW_GROUP, ROW];

/// Columns of a spill file: hidden ones, then `id`, `language`, content, kept columns, rendered text, tokens.
pub fn schema(recipe: &Recipe, renderer: &Renderer) -> SchemaRef {
    let mut fields: Vec<Field> = [
        (ORDER, DataType::UInt64),
        (SAME, DataType::FixedSizeBinary(16)),
        (LABEL, DataType::UInt64),
        (TIE, DataType::UInt64),
        (REST, DataType::UInt64),
        (SOURCE, DataType::UInt16),
        (BYTES, DataType::UInt64),
        (CHARACTERS, DataType::UInt32),
        (WORDS, DataType::UInt32),
        (TURNS, DataType::UInt32),
        (FILE, DataType::UInt32),
        (ROW_GROUP, DataType::Int32),
        (ROW, DataType::UInt64),
        (META, DataType::Utf8),
        (EXTRAS, DataType::Utf8),
        (ID, DataType::Utf8),
        (LANGUAGE, DataType::Utf8),
    ]
    .map(|(name, data_type)| Field::new(name, data_type, true))
    .into();
    fields.extend(content_fields(recipe.kind, &Extras::default()));
    fields.extend(recipe.kept().map(|(name, kind)| keep::field(name, kind)));
    if renderer.renders() {
        fields.push(Field::new(&recipe.output.rendered, DataType::Utf8, true));
    }
    if renderer.counts() {
        fields.push(Field::new(TOKENS, DataType::Int32, true));
    }
    Arc::new(Schema::new(fields))
}

/// Columns of the shards: those of a spill file that are not hidden, `source` after `id`, and the content with the
/// `extras` that occur.
pub fn output_schema(spill: &Schema, kind: Kind, extras: &Extras) -> SchemaRef {
    let content = content_names(kind);
    let mut fields = Vec::new();
    for field in spill.fields().iter().filter(|f| !f.name().starts_with(HIDDEN)) {
        match field.name().as_str() {
            ID => fields.extend([field.clone(), Arc::new(Field::new("source", DataType::Utf8, true))]),
            name if name == content[0] => fields.extend(content_fields(kind, extras).into_iter().map(Arc::new)),
            name if content.contains(&name) => {}
            _ => fields.push(field.clone()),
        }
    }
    Arc::new(Schema::new(fields))
}

/// A column of a batch of a spill file.
pub fn column<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b ArrayRef> {
    let missing = || Error::Encode { path: "spill file".into(), message: format!("column `{name}` is missing") };
    batch.column_by_name(name).ok_or_else(missing)
}

/// The id of a row of a batch of a spill file.
pub fn id(batch: &RecordBatch, row: usize) -> Result<[u8; 16]> {
    let hex = column(batch, ID)?.as_string::<i32>().value(row);
    let id = u128::from_str_radix(hex, 16).map_err(|e| Error::spoilt(format!("id {hex:?}: {e}")))?;
    Ok(id.to_be_bytes())
}

/// A row that passed the filters, with the place it came from.
pub struct SpillRow {
    /// The row, edited.
    pub row: Row,
    /// Its place in the file.
    pub at: Position,
    /// Which of the task's files it is from.
    pub part: u32,
    /// Its key.
    pub key: Key,
    /// Its text through the template, and the tokens of that, where the recipe wants them.
    rendered: Option<(String, i32)>,
}

impl SpillRow {
    /// Its text through the template, where the recipe wants one.
    pub fn rendered(&self) -> Option<&str> {
        self.rendered.as_ref().map(|(text, _)| text.as_str())
    }
}

/// A content through the template, and the tokens of that, where the recipe wants them.
fn rendered(renderer: &Renderer, content: &Content) -> std::result::Result<Option<(String, i32)>, String> {
    if !renderer.renders() && !renderer.counts() {
        return Ok(None);
    }
    let text = renderer.render(content)?;
    let tokens = renderer.count(&text)?;
    Ok(Some((text, tokens)))
}

/// Characters and words of a content.
fn lengths(content: &Content) -> [u32; 2] {
    let characters = content.texts().map(|text| text.chars().count()).sum::<usize>();
    let words = content.texts().map(|text| text.split_whitespace().count()).sum::<usize>();
    [characters, words].map(|count| u32::try_from(count).unwrap_or(u32::MAX))
}

/// A batch of texts with others in some of its rows, by number, and all columns that measure or render what a row says. Its id
/// stays: by it rejects and people name the row.
pub fn with_texts(
    batch: &RecordBatch,
    texts: &BTreeMap<usize, Content>,
    output: &Output,
    renderer: &Renderer,
) -> Result<RecordBatch> {
    let lengths: BTreeMap<usize, [u32; 2]> = texts.iter().map(|(row, content)| (*row, lengths(content))).collect();
    let mut all_rendered = BTreeMap::new();
    for (row, content) in texts {
        all_rendered.extend(rendered(renderer, content).map_err(Error::spoilt)?.map(|rendered| (*row, rendered)));
    }
    let numbers = |array: &ArrayRef, which: usize| -> ArrayRef {
        let old = array.as_primitive::<UInt32Type>();
        let new = |row: usize| lengths.get(&row).map_or(old.value(row), |lengths| lengths[which]);
        Arc::new(UInt32Array::from_iter_values((0..old.len()).map(new)))
    };
    let strings = |array: &ArrayRef, new: &dyn Fn(usize) -> Option<String>| -> ArrayRef {
        let old = array.as_string::<i32>();
        let value =
            |row| new(row).map_or_else(|| old.is_valid(row).then(|| Cow::Borrowed(old.value(row))), |v| Some(v.into()));
        Arc::new((0..old.len()).map(value).collect::<StringArray>())
    };
    let said = |row: usize| texts.get(&row).and_then(|content| content.texts().next());
    let column = |(field, array): (&Arc<Field>, &ArrayRef)| -> ArrayRef {
        match field.name().as_str() {
            BYTES => {
                let old = array.as_primitive::<UInt64Type>();
                let new = |row| texts.get(&row).map_or(old.value(row), Content::bytes);
                Arc::new(UInt64Array::from_iter_values((0..old.len()).map(new)))
            }
            CHARACTERS => numbers(array, 0),
            WORDS => numbers(array, 1),
            TOKENS if renderer.counts() => {
                let old = array.as_primitive::<Int32Type>();
                let new = |row| all_rendered.get(&row).map_or(old.value(row), |(_, tokens)| *tokens);
                Arc::new(Int32Array::from_iter_values((0..old.len()).map(new)))
            }
            name if renderer.renders() && name == output.rendered => {
                strings(array, &|row| all_rendered.get(&row).map(|(text, _)| text.clone()))
            }
            name if name == content_names(Kind::Text)[0] => strings(array, &|row| said(row).map(str::to_owned)),
            _ => array.clone(),
        }
    };
    let columns = batch.schema_ref().fields().iter().zip(batch.columns()).map(column).collect();
    RecordBatch::try_new(batch.schema(), columns).map_err(Error::encode("spill file"))
}

/// Makes rows and batches of a spill file.
pub struct SpillBuilder<'a> {
    recipe: &'a Recipe,
    renderer: &'a Renderer,
    dedup: Dedup,
    schema: SchemaRef,
}

impl<'a> SpillBuilder<'a> {
    /// For the rows of `recipe`.
    pub fn new(recipe: &'a Recipe, renderer: &'a Renderer) -> Self {
        let dedup = recipe.dedup.clone().unwrap_or_default();
        Self { recipe, renderer, dedup, schema: schema(recipe, renderer) }
    }

    /// Make a row ready for the output, or say why the output has no place for it.
    ///
    /// # Errors
    /// A kept column of another type, or a template or tokenizer that fails on the row; the row comes back.
    #[allow(clippy::result_large_err, reason = "no larger than what comes back when it is well")]
    pub fn row(&self, row: Row, at: Position) -> std::result::Result<SpillRow, (Row, String)> {
        for (column, kind) in self.recipe.kept() {
            if let Err(e) = keep::fits(kind, row.columns.get(column)) {
                return Err((row, format!("kept column `{column}` {e}")));
            }
        }
        let rendered = match rendered(self.renderer, &row.content) {
            Ok(rendered) => rendered,
            Err(reason) => return Err((row, reason)),
        };
        let key = Key::new(&row.content, &self.dedup, self.recipe.seed);
        Ok(SpillRow { row, at, part: 0, key, rendered })
    }

    /// What decides between rows that say the same: kept columns without a value first, then a hash of their values.
    fn tie(&self, row: &Row) -> u64 {
        let kept = self.recipe.kept().map(|(name, _)| (name.as_str(), row.columns.get(name)));
        let kept: Vec<(&str, Option<&Value>)> =
            kept.map(|(name, held)| (name, held.filter(|v| !v.is_null()))).collect();
        if kept.is_empty() {
            return 0;
        }
        let empty = kept.iter().filter(|(_, held)| held.is_none()).count().min(255) as u64;
        let json = value::object_to_json(kept.iter().filter_map(|(name, held)| Some((*name, (*held)?))));
        empty << 56 | xxh3_64(json.as_bytes()) >> 8
    }

    /// Rows of one task as a batch; `source` is the number of theirs, `name` what errors call the batch.
    pub fn batch(&self, rows: &[SpillRow], source: u16, name: &str) -> Result<RecordBatch> {
        let lengths: Vec<[u32; 2]> = rows.iter().map(|row| lengths(&row.row.content)).collect();
        let numbers = |f: &dyn Fn(&SpillRow) -> u64| Arc::new(UInt64Array::from_iter_values(rows.iter().map(f)));
        let [characters, words] = [0, 1].map(|which| {
            Arc::new(UInt32Array::from_iter_values(lengths.iter().map(|lengths: &[u32; 2]| lengths[which])))
        });
        let turns = rows.iter().map(|r| u32::try_from(r.row.content.messages().count()).unwrap_or(u32::MAX));
        let texts = |f: &dyn Fn(&SpillRow) -> String| Arc::new(StringArray::from_iter_values(rows.iter().map(f)));
        let metas: Vec<String> = rows.iter().map(|r| meta_json(&r.row)).collect();
        let label = |row: &SpillRow| {
            let held = row.row.columns.get(self.recipe.label()?).filter(|held| !held.is_null())?;
            Some(xxh3_64(value::to_json(held).as_bytes()))
        };
        let extras = rows.iter().map(|r| extras::to_json(&r.row.content).map(|e| e.to_string()));
        let same = FixedSizeBinaryArray::try_from_iter(rows.iter().map(|r| r.key.same.to_be_bytes()));
        let groups = rows.iter().map(|r| r.at.row_group.and_then(|g| i32::try_from(g).ok()));
        let known: Vec<(&str, ArrayRef)> = vec![
            (ORDER, numbers(&|r| r.key.order)),
            (SAME, Arc::new(same.map_err(Error::encode(name))?)),
            (LABEL, Arc::new(rows.iter().map(label).collect::<UInt64Array>())),
            (TIE, numbers(&|r| self.tie(&r.row))),
            (REST, Arc::new(UInt64Array::from_iter_values(metas.iter().map(|meta| xxh3_64(meta.as_bytes()))))),
            (SOURCE, Arc::new(UInt16Array::from_value(source, rows.len()))),
            (BYTES, numbers(&|r| r.row.content.bytes())),
            (CHARACTERS, characters),
            (WORDS, words),
            (TURNS, Arc::new(UInt32Array::from_iter_values(turns))),
            (FILE, Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.part)))),
            (ROW_GROUP, Arc::new(groups.collect::<Int32Array>())),
            (ROW, numbers(&|r| r.at.row)),
            (META, Arc::new(StringArray::from_iter_values(metas))),
            (EXTRAS, Arc::new(extras.collect::<StringArray>())),
            (ID, texts(&|r| hex(&key::id(&r.row.content)))),
            (LANGUAGE, Arc::new(rows.iter().map(|r| r.row.language.as_deref()).collect::<StringArray>())),
        ];
        let mut columns: HashMap<&str, ArrayRef> = known.into_iter().collect();
        let mut content = ContentBuilder::new(self.recipe.kind, &Extras::default());
        for row in rows {
            content.push(Some(&row.row.content));
        }
        columns.extend(content_names(self.recipe.kind).iter().copied().zip(content.finish()));
        for (column, kind) in self.recipe.kept() {
            columns.insert(column, keep::array(kind, rows.iter().map(|r| r.row.columns.get(column))));
        }
        let rendered = || rows.iter().filter_map(|r| r.rendered.as_ref());
        if self.renderer.renders() {
            let text = StringArray::from_iter_values(rendered().map(|(text, _)| text));
            columns.insert(&self.recipe.output.rendered, Arc::new(text));
        }
        if self.renderer.counts() {
            columns.insert(TOKENS, Arc::new(Int32Array::from_iter_values(rendered().map(|(_, tokens)| *tokens))));
        }
        let columns = self.schema.fields().iter().filter_map(|field| columns.remove(field.name().as_str()));
        RecordBatch::try_new(self.schema.clone(), columns.collect()).map_err(Error::encode(name))
    }
}

/// The source's other columns as one JSON object, and what a conversation holds beside roles and contents.
pub fn meta_json(row: &Row) -> String {
    let extras = extras::to_json(&row.content);
    let mut meta: BTreeMap<&str, &Value> = row.columns.iter().map(|(name, value)| (name.as_str(), value)).collect();
    meta.extend(extras.as_ref().map(|extras| (EXTRAS, extras)));
    value::object_to_json(meta)
}
