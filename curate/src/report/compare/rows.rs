//! The rows that differ, as a Parquet file: what was decided of each is put into buckets by its place, so that shards are read
//! once and in order.

use std::{fs::File, path::Path, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use parquet::{
    arrow::{ArrowWriter, ProjectionMask, arrow_reader::ArrowReaderOptions},
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};
use setaccio_base::{atomic::AtomicFile, progress::Progress};
use setaccio_dataset::{
    columns::{ContentBuilder, ContentColumns, Extras, TOOLS, content_fields, content_names},
    parquet_file::{self, PAGES},
    row_groups::RowGroups,
};

use super::{
    super::rows::text,
    Build,
    records::{ABSENT, Became, Names, Record, Side},
};
use crate::{
    error::{Error, Result},
    pipeline::scratch::Buckets,
};

/// Rows of a bucket.
const BUCKET: u64 = 1 << 18;
/// Bytes of a row group, about.
const GROUP: usize = 64 << 20;
/// Bytes of what is decided: the row's number in its bucket, what became of it, and the rule.
const SIZE: usize = 7;

/// What was decided of rows, by their places.
pub struct Decided {
    buckets: Buckets<SIZE>,
    /// The first bucket of the second build.
    second: u32,
}

impl Decided {
    /// Nothing yet, in a file of `folder`.
    pub fn create(builds: &[Build<'_>; 2], folder: &Path) -> Result<Self> {
        let buckets =
            |build: &Build<'_>| u32::try_from(build.ledger.rows_out().div_ceil(BUCKET)).unwrap_or(u32::MAX / 2);
        let [first, second] = builds.each_ref().map(buckets);
        Ok(Self { buckets: Buckets::create(folder.join("decided"), first + second)?, second: first })
    }

    /// What became of a row.
    pub fn put(&self, record: &Record, became: Became, fate: u16) -> Result<()> {
        if became == Became::Same {
            return Ok(());
        }
        let first = if record.side == Side::B { self.second } else { 0 };
        let bucket = first + u32::try_from(record.row / BUCKET).unwrap_or(u32::MAX / 2);
        let mut bytes = [0; SIZE];
        bytes[..4].copy_from_slice(&u32::try_from(record.row % BUCKET).unwrap_or(0).to_be_bytes());
        bytes[4] = became as u8;
        bytes[5..].copy_from_slice(&fate.to_be_bytes());
        self.buckets.put(bucket, &bytes)
    }

    /// What was decided of the rows of a bucket, in their order.
    fn bucket(&self, side: Side, bucket: u64) -> Result<Vec<Option<(Became, u16)>>> {
        let first = if side == Side::B { self.second } else { 0 };
        let bucket = first + u32::try_from(bucket).unwrap_or(u32::MAX / 2);
        let mut all = vec![None; usize::try_from(BUCKET).unwrap_or(0)];
        self.buckets.each(bucket, |bytes| {
            let row = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            let became = [Became::Same, Became::Added, Became::Removed, Became::Changed];
            let became = became.into_iter().find(|became| *became as u8 == bytes[4]);
            all[row as usize] = became.map(|became| (became, u16::from_be_bytes([bytes[5], bytes[6]])));
            Ok(())
        })?;
        Ok(all)
    }

    /// Write the rows that differ to `file`: those of the first build, then those of the second, each in its order.
    ///
    /// # Errors
    /// A shard is damaged, the file cannot be written, or somebody stops it.
    pub fn write(self, file: &Path, builds: &[Build<'_>; 2], names: &Names, progress: &dyn Progress) -> Result<()> {
        let kind = builds[0].lock.recipe.kind;
        let extras = builds.iter().map(|build| &build.ledger.extras).collect::<Extras>();
        let text_field = |name| Field::new(name, DataType::Utf8, true);
        let mut fields = ["change", "build", "stage", "rule", "id", "source", "language"].map(text_field).to_vec();
        fields.extend(content_fields(kind, &extras));
        let schema = Arc::new(Schema::new(fields));
        let zstd = ZstdLevel::try_new(3).map_err(Error::encode("zstd"))?;
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(zstd)).build();
        let written = |e| Error::encode(&file.display().to_string())(e);
        let aside = AtomicFile::create(file)?;
        let mut writer = ArrowWriter::try_new(aside, schema.clone(), Some(properties)).map_err(written)?;
        for (build, side) in builds.iter().zip([Side::A, Side::B]) {
            let (mut at, mut decided) = (0, Vec::new());
            for entry in build.files("data/") {
                let path = build.out.join(&entry.path);
                let shard = File::open(&path).map_err(Error::io("open", &path))?;
                let flaw = |flaw| Error::from(parquet_file::own_flaw(&path, &flaw));
                let metadata = parquet_file::load(&shard, ArrowReaderOptions::new()).map_err(flaw)?;
                let columns =
                    ["id", "source", "language", TOOLS].into_iter().chain(content_names(kind).iter().copied());
                let mask = ProjectionMask::columns(metadata.parquet_schema(), columns);
                let groups = 0..u32::try_from(metadata.metadata().num_row_groups()).unwrap_or(u32::MAX);
                for batch in RowGroups::new(move || shard.try_clone(), metadata, mask, groups, 0, PAGES) {
                    if progress.cancelled() {
                        return Err(Error::Interrupted);
                    }
                    let batch = batch.map_err(|fault| Error::from(parquet_file::own_flaw(&path, &fault.flaw)))?.rows;
                    let contents = ContentColumns::new(&batch, kind).map_err(|m| Error::damaged(&path, m))?;
                    let mut content = ContentBuilder::new(kind, &extras);
                    let mut told: [Vec<Option<String>>; 7] = Default::default();
                    for i in 0..batch.num_rows() {
                        if at % BUCKET == 0 {
                            decided = self.bucket(side, at / BUCKET)?;
                        }
                        let place = usize::try_from(at % BUCKET).unwrap_or(0);
                        at += 1;
                        let Some((became, fate)) = decided[place] else { continue };
                        let (stage, rule) = names.rule(fate);
                        let dropped = |name: &str| (fate != ABSENT).then(|| name.to_owned());
                        let build = if side == Side::A { "a" } else { "b" };
                        let column = |name| text(&batch, name, i);
                        let values = [
                            Some(word(became).to_owned()),
                            Some(build.to_owned()),
                            dropped(stage),
                            dropped(rule),
                            column("id"),
                            column("source"),
                            column("language"),
                        ];
                        told.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
                        content.push(Some(&contents.get(i).map_err(|m| Error::damaged(&path, m))?));
                    }
                    if told[0].is_empty() {
                        continue;
                    }
                    let told = told.into_iter().map(|values| Arc::new(StringArray::from(values)) as ArrayRef);
                    let columns = told.chain(content.finish()).collect();
                    let batch = RecordBatch::try_new(schema.clone(), columns).map_err(Error::encode("rows"))?;
                    writer.write(&batch).map_err(written)?;
                    if writer.in_progress_size() > GROUP {
                        writer.flush().map_err(written)?;
                    }
                }
            }
        }
        Ok(writer.into_inner().map_err(written)?.commit()?)
    }
}

fn word(became: Became) -> &'static str {
    match became {
        Became::Same => "same",
        Became::Added => "added",
        Became::Removed => "removed",
        Became::Changed => "changed",
    }
}
