//! Spill files: each task writes one, with a block per bucket of the output's order, so that writing a partition reads
//! from every file just the part that it needs. Every block is checked when it is read.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_array::{RecordBatch, UInt32Array, cast::AsArray, types::UInt32Type};
use arrow_ipc::{
    CompressionType,
    reader::StreamReader,
    writer::{IpcWriteOptions, StreamWriter},
};
use arrow_schema::SchemaRef;
use arrow_select::{concat::concat_batches, take::take_record_batch};
use setaccio_base::atomic::{self, AtomicFile};
use xxhash_rust::xxh3::xxh3_64;

pub use super::block_index::Block;
use super::{
    block_index::{BlockIndex, IndexWriter, Place},
    spill::FILE,
};
use crate::error::{Error, Result};

/// Appends blocks to a file that is put in place whole.
pub struct BlockWriter {
    file: AtomicFile,
    path: PathBuf,
    offset: u64,
    blocks: Vec<Block>,
    buffer: Vec<u8>,
}

impl BlockWriter {
    /// A writer of what will be `path`.
    pub fn create(path: &Path) -> Result<Self> {
        let file = AtomicFile::create(path)?;
        Ok(Self { file, path: path.to_owned(), offset: 0, blocks: Vec::new(), buffer: Vec::new() })
    }

    /// Append rows of one bucket, `content` bytes of text in all.
    pub fn write(&mut self, bucket: u32, batch: &RecordBatch, content: u64) -> Result<()> {
        self.buffer.clear();
        let options = IpcWriteOptions::default()
            .try_with_compression(Some(CompressionType::LZ4_FRAME))
            .map_err(Error::encode(&self.path))?;
        let mut writer = StreamWriter::try_new_with_options(&mut self.buffer, &batch.schema(), options)
            .map_err(Error::encode(&self.path))?;
        writer.write(batch).and_then(|()| writer.finish()).map_err(Error::encode(&self.path))?;
        self.file.write_all(&self.buffer).map_err(Error::io("write", &self.path))?;
        let length = self.buffer.len() as u64;
        let rows = u32::try_from(batch.num_rows()).unwrap_or(u32::MAX);
        self.blocks.push(Block { bucket, offset: self.offset, length, hash: xxh3_64(&self.buffer), content, rows });
        self.offset += length;
        Ok(())
    }

    /// Flush to disk and give the file its name.
    pub fn finish(self) -> Result<Vec<Block>> {
        self.file.commit()?;
        Ok(self.blocks)
    }
}

/// Read one block back, all columns or those at `projection`.
///
/// # Errors
/// The block is not what was written.
pub fn read(path: &Path, block: &Block, projection: Option<&[usize]>) -> Result<Vec<RecordBatch>> {
    let mut bytes = Vec::new();
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    file.seek(SeekFrom::Start(block.offset)).map_err(Error::io("read", path))?;
    file.take(block.length).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    if bytes.len() as u64 != block.length || xxh3_64(&bytes) != block.hash {
        // Without its manifest the task counts as not done, and is.
        atomic::remove(&path.with_extension("json"))?;
        let message = "is not what the task wrote: the disk lost some of it; run the same command again, which does \
                       that task anew (after `--finish`: run its slice again)";
        return Err(Error::damaged(path, message));
    }
    StreamReader::try_new(bytes.as_slice(), projection.map(<[usize]>::to_vec))
        .and_then(Iterator::collect)
        .map_err(Error::encode(path))
}

/// The blocks of all tasks, by bucket, in order of task.
pub struct SpillIndex {
    schema: SchemaRef,
    /// The file of each task, and the numbers of its input files. They may have been others when the task ran, if files have come or
    /// gone since.
    files: Vec<(PathBuf, Vec<u32>)>,
    index: BlockIndex,
}

impl SpillIndex {
    /// Blocks of these files, whose columns are those of `schema`.
    pub fn new(schema: SchemaRef, files: Vec<(PathBuf, Vec<u32>)>, index: BlockIndex) -> Self {
        Self { schema, files, index }
    }

    /// Add the blocks of one more file, which are in so many buckets; where they lie is written to `at`.
    pub fn add(&mut self, path: PathBuf, blocks: &[Block], spilled: u32, at: &Path) -> Result<()> {
        let number = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        let buckets = u32::try_from(self.index.content().len()).unwrap_or(u32::MAX);
        let mut writer = IndexWriter::create(at)?;
        let part = writer.part(blocks.iter().map(|block| (number, *block)).collect(), [spilled, buckets])?;
        writer.finish()?;
        self.index.add(at, part);
        self.files.push((path, Vec::new()));
        Ok(())
    }

    /// A block, all columns or those at `projection`.
    fn read(&self, (file, block): &Place, projection: Option<&[usize]>) -> Result<Vec<RecordBatch>> {
        let (path, numbers) = &self.files[*file as usize];
        read(path, block, projection)?.into_iter().map(|batch| numbered(batch, numbers)).collect()
    }

    /// Bytes of content in each bucket.
    pub fn content(&self) -> &[u64] {
        self.index.content()
    }

    /// Bytes of content in a range of buckets.
    pub fn content_of(&self, range: &Range<u32>) -> u64 {
        self.content()[range.start as usize..range.end as usize].iter().sum()
    }

    /// The rows of a range of buckets as one batch.
    pub fn gather(&self, range: &Range<u32>) -> Result<RecordBatch> {
        self.concat(range, &self.schema, None)
    }

