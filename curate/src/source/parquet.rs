//! Parquet, by row groups, in batches of a bounded size.

use std::{
    collections::HashSet,
    io::{self, BufReader, Seek, SeekFrom},
    sync::Arc,
};

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef};
use bytes::Bytes;
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions},
    },
    basic::{ConvertedType, Type as PhysicalType},
    errors::ParquetError,
    file::{
        metadata::{FileMetaData, ParquetMetaData, RowGroupMetaData},
        reader::{ChunkReader, Length},
    },
    schema::types::{SchemaDescriptor, Type},
};

use setaccio_base::{bundle::BundleReader, row::Kind, sha256::digest_reader, unwound::unwound};
use setaccio_dataset::{
    parquet_file::{self, Flaw, PageLimit, Why},
    row_groups::{Batch, Fault, RowGroups},
};

use super::{
    reader::{Convert, InputFile, Inspection, Item, Items, Limits, Projection, Reader, Slice, cut_short, unreadable},
    record::{self, Record, twice},
    value,
    windows::Windows,
};
use crate::error::SourceError;

/// Parquet.
#[derive(Debug)]
pub struct ParquetReader;

impl Reader for ParquetReader {
    /// Hash the file and cut it by row groups.
    fn inspect(
        &self,
        file: &mut BundleReader,
        name: &str,
        limits: &Limits,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Inspection, SourceError> {
        let metadata = load(&chunks(file).map_err(unreadable(name))?, name)?;
        let sha256 = if by_version(file) {
            String::new()
        } else {
            file.rewind().map_err(unreadable(name))?;
            digest_reader(file, cancelled).map_err(|e| cut_short(name, 0, &e))?.1
        };
        let mut slices: Vec<Slice> = Vec::new();
        let (mut row, mut held, mut text_bytes) = (0, 0, 0);
        for (group, meta) in (0..).zip(metadata.metadata().row_groups()) {
            let rows = u64::try_from(meta.num_rows()).unwrap_or(0);
            let bytes = u64::try_from(meta.total_byte_size()).unwrap_or(0);
            match slices.last_mut() {
                Some(Slice::RowGroups { count, rows: sum, .. }) if held + bytes <= limits.slice_bytes => {
                    *count += 1;
                    *sum += rows;
                    held += bytes;
                }
                _ => {
                    slices.push(Slice::RowGroups { first: group, count: 1, first_row: row, rows });
                    held = bytes;
                }
            }
            row += rows;
            text_bytes += bytes;
        }
        Ok(Inspection { sha256, rows: Some(row), slices, text_bytes })
    }

    /// Read a slice as records, with every column.
    fn open(
        &self,
        file: &InputFile,
        slice: &Slice,
        projection: &Projection<'_>,
        limits: &Limits,
    ) -> Result<Items, SourceError> {
        let Slice::RowGroups { first, count, first_row, .. } = *slice else {
            return Err(SourceError::new(&file.name, "is Parquet, and is read by row groups"));
        };
        let source = file.place.open().and_then(|opened| chunks(&opened)).map_err(unreadable(&file.name))?;
        let metadata = load(&source, &file.name)?;
        let columns = columns(metadata.schema(), projection, &file.name)?;
        let unread = metadata.schema().fields().iter().enumerate().filter(|(i, _)| !columns.contains(i));
        let unread = unread.map(|(_, field)| field.name().clone()).collect();
        let mask = ProjectionMask::roots(metadata.parquet_schema(), columns);
        let groups = first..first + count;
        let windows = match &source.file {
            BundleReader::Stored(_) => Some(Arc::new(Windows::of_columns(metadata.metadata(), groups.clone(), &mask))),
            BundleReader::Disk(_) | BundleReader::Bundled(_) => None,
        };
        let file_again = move || Ok(Chunks { file: source.file.try_clone()?, windows: windows.clone() });
        Ok(Box::new(Records {
            file: file.name.clone(),
            batches: RowGroups::new(file_again, metadata, mask, groups, first_row, pages(limits)),
            max: limits.max_row_bytes,
            needed: projection.needed(),
            unread,
            convert: projection.convert(),
            batch: None,
            next: 0,
        }))
    }
}

/// What a page may unpack to: a few of the longest rows.
fn pages(limits: &Limits) -> PageLimit {
    let bytes = limits.max_row_bytes.saturating_mul(16);
    PageLimit { bytes, advice: "16 times what read.max_row_bytes allows a row (--set read.max_row_bytes=N)" }
}

/// Whether a file is in a store that names each version of its bytes: it is known by that name, and not read through for a hash.
fn by_version(file: &BundleReader) -> bool {
    matches!(file, BundleReader::Stored(reader) if reader.object().etag.is_some())
}

/// A file as the Parquet reader takes it: read from several places at a time.
struct Chunks {
    file: BundleReader,
    /// What is asked for together, of a stored file.
    windows: Option<Arc<Windows>>,
}

/// A file whose footer is to be read.
fn chunks(file: &BundleReader) -> io::Result<Chunks> {
    let file = file.try_clone()?;
    let windows = match &file {
        BundleReader::Stored(reader) => Some(Arc::new(Windows::of_footer(reader.object().bytes))),
        BundleReader::Disk(_) | BundleReader::Bundled(_) => None,
    };
    Ok(Chunks { file, windows })
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.file.length().unwrap_or(0)
    }
}

