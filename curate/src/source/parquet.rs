//! Parquet, by row groups, in batches of a bounded size.

use std::{collections::BTreeMap, fs::File, io::Seek, path::PathBuf};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use parquet::arrow::{
    ProjectionMask,
    arrow_reader::{
        ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
        RowSelection, RowSelector,
    },
};

use super::{
    Format, InputFile, Limits, Position, Schema, Slice, SourceError, json,
    record::{self, Read, Record},
    value,
};

/// Text that a batch holds, about, in bytes.
const BATCH_BYTES: u64 = 4 << 20;

/// Hash the file and cut it by row groups.
pub fn inspect(
    file: &mut File,
    name: &str,
    limits: &Limits,
    cancelled: &dyn Fn() -> bool,
) -> Result<InputFile, SourceError> {
    let metadata = load(file, name)?;
    file.rewind().map_err(|e| SourceError::new(name, format!("cannot be read: {e}")))?;
    let sha256 = json::hash(file, name, cancelled)?;
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
    Ok(InputFile {
        path: PathBuf::new(),
        name: name.to_owned(),
        bytes: 0,
        sha256,
        rows: Some(row),
        format: Format::Parquet,
        slices,
        text_bytes,
    })
}

fn load(file: &File, name: &str) -> Result<ArrowReaderMetadata, SourceError> {
    // Writers embed Arrow schemas that other readers cannot always follow; Parquet's own types suffice.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    ArrowReaderMetadata::load(file, options).map_err(|e| {
        SourceError::new(name, format!("is no whole Parquet file: {e}; it was cut short or damaged, fetch it again"))
    })
}

/// Read a slice as records: the schema's columns and every scalar one.
pub fn open(
    file: &InputFile,
    slice: &Slice,
    schema: &'static dyn Schema,
    rename: &BTreeMap<String, String>,
    limits: &Limits,
) -> Result<Box<dyn Iterator<Item = Result<Read, SourceError>> + Send>, SourceError> {
    let Slice::RowGroups { first, count, first_row, .. } = *slice else {
        return Err(SourceError::new(&file.name, "is Parquet, and is read by row groups"));
    };
    let source = File::open(&file.path).map_err(|e| SourceError::new(&file.name, format!("cannot be read: {e}")))?;
    let metadata = load(&source, &file.name)?;
    let columns = columns(metadata.schema(), schema, rename, &file.name)?;
    let mask = ProjectionMask::roots(metadata.parquet_schema(), columns);
    let mut groups = Vec::new();
    let mut row = first_row;
    for group in first..first + count {
        let meta = metadata.metadata().row_group(group as usize);
        let rows = u64::try_from(meta.num_rows()).unwrap_or(0);
        let bytes = u64::try_from(meta.total_byte_size()).unwrap_or(0);
        let each = (bytes / rows.max(1)).max(1);
        let batch = usize::try_from((BATCH_BYTES / each).clamp(1, 8192)).unwrap_or(1);
        groups.push(Group { file: file.name.clone(), number: group, first_row: row, rows, batch });
        row += rows;
    }
    let source = Source { file: source, metadata, mask, max: limits.max_row_bytes };
    Ok(Box::new(Records {
        source,
        groups: groups.into_iter(),
        open: None,
        ready: Vec::new().into_iter(),
        failed: false,
    }))
}

/// Indices of the top-level columns to read.
fn columns(
    there: &SchemaRef,
    schema: &dyn Schema,
    rename: &BTreeMap<String, String>,
    name: &str,
) -> Result<Vec<usize>, SourceError> {
    let mut wanted = Vec::new();
    for column in schema.columns() {
        let here = rename.get(column.name).map_or(column.name, String::as_str);
        match there.index_of(here) {
            Ok(i) => wanted.push(i),
            Err(_) if column.required => {
                let none: Record = there.fields().iter().map(|f| (f.name().clone(), serde_json::Value::Null)).collect();
                return Err(SourceError::new(name, record::missing(&none, here)));
            }
            Err(_) => {}
        }
    }
    let scalars = there.fields().iter().enumerate().filter(|(_, f)| value::is_scalar(f.data_type()));
    wanted.extend(scalars.map(|(i, _)| i));
    wanted.sort_unstable();
    wanted.dedup();
    Ok(wanted)
}

struct Source {
    file: File,
    metadata: ArrowReaderMetadata,
    mask: ProjectionMask,
    max: u64,
}

#[derive(Clone)]
struct Group {
    file: String,
    number: u32,
    first_row: u64,
    rows: u64,
    batch: usize,
}

struct Records {
    source: Source,
    groups: std::vec::IntoIter<Group>,
    /// The group being read, and how many of its rows were.
    open: Option<(Group, ParquetRecordBatchReader, u64)>,
    ready: std::vec::IntoIter<Read>,
    failed: bool,
}