    /// Give the rows of a range of buckets to `each`, some at a time.
    pub fn each(&self, range: &Range<u32>, mut each: impl FnMut(&RecordBatch) -> Result<()>) -> Result<()> {
        for place in &self.index.blocks(range)? {
            self.read(place, None)?.iter().try_for_each(&mut each)?;
        }
        Ok(())
    }

    /// Some columns of the rows of a range of buckets.
    pub fn gather_columns(&self, range: &Range<u32>, columns: &[&str]) -> Result<RecordBatch> {
        let places: std::result::Result<Vec<usize>, _> = columns.iter().map(|c| self.schema.index_of(c)).collect();
        let mut places = places.map_err(Error::encode("spill file"))?;
        // A file gives them in its own order.
        places.sort_unstable();
        let schema = Arc::new(self.schema.project(&places).map_err(Error::encode("spill file"))?);
        self.concat(range, &schema, Some(&places))
    }

    fn concat(&self, range: &Range<u32>, schema: &SchemaRef, projection: Option<&[usize]>) -> Result<RecordBatch> {
        let mut batches = Vec::new();
        for place in &self.index.blocks(range)? {
            batches.extend(self.read(place, projection)?);
        }
        concat_batches(schema, &batches).map_err(Error::encode("spill file"))
    }

    /// Some of the rows of a range of buckets: those at `rows`, ascending, as [`Self::gather`] numbers them.
    /// Blocks that hold none of them are not read.
    pub fn pick(&self, range: &Range<u32>, rows: &[u32]) -> Result<RecordBatch> {
        let (mut picked, mut rest, mut first) = (Vec::new(), rows, 0);
        for place in &self.index.blocks(range)? {
            let (_, block) = place;
            let mine = rest.partition_point(|row| *row < first + block.rows);
            let (here, later) = rest.split_at(mine);
            if !here.is_empty() {
                let whole = concat_batches(&self.schema, &self.read(place, None)?);
                let indices = UInt32Array::from_iter_values(here.iter().map(|row| row - first));
                picked.push(whole.and_then(|b| take_record_batch(&b, &indices)).map_err(Error::encode("spill file"))?);
            }
            rest = later;
            first += block.rows;
        }
        concat_batches(&self.schema, &picked).map_err(Error::encode("spill file"))
    }
}

/// A batch with these numbers of its task's input files, if it has the column.
fn numbered(batch: RecordBatch, files: &[u32]) -> Result<RecordBatch> {
    let Ok(place) = batch.schema().index_of(FILE) else { return Ok(batch) };
    let mut columns = batch.columns().to_vec();
    let parts = columns[place].as_primitive::<UInt32Type>();
    let number = |part: &u32| files.get(*part as usize).copied().unwrap_or(u32::MAX);
    columns[place] = Arc::new(UInt32Array::from_iter_values(parts.values().iter().map(number)));
    RecordBatch::try_new(batch.schema(), columns).map_err(Error::encode("spill file"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{ArrayRef, Int32Array, StringArray};
    use arrow_schema::{DataType, Field, Schema};

    fn batch(texts: &[&str]) -> RecordBatch {
        let lengths = texts.iter().map(|t| i32::try_from(t.len()).ok());
        let columns: Vec<ArrayRef> =
            vec![Arc::new(StringArray::from(texts.to_vec())), Arc::new(lengths.collect::<Int32Array>())];
        let fields = [("text", DataType::Utf8), ("length", DataType::Int32)];
        let schema = Schema::new(fields.map(|(name, kind)| Field::new(name, kind, true)).to_vec());
        RecordBatch::try_new(Arc::new(schema), columns).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn blocks_come_back_by_bucket_and_damage_is_noticed() -> Result<()> {
        let dir = tempfile::tempdir().map_err(Error::io("create", "temp"))?;
        let path = dir.path().join("task.blocks");
        let mut writer = BlockWriter::create(&path)?;
        writer.write(0, &batch(&["uno"]), 3)?;
        writer.write(1, &batch(&["due", "tre"]), 6)?;
        writer.write(0, &batch(&["quattro"]), 7)?;
        assert!(!path.exists(), "the name is given last");
        let blocks = writer.finish()?;
        let index = |buckets: u32| -> Result<SpillIndex> {
            let mut index = SpillIndex::new(batch(&[]).schema(), Vec::new(), BlockIndex::new(buckets, None));
            index.add(path.clone(), &blocks, 4, &dir.path().join(format!("{buckets}.index")))?;
            Ok(index)
        };
        assert_eq!(index(2)?.content(), [16, 0], "buckets that are finer than need be are joined");
        let index = index(4)?;
        assert_eq!(index.content(), [10, 6, 0, 0]);
        assert_eq!(index.gather(&(0..1))?, batch(&["uno", "quattro"]));
        assert_eq!(index.gather(&(0..2))?, batch(&["uno", "quattro", "due", "tre"]));
        assert_eq!(index.gather(&(2..3))?, batch(&[]));
        assert_eq!(index.pick(&(0..2), &[0, 3])?, batch(&["uno", "tre"]));
        assert_eq!(index.pick(&(0..2), &[])?, batch(&[]));
        let reversed = index.gather_columns(&(0..1), &["length", "text"])?;
        assert_eq!(reversed, index.gather(&(0..1))?, "columns go by their names");
        assert!(index.gather_columns(&(0..1), &["none"]).is_err());

        let mut bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
        let last = bytes.len() - 30;
        bytes[last] ^= 1;
        std::fs::write(&path, bytes).map_err(Error::io("write", &path))?;
        assert!(index.gather(&(0..1)).is_err_and(|e| e.to_string().contains("is not what the task wrote")));
        assert_eq!(index.gather(&(1..2))?, batch(&["due", "tre"]));
        Ok(())
    }
}