impl ChunkReader for Chunks {
    type T = BufReader<BundleReader>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(start))?;
        Ok(BufReader::new(file))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        match &self.file {
            BundleReader::Disk(file) => file.get_bytes(start, length),
            BundleReader::Bundled(bytes) => Bytes::from_static(bytes.get_ref()).get_bytes(start, length),
            BundleReader::Stored(reader) => match &self.windows {
                Some(windows) => Ok(windows.get(reader, start, length)?),
                None => Ok(reader.range(start, length)?.into()),
            },
        }
    }
}

fn load(file: &Chunks, name: &str) -> Result<ArrowReaderMetadata, SourceError> {
    // Writers embed Arrow schemas that other readers cannot always follow; Parquet's own types suffice.
    let options = || ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let told = |flaw: Flaw| {
        let (way_out, Flaw { why, message }) = (flaw.way_out(), flaw);
        SourceError::new(
            name,
            match why {
                Why::System => format!("cannot be read: {message}"),
                Why::Limit => format!("is a Parquet file that cannot be read: {message}{way_out}"),
                Why::Damage => {
                    format!("is no whole Parquet file: {message}; it was cut short or damaged, fetch it again")
                }
            },
        )
    };
    let whole = parquet_file::load(file, options()).map_err(told)?;
    let read = || {
        let plain = Arc::new(texts_as_bytes(whole.metadata())?);
        let types = ArrowReaderMetadata::try_new(plain.clone(), options())?;
        let views = Schema::new(in_views(types.schema().fields()));
        ArrowReaderMetadata::try_new(plain, options().with_schema(Arc::new(views)))
    };
    let metadata = unwound(read, ParquetError::General).map_err(|e| told(Flaw::of(&e)))?;
    twice(metadata.schema().fields()).map_or(Ok(metadata), |what| Err(SourceError::new(name, what)))
}

/// The same columns with their texts as places in the pages that hold them: a text that is in a dictionary lies in memory
/// once, however many rows have it.
fn in_views(fields: &Fields) -> Fields {
    let view = |field: &Arc<Field>| {
        let item = |item: &Arc<Field>| in_views(&Fields::from(vec![item.clone()]))[0].clone();
        let data_type = match field.data_type() {
            DataType::Binary => DataType::BinaryView,
            DataType::Struct(fields) => DataType::Struct(in_views(fields)),
            DataType::List(inner) => DataType::List(item(inner)),
            DataType::Map(inner, sorted) => DataType::Map(item(inner), *sorted),
            other => other.clone(),
        };
        Arc::new(field.as_ref().clone().with_data_type(data_type))
    };
    fields.iter().map(view).collect()
}

/// The same file with its texts declared as bytes: the reader checks a whole page for UTF-8, and one bad
/// value in a dictionary would spoil a row group. Values are checked one by one instead. INT96 are bytes too.
fn texts_as_bytes(metadata: &ParquetMetaData) -> parquet::errors::Result<ParquetMetaData> {
    let file = metadata.file_metadata();
    let root = plain(file.schema_descr().root_schema())?;
    let schema = Arc::new(SchemaDescriptor::new(Arc::new(root)));
    let created_by = file.created_by().map(str::to_owned);
    let file = FileMetaData::new(file.version(), file.num_rows(), created_by, None, schema.clone(), None);
    let groups = metadata.row_groups().iter().map(|group| {
        RowGroupMetaData::builder(schema.clone())
            .set_num_rows(group.num_rows())
            .set_total_byte_size(group.total_byte_size())
            .set_column_metadata(group.columns().to_vec())
            .build()
    });
    Ok(ParquetMetaData::new(file, groups.collect::<parquet::errors::Result<Vec<_>>>()?))
}

