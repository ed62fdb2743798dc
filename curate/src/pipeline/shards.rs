//! Parquet files of the output: row groups are encoded by any thread, and appended in order.

use std::{
    fs::{self, File},
    ops::Range,
    path::{Path, PathBuf},
};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::{
    arrow::{
        ArrowWriter,
        arrow_writer::{ArrowColumnChunk, ArrowRowGroupWriterFactory, compute_leaves},
    },
    basic::{Compression, ZstdLevel},
    file::{
        properties::{EnabledStatistics, WriterProperties},
        writer::SerializedFileWriter,
    },
    schema::types::ColumnPath,
};

use setaccio_base::{atomic, sha256::HashingStream};
use setaccio_dataset::ledger::FileEntry;

use crate::error::{Error, Result};

/// Columns whose few values repeat: worth a dictionary, and worth statistics that readers can skip by.
const REPEATING: [&str; 6] = ["source", "language", "stage", "rule", "file", "role"];

/// How Parquet files of one schema are written.
pub struct ShardFormat {
    schema: SchemaRef,
    properties: WriterProperties,
    factory: ArrowRowGroupWriterFactory,
}

/// An encoded row group.
pub struct RowGroup {
    chunks: Vec<ArrowColumnChunk>,
    rows: u64,
    content: u64,
}

impl ShardFormat {
    /// zstd at `level`; dictionaries and statistics only where they help.
    ///
    /// # Errors
    /// The level is out of range or the schema has a type that Parquet lacks.
    pub fn new(schema: SchemaRef, level: i32) -> Result<Self> {
        let zstd = ZstdLevel::try_new(level).map_err(Error::encode("output.zstd_level"))?;
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(zstd))
            .set_created_by(concat!("setaccio ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_max_row_group_row_count(None);
        for name in REPEATING {
            let paths = match name {
                "role" => ["messages", "prompt", "chosen", "rejected"]
                    .map(|side| ColumnPath::new([side, "list", "element", "role"].map(str::to_owned).to_vec()))
                    .to_vec(),
                _ => vec![ColumnPath::from(name)],
            };
            for path in paths {
                properties = properties
                    .set_column_dictionary_enabled(path.clone(), true)
                    .set_column_statistics_enabled(path, EnabledStatistics::Chunk);
            }
        }
        let properties = properties.build();
        let writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties.clone()));
        let (_, factory) = writer.and_then(ArrowWriter::into_serialized_writer).map_err(Error::encode("schema"))?;
        Ok(Self { schema, properties, factory })
    }

    /// The schema of the rows.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Encode rows with `content` bytes of text as one row group.
    pub fn encode(&self, batch: &RecordBatch, content: u64) -> Result<RowGroup> {
        let encode = || {
            let mut writers = self.factory.create_column_writers(0)?;
            let mut next = writers.iter_mut();
            for (field, column) in self.schema.fields().iter().zip(batch.columns()) {
                for leaf in compute_leaves(field, column)? {
                    if let Some(writer) = next.next() {
                        writer.write(&leaf)?;
                    }
                }
            }
            writers
                .into_iter()
                .map(parquet::arrow::arrow_writer::ArrowColumnWriter::close)
                .collect::<parquet::errors::Result<Vec<_>>>()
        };
        let chunks = encode().map_err(Error::encode("row group"))?;
        Ok(RowGroup { chunks, rows: batch.num_rows() as u64, content })
    }
}

/// Write one file of row groups, of this name, whole.
pub fn one_file(
    format: &ShardFormat,
    path: &Path,
    groups: impl Iterator<Item = Result<RowGroup>>,
) -> Result<FileEntry> {
    let aside = tempfile::Builder::new().prefix(".shard-").tempdir_in(atomic::parent(path));
    let aside = aside.map_err(Error::io("create", path))?;
    let mut writer = ShardWriter::new(format, aside.path(), "one", u64::MAX);
    for group in groups {
        writer.push(group?)?;
    }
    let mut entries = writer.finish_with_a_file()?;
    let entry = entries.pop().ok_or_else(|| Error::spoilt("a shard without a file".into()))?;
    let name = Path::new(&entry.path).file_name().unwrap_or_default();
    fs::rename(aside.path().join(name), path).map_err(Error::io("put in place", path))?;
    atomic::sync_dir(atomic::parent(path))?;
    Ok(entry)
}

