//! Vectors between the tasks and the decision: a task writes those of its rows, a block a bucket of the output's order.

use std::{collections::HashMap, path::Path, sync::Arc};

use arrow_array::{Array, ArrayRef, FixedSizeBinaryArray, RecordBatch, UInt32Array, cast::AsArray, types::UInt32Type};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use setaccio_dataset::recipe::{DedupOn, Semantic};
use setaccio_filters::spaceless::count_words;

use super::{TextCount, units::units};
use crate::{
    embedding::{Embedded, Embedder},
    error::{Error, Result},
    key,
    pipeline::{
        spill::{self, SpillRow},
        spill_file::{Block, BlockWriter},
    },
};

/// The id of a row, 16 bytes.
const ID: &str = "id";
/// The number of a text in the row, u32.
const TEXT: &str = "text";
/// Its class, u32.
const CLASS: &str = "class";
/// Its vector, as little-endian f32.
const VECTOR: &str = "vector";

/// Columns of the file, for vectors of so many values.
pub fn schema(dimensions: usize) -> SchemaRef {
    let width = i32::try_from(4 * dimensions).unwrap_or(i32::MAX);
    let fields = [
        (ID, DataType::FixedSizeBinary(16)),
        (TEXT, DataType::UInt32),
        (CLASS, DataType::UInt32),
        (VECTOR, DataType::FixedSizeBinary(width)),
    ];
    Arc::new(Schema::new(fields.map(|(name, kind)| Field::new(name, kind, false)).to_vec()))
}

/// Vectors that are held before they are written, in bytes.
const HELD_BYTES: u64 = 16 << 20;

/// Vectors of one bucket that are not written yet.
#[derive(Default)]
struct Held {
    ids: Vec<u8>,
    texts: Vec<u32>,
    classes: Vec<u32>,
    vectors: Vec<u8>,
}

/// Writes the vectors of rows.
pub struct VectorWriter<'a> {
    settings: &'a Semantic,
    on: DedupOn,
    embedder: &'a Embedder,
    buckets: u32,
    schema: SchemaRef,
    file: BlockWriter,
    held: HashMap<u32, Held>,
    bytes: u64,
    vector: Vec<f32>,
    /// What became of the texts so far.
    pub count: TextCount,
}

impl<'a> VectorWriter<'a> {
    /// A writer of what will be `path`, where the output's order is cut into `buckets` ranges.
    pub fn create(
        path: &Path,
        settings: &'a Semantic,
        on: DedupOn,
        embedder: &'a Embedder,
        buckets: u32,
    ) -> Result<Self> {
        Ok(Self {
            settings,
            on,
            embedder,
            buckets,
            schema: schema(embedder.dimensions()),
            file: BlockWriter::create(path)?,
            held: HashMap::new(),
            bytes: 0,
            vector: Vec::new(),
            count: TextCount::default(),
        })
    }

    /// Add a row.
    pub fn add(&mut self, row: &SpillRow) -> Result<()> {
        let id = key::id(&row.row.content);
        for unit in units(&row.row.content, self.settings.of, self.on) {
            let least = usize::try_from(self.settings.min_words).unwrap_or(usize::MAX);
            if least > 0 && count_words(&unit.text) < least {
                self.count.short += 1;
                continue;
            }
            self.vector.clear();
            match self.embedder.embed(&unit.text, &mut self.vector)? {
                Embedded::Nothing => {
                    self.count.nothing += 1;
                    continue;
                }
                Embedded::Vector { truncated } => {
                    self.count.embedded += 1;
                    self.count.truncated += u64::from(truncated);
                }
            }
            let held = self.held.entry(row.key.bucket(self.buckets)).or_default();
            held.ids.extend(id);
            held.texts.push(unit.number);
            held.classes.push(unit.class);
            held.vectors.extend(self.vector.iter().flat_map(|x| x.to_le_bytes()));
            self.bytes += 24 + 4 * self.vector.len() as u64;
        }
        if self.bytes >= HELD_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.bytes = 0;
        let mut held: Vec<(u32, Held)> = self.held.drain().collect();
        held.sort_unstable_by_key(|(bucket, _)| *bucket);
        for (bucket, Held { ids, texts, classes, vectors }) in held {
            let bytes = vectors.len() as u64;
            let wide = |width: usize, values: Vec<u8>| {
                let width = i32::try_from(width).unwrap_or(i32::MAX);
                FixedSizeBinaryArray::try_new(width, values.into(), None).map_err(Error::encode("vectors"))
            };
            let columns: Vec<ArrayRef> = vec![
                Arc::new(wide(16, ids)?),
                Arc::new(UInt32Array::from(texts)),
                Arc::new(UInt32Array::from(classes)),
                Arc::new(wide(4 * self.embedder.dimensions(), vectors)?),
            ];
            let batch = RecordBatch::try_new(self.schema.clone(), columns).map_err(Error::encode("vectors"))?;
            self.file.write(bucket, &batch, bytes)?;
        }
        Ok(())
    }

    /// Flush to disk and give the file its name.
    pub fn finish(mut self) -> Result<(Vec<Block>, TextCount)> {
        self.flush()?;
        Ok((self.file.finish()?, self.count))
    }
}

/// A text of a batch: its number in the row, its class and its place.
pub type Place = (u32, u32, usize);

/// The texts of a batch, by the id of their row, in order of number. Copies of a row have the same, once.
pub fn by_row(batch: &RecordBatch) -> Result<HashMap<[u8; 16], Vec<Place>>> {
    let ids = spill::column(batch, ID)?.as_fixed_size_binary();
    let [texts, classes] =
        [spill::column(batch, TEXT)?, spill::column(batch, CLASS)?].map(AsArray::as_primitive::<UInt32Type>);
    let mut rows: HashMap<[u8; 16], Vec<Place>> = HashMap::new();
    for i in 0..ids.len() {
        let id = ids.value(i).first_chunk().copied().unwrap_or_default();
        rows.entry(id).or_default().push((texts.value(i), classes.value(i), i));
    }
    for list in rows.values_mut() {
        list.sort_unstable();
        list.dedup_by_key(|(number, ..)| *number);
    }
    Ok(rows)
}

/// The vectors of a batch, as bytes.
pub fn vectors(batch: &RecordBatch) -> Result<&FixedSizeBinaryArray> {
    Ok(spill::column(batch, VECTOR)?.as_fixed_size_binary())
}