impl Iterator for Records {
    type Item = Result<Read, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.ready.next() {
                return Some(Ok(item));
            }
            if self.failed {
                return None;
            }
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl Records {
    /// Read on; false after the last group.
    fn fill(&mut self) -> Result<bool, SourceError> {
        let Some((group, mut reader, read)) = self.open.take() else {
            let Some(group) = self.groups.next() else { return Ok(false) };
            let reader = self.source.reader(&group, 0, group.rows)?;
            self.open = Some((group, reader, 0));
            return Ok(true);
        };
        match reader.next() {
            None if read == group.rows => {}
            None => {
                let message =
                    format!("the row group ends here, {} rows short; fetch the file again", group.rows - read);
                return Err(group.error(read, &message));
            }
            Some(Ok(batch)) => {
                let rows = batch.num_rows() as u64;
                self.ready = records(&group, read, &batch, self.source.max).into_iter();
                self.open = Some((group, reader, read + rows));
            }
            // One bad text spoils a whole batch: find it, and go on behind it.
            Some(Err(e)) if e.to_string().to_ascii_lowercase().contains("utf") => {
                let rows = (group.batch as u64).min(group.rows - read);
                let mut found = Vec::new();
                self.source.bisect(&group, read, rows, &mut found)?;
                self.ready = found.into_iter();
                let next = read + rows;
                if next < group.rows {
                    let reader = self.source.reader(&group, next, group.rows - next)?;
                    self.open = Some((group, reader, next));
                }
            }
            Some(Err(e)) => return Err(group.error(read, &e.to_string())),
        }
        Ok(true)
    }
}

impl Source {
    fn reader(&self, group: &Group, skip: u64, rows: u64) -> Result<ParquetRecordBatchReader, SourceError> {
        let file = self.file.try_clone().map_err(|e| group.error(skip, &e.to_string()))?;
        let [skipped, selected] = [skip, rows].map(|n| usize::try_from(n).unwrap_or(usize::MAX));
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
            .with_row_groups(vec![group.number as usize])
            .with_projection(self.mask.clone())
            .with_batch_size(group.batch);
        if skip > 0 || rows < group.rows {
            builder = builder.with_row_selection(RowSelection::from(vec![
                RowSelector::skip(skipped),
                RowSelector::select(selected),
            ]));
        }
        builder.build().map_err(|e| group.error(skip, &e.to_string()))
    }

    /// Read rows of a stretch that holds a text which is not UTF-8, halving it until that row is alone.
    fn bisect(&self, group: &Group, skip: u64, rows: u64, found: &mut Vec<Read>) -> Result<(), SourceError> {
        let batches: Result<Vec<RecordBatch>, _> = self.reader(group, skip, rows)?.collect();
        match batches {
            Ok(batches) => {
                let mut at = skip;
                for batch in batches {
                    found.extend(records(group, at, &batch, self.max));
                    at += batch.num_rows() as u64;
                }
            }
            Err(_) if rows <= 1 => {
                found.push(Read::Bad(group.place(skip), "holds text that is not valid UTF-8".into(), String::new()));
            }
            Err(_) => {
                let half = rows / 2;
                self.bisect(group, skip, half, found)?;
                self.bisect(group, skip + half, rows - half, found)?;
            }
        }
        Ok(())
    }
}

impl Group {
    fn place(&self, row: u64) -> Position {
        Position { row_group: Some(self.number), row: self.first_row + row }
    }

    fn error(&self, row: u64, message: &str) -> SourceError {
        let message = format!("reading stops here: {message}; the file is damaged, fetch it again");
        SourceError::at(&self.file, self.place(row), message)
    }
}

fn records(group: &Group, read: u64, batch: &RecordBatch, max: u64) -> Vec<Read> {
    let schema = batch.schema();
    (0..batch.num_rows())
        .map(|i| {
            let at = group.place(read + i as u64);
            let mut record = Record::with_capacity(batch.num_columns());
            for (field, column) in schema.fields().iter().zip(batch.columns()) {
                match value::json(column, i) {
                    Ok(value) => record.insert(field.name().clone(), value),
                    Err(e) => return Read::Bad(at, format!("column `{}` {e}", field.name()), String::new()),
                };
            }
            let bytes: u64 = record.values().map(text_bytes).sum();
            if bytes > max {
                return Read::Bad(at, json::too_long(bytes), record::raw(&longest(&record)));
            }
            Read::Record(at, record)
        })
        .collect()
}

fn text_bytes(value: &serde_json::Value) -> u64 {
    match value {
        serde_json::Value::String(text) => text.len() as u64,
        serde_json::Value::Array(items) => items.iter().map(text_bytes).sum(),
        serde_json::Value::Object(fields) => fields.values().map(text_bytes).sum(),
        _ => 8,
    }
}

/// The start of a record's longest text: what a person needs to find it again.
fn longest(record: &Record) -> Vec<u8> {
    let texts = record.values().filter_map(serde_json::Value::as_str);
    texts.max_by_key(|t| t.len()).unwrap_or_default().as_bytes().to_vec()
}