/// How row groups of so many bytes of text fall into files that are closed once they hold `shard_bytes`: the numbers of those of
/// each.
pub fn files(groups: &[u64], shard_bytes: u64) -> Vec<Range<usize>> {
    let (mut files, mut first, mut held) = (Vec::new(), 0, 0);
    for (number, bytes) in groups.iter().enumerate() {
        held += bytes;
        if held >= shard_bytes {
            files.push(first..number + 1);
            (first, held) = (number + 1, 0);
        }
    }
    files.extend((first < groups.len()).then_some(first..groups.len()));
    files
}

/// What the file of this number of so many is called.
pub fn file_name(prefix: &str, number: usize, of: usize) -> String {
    format!("{prefix}-{number:05}-of-{of:05}.parquet")
}

/// Appends row groups to `<prefix>-00000-of-0000N.parquet`, closing a file once it holds enough.
pub struct ShardWriter<'a> {
    format: &'a ShardFormat,
    folder: PathBuf,
    prefix: String,
    shard_bytes: u64,
    open: Option<Shard>,
    closed: Vec<(PathBuf, FileEntry)>,
}

struct Shard {
    path: PathBuf,
    writer: SerializedFileWriter<HashingStream<File>>,
    rows: u64,
    content: u64,
}

impl<'a> ShardWriter<'a> {
    /// Files of `prefix` in `folder`, each closed once it holds `shard_bytes` of text.
    pub fn new(format: &'a ShardFormat, folder: &Path, prefix: &str, shard_bytes: u64) -> Self {
        Self {
            format,
            folder: folder.to_owned(),
            prefix: prefix.to_owned(),
            shard_bytes,
            open: None,
            closed: Vec::new(),
        }
    }

    /// Append one row group; empty ones vanish.
    pub fn push(&mut self, group: RowGroup) -> Result<()> {
        if group.rows == 0 {
            return Ok(());
        }
        let mut shard = match self.open.take() {
            Some(shard) => shard,
            None => self.start()?,
        };
        let RowGroup { chunks, rows, content } = group;
        let append = |writer: &mut SerializedFileWriter<HashingStream<File>>| {
            let mut group = writer.next_row_group()?;
            chunks.into_iter().try_for_each(|chunk| chunk.append_to_row_group(&mut group))?;
            group.close()
        };
        append(&mut shard.writer).map_err(Error::encode(&shard.path))?;
        shard.rows += rows;
        shard.content += content;
        if shard.content >= self.shard_bytes {
            self.close(shard)
        } else {
            self.open = Some(shard);
            Ok(())
        }
    }

    fn start(&self) -> Result<Shard> {
        let path = self.folder.join(format!("{}-{:05}.tmp", self.prefix, self.closed.len()));
        let file = File::create(&path).map_err(Error::io("create", &path))?;
        let sink = HashingStream::new(file);
        let writer = ArrowWriter::try_new(sink, self.format.schema.clone(), Some(self.format.properties.clone()))
            .and_then(ArrowWriter::into_serialized_writer)
            .map_err(Error::encode(&path))?
            .0;
        Ok(Shard { path, writer, rows: 0, content: 0 })
    }

    fn close(&mut self, shard: Shard) -> Result<()> {
        let Shard { path, writer, rows, .. } = shard;
        let sink = writer.into_inner().map_err(Error::encode(&path))?;
        let (file, sha256, bytes) = sink.finish();
        file.sync_all().map_err(Error::io("flush", &path))?;
        let entry = FileEntry { path: String::new(), rows, bytes, sha256 };
        self.closed.push((path, entry));
        Ok(())
    }

    /// As [`Self::finish`], with one empty file where there was no row: a reader needs its schema.
    pub fn finish_with_a_file(mut self) -> Result<Vec<FileEntry>> {
        if self.open.is_none() && self.closed.is_empty() {
            self.open = Some(self.start()?);
        }
        self.finish()
    }

    /// Close the last file and give all their names: none where there was no row.
    pub fn finish(mut self) -> Result<Vec<FileEntry>> {
        if let Some(shard) = self.open.take() {
            self.close(shard)?;
        }
        let n = self.closed.len();
        let folder = self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut entries = Vec::with_capacity(n);
        for (i, (path, mut entry)) in self.closed.into_iter().enumerate() {
            let name = file_name(&self.prefix, i, n);
            fs::rename(&path, self.folder.join(&name)).map_err(Error::io("rename", &path))?;
            entry.path = format!("{folder}/{name}");
            entries.push(entry);
        }
        Ok(entries)
    }
}