fn plain(node: &Type) -> parquet::errors::Result<Type> {
    let info = node.get_basic_info();
    let id = info.has_id().then(|| info.id());
    match node {
        Type::PrimitiveType { physical_type: PhysicalType::BYTE_ARRAY, .. }
            if info.converted_type() != ConvertedType::DECIMAL =>
        {
            Type::primitive_type_builder(info.name(), PhysicalType::BYTE_ARRAY)
                .with_repetition(info.repetition())
                .with_id(id)
                .build()
        }
        // Twelve bytes each, on disk and here.
        Type::PrimitiveType { physical_type: PhysicalType::INT96, .. } => {
            Type::primitive_type_builder(info.name(), PhysicalType::FIXED_LEN_BYTE_ARRAY)
                .with_length(12)
                .with_repetition(info.repetition())
                .with_id(Some(value::INT96))
                .build()
        }
        Type::PrimitiveType { .. } => Ok(node.clone()),
        Type::GroupType { fields, .. } => {
            let fields = fields.iter().map(|f| plain(f).map(Arc::new)).collect::<parquet::errors::Result<Vec<_>>>()?;
            let mut group = Type::group_type_builder(info.name())
                .with_fields(fields)
                .with_converted_type(info.converted_type())
                .with_logical_type(info.logical_type_ref().cloned())
                .with_id(id);
            if info.has_repetition() {
                group = group.with_repetition(info.repetition());
            }
            group.build()
        }
    }
}

/// Indices of the top-level columns to read.
fn columns(there: &SchemaRef, projection: &Projection<'_>, name: &str) -> Result<Vec<usize>, SourceError> {
    if let Some(here) = projection.required().find(|here| there.index_of(here).is_err()) {
        let none: Record = there.fields().iter().map(|f| (f.name().clone(), serde_json::Value::Null)).collect();
        return Err(SourceError::new(name, record::missing(&none, here)));
    }
    let needed = projection.needed();
    let mut wanted: Vec<usize> = needed.iter().filter_map(|here| there.index_of(here).ok()).collect();
    let left =
        |f: &Field| projection.schema.kind() == Kind::Text && is_media(f.data_type()) && !needed.contains(f.name());
    let others = there.fields().iter().enumerate().filter(|(_, f)| !left(f));
    wanted.extend(others.map(|(i, _)| i));
    wanted.sort_unstable();
    wanted.dedup();
    Ok(wanted)
}

/// Whether a column holds pictures or sounds, as `datasets` stores them: they are large, and no text.
fn is_media(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) => is_media(item.data_type()),
        DataType::Struct(fields) => fields.len() == 2 && ["bytes", "path"].iter().all(|n| fields.find(n).is_some()),
        _ => false,
    }
}

struct Records {
    file: String,
    batches: RowGroups<Chunks>,
    max: u64,
    /// Columns that the schema, a rule or the output takes; what cannot be read of the others is told in its place.
    needed: HashSet<String>,
    /// Columns that are not read at all.
    unread: Vec<String>,
    convert: Convert,
    /// The batch being read, and its next row.
    batch: Option<Batch>,
    next: usize,
}

impl Iterator for Records {
    type Item = Result<Item, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let i = self.next;
            if let Some(batch) = self.batch.as_ref().filter(|batch| i < batch.rows.num_rows()) {
                self.next += 1;
                return Some(Ok(self.item(batch, i)));
            }
            self.next = 0;
            self.batch = match self.batches.next()? {
                Ok(batch) => Some(batch),
                Err(Fault { at, flaw }) => {
                    self.batch = None;
                    let (way_out, Flaw { why, message }) = (flaw.way_out(), flaw);
                    let message = match why {
                        Why::System => format!("reading stops here: {message}"),
                        Why::Limit => format!("reading stops here: {message}{way_out}"),
                        Why::Damage => format!("reading stops here: {message}; the file is damaged, fetch it again"),
                    };
                    return Some(Err(SourceError::at(&self.file, at, message)));
                }
            };
        }
    }
}

impl Records {
    fn item(&self, batch: &Batch, i: usize) -> Item {
        let at = batch.place(i);
        match unwound(|| self.record(&batch.rows, i), |said| said).and_then(&self.convert) {
            Ok(row) => Item::Row { at, row },
            Err(reason) => {
                let columns = batch.rows.schema_ref().fields().iter().map(AsRef::as_ref).zip(batch.rows.columns());
                let mut whole = serde_json::Value::Object(value::lossy(columns, i));
                whole.sort_all_objects();
                let whole = setaccio_base::value::to_json(&whole);
                Item::Bad { at, reason, raw: record::raw(whole.as_bytes()) }
            }
        }
    }

    fn record(&self, batch: &RecordBatch, i: usize) -> Result<Record, String> {
        let fields = batch.schema_ref().fields().iter().map(AsRef::as_ref);
        let mut record = value::record(fields.zip(batch.columns()), i, &self.needed, self.max)?;
        record.extend(self.unread.iter().map(|name| (name.clone(), "[not read]".into())));
        Ok(record)
    }
}
