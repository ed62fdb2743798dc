//! CSV and its relatives: a record is a list of fields between separators, and ends with its line outside of quotes.
//!
//! Source: RFC 4180, read as leniently as Python's `csv` reads it.

use std::{
    collections::HashSet,
    io::{BufRead, BufReader, Read, Seek, SeekFrom},
    sync::Arc,
};

use csv_core::{ReadRecordResult, Reader as Parser, ReaderBuilder};
use serde_json::Value;
use setaccio_base::{bundle::BundleReader, names::short, numbers::grouped, row::Row, sha256::HashingStream, value};
use setaccio_dataset::recipe::ColumnType;

use super::{
    encoding::{BOM, Packing},
    json_object,
    lined::{self, Place, Records, Rows, no_text},
    reader::{
        Convert, InputFile, Inspection, Items, Limits, Projection, Reader, Slice, cut_short, too_long, unreadable,
    },
    record::{self, RAW_BYTES, Record, has_two},
    scan::{Result, ScanError, broken, keep},
    value::placeholder,
};
use crate::error::SourceError;

const BUFFER: usize = 256 << 10;

/// So many fields of a record are kept; nobody names more columns.
const MAX_FIELDS: usize = 16 << 10;

/// So many of the first records tell the separator.
const LOOKED_AT: usize = 50;

/// So much of a file's text is enough to tell what it is.
pub const HEAD_BYTES: usize = 64 << 10;

/// What may stand between fields, in the order of preference.
const SEPARATORS: [u8; 4] = *b",;\t|";

/// How a file's records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// Stands between fields.
    pub separator: u8,
    /// Around fields that hold separators or lines; twice inside of them for itself. `None`: no byte does.
    pub quote: Option<u8>,
}

impl Dialect {
    fn parser(self) -> Parser {
        let mut builder = ReaderBuilder::new();
        builder.delimiter(self.separator);
        match self.quote {
            Some(quote) => builder.quote(quote),
            None => builder.quoting(false),
        };
        let mut parser = builder.build();
        // After its first byte it takes no byte order mark away: that of a file is gone by then, and a slice has none.
        parser.read_record(b"\n", &mut [0; 2], &mut [0; 2]);
        parser
    }

    /// The separator that Excel writes into a first line of its own, `sep=;`.
    fn stated(head: &[u8]) -> Option<u8> {
        match head {
            [b's', b'e', b'p', b'=', separator, b'\r' | b'\n', ..] => Some(*separator),
            _ => None,
        }
    }

    /// The one that the file states, or whose separator the first records agree on best. Only what the first record holds counts as one.
    pub fn guess(head: &[u8], quote: Option<u8>) -> Self {
        if let Some(separator) = Self::stated(head) {
            return Self { separator, quote };
        }
        let share = |separator: &u8| {
            let dialect = Self { separator: *separator, quote };
            let mut records = CsvRecords::new(head, dialect, 0, head.len() as u64, 1);
            let mut counts = Vec::new();
            // An error is the end of the head inside of quotes.
            while counts.len() < LOOKED_AT
                && let Ok(Some(_)) = records.next()
            {
                counts.push(records.fields);
            }
            // The last one may go on behind the head.
            if head.len() >= HEAD_BYTES && counts.len() > 1 && records.offset == head.len() as u64 {
                counts.pop();
            }
            let first = counts.first().copied().filter(|n| *n > 1)?;
            let same = counts.iter().filter(|n| **n == first).count();
            Some((same * 1000 / counts.len(), first))
        };
        // Of equals the first: `max_by_key` would take the last.
        let best = SEPARATORS.iter().rev().filter_map(|s| Some((share(s)?, *s))).max_by_key(|(share, _)| *share);
        Self { separator: best.map_or(b',', |(_, separator)| separator), quote }
    }
}

/// CSV of one dialect.
#[derive(Debug)]
pub struct CsvReader {
    dialect: Dialect,
    names: Arc<[String]>,
    /// Records before the header: one that states the separator.
    before: usize,
    /// Records of the header: none where the recipe names the columns.
    header: usize,
    packing: Packing,
}

impl CsvReader {
    /// That of a file of this text, of which `head` is the beginning; `columns` are its names, where it has no header. A
    /// header of more than `max` bytes is none.
    ///
    /// # Errors
    /// The header is no text, too long, or does not end.
    pub fn new(
        (head, text): (&[u8], impl Read),
        dialect: Dialect,
        columns: &[String],
        packing: Packing,
        max: u64,
    ) -> std::result::Result<Self, String> {
        let before = usize::from(Dialect::stated(head.strip_prefix(BOM).unwrap_or(head)) == Some(dialect.separator));
        let names = if columns.is_empty() {
            match header(BufReader::with_capacity(HEAD_BYTES, text), dialect, before, max) {
                Ok((Some(place), _)) if place.length > max => {
                    return Err(format!("its header, the first line, {}", too_long(place.length, max)));
                }
                Ok((Some(_), records)) => names(&records)?,
                Ok((None, _)) => Vec::new(),
                Err(ScanError::Io(e)) => return Err(format!("cannot be read: {e}")),
                Err(ScanError::Broken(_)) => {
                    return Err("its header, the first line, has no end: is `quote` or `separator` another?".into());
                }
            }
        } else {
            columns.to_vec()
        };
        Ok(Self { dialect, names: names.into(), before, header: usize::from(columns.is_empty()), packing })
    }

    /// Whether the columns are there that the schema needs.
    fn check_columns(&self, projection: &Projection<'_>) -> std::result::Result<(), String> {
        let missing = |here: &&str| !self.names.iter().any(|name| name == here);
        let Some(here) = projection.required().find(missing) else { return Ok(()) };
        let there: Record = self.names.iter().map(|name| (name.clone(), Value::Null)).collect();
        let what = record::missing(&there, here);
        Err(match self.header {
            0 => what,
            _ => format!(
                "{what}; the first line names the columns: if it is a row, name them in the [[source]], `columns = [...]`"
            ),
        })
    }

    /// All records of a file, the header read.
    fn records<R: BufRead>(&self, mut text: R, max: u64) -> Result<CsvRecords<R>> {
        let bom = skip_bom(&mut text)?;
        let mut records = CsvRecords::new(text, self.dialect, bom, max, 1);
        for _ in 0..self.before + self.header {
            records.next()?;
        }
        Ok(records)
    }
}

/// The header of a text, behind `before` other records: where it is, and what holds it.
fn header<R: BufRead>(
    mut text: R,
    dialect: Dialect,
    before: usize,
    max: u64,
) -> Result<(Option<Place>, CsvRecords<R>)> {
    skip_bom(&mut text)?;
    let mut records = CsvRecords::new(text, dialect, 0, max, 1);
    for _ in 0..before {
        records.next()?;
    }
    Ok((records.next()?, records))
}

/// Pass over a byte order mark; says how many bytes it has.
fn skip_bom<R: BufRead>(text: &mut R) -> std::io::Result<u64> {
    let bom = if text.fill_buf()?.starts_with(BOM) { BOM.len() } else { 0 };
    text.consume(bom);
    Ok(bom as u64)
}

/// Column names of a header: a nameless column gets a number, as in pandas.
///
/// # Errors
/// They are no text, too many, or two are the same.
fn names<R: BufRead>(header: &CsvRecords<R>) -> std::result::Result<Vec<String>, String> {
    if header.fields > MAX_FIELDS {
        let (fields, most) = (grouped(header.fields as u64), grouped(MAX_FIELDS as u64));
        return Err(format!("its header, the first line, has {fields} columns, and no more than {most} are read"));
    }
    let mut names: Vec<String> = Vec::new();
    let mut seen = HashSet::new();
    for i in 0..header.fields {
        let name =
            std::str::from_utf8(header.field(i)).map_err(|e| format!("its header, the first line, {}", no_text(e)))?;
        let name = if name.is_empty() { format!("Unnamed: {i}") } else { name.to_owned() };
        if !seen.insert(name.clone()) {
            return Err(format!(
                "{}; if its first line is a row, name the columns in the [[source]], `columns = [...]`",
                has_two("columns", &name)
            ));
        }
        names.push(name);
    }
    Ok(names)
}

impl Reader for CsvReader {
    fn inspect(
        &self,
        file: &mut BundleReader,
        name: &str,
        limits: &Limits,
        cancelled: &dyn Fn() -> bool,
    ) -> std::result::Result<Inspection, SourceError> {
        let mut hashing = HashingStream::new(&mut *file);
        let text = self.packing.undo(&mut hashing, limits.window_log).map_err(|e| cut_short(name, 0, &e))?;
        let mut records = self.records(BufReader::with_capacity(BUFFER, text), 0).map_err(|e| lined::at(name, 0, e))?;
        let (slices, rows) = lined::slices(&mut records, &self.packing, name, limits, cancelled)?;
        drop(records);
        hashing.drain(cancelled).map_err(|e| cut_short(name, 0, &e))?;
        let (_, sha256, bytes) = hashing.finish();
        Ok(Inspection { sha256, rows, slices, text_bytes: self.packing.text_bytes(bytes) })
    }

    fn open(
        &self,
        file: &InputFile,
        slice: &Slice,
        projection: &Projection<'_>,
        limits: &Limits,
    ) -> std::result::Result<Items, SourceError> {
        self.check_columns(projection).map_err(|what| SourceError::new(&file.name, what))?;
        let unreadable = unreadable(&file.name);
        let mut raw = file.place.open().map_err(&unreadable)?;
        let max = limits.max_row_bytes;
        let (records, row) = if let Slice::Records { start, end, first_row, line, .. } = slice {
            raw.seek(SeekFrom::Start(*start)).map_err(&unreadable)?;
            let text: Box<dyn Read + Send> = Box::new(raw.take(end - start));
            let text = BufReader::with_capacity(BUFFER, text);
            (CsvRecords::new(text, self.dialect, *start, max, *line), *first_row)
        } else {
            let text = self.packing.undo(raw, limits.window_log).map_err(&unreadable)?;
            let text = BufReader::with_capacity(BUFFER, text);
            (self.records(text, max).map_err(|e| lined::at(&file.name, 0, e))?, 0)
        };
        let flag = |name: &String| projection.schema.flags().iter().any(|flag| projection.name_here(flag) == name);
        let types = self.names.iter().map(|name| match projection.types.get(name) {
            None if flag(name) => Some(ColumnType::Bool),
            kind => kind.copied(),
        });
        let needed = projection.needed();
        let fields = Fields {
            names: self.names.clone(),
            types: types.collect(),
            needed: self.names.iter().map(|name| needed.contains(name)).collect(),
            convert: projection.convert(),
        };
        let make = move |records: &CsvRecords<_>, place: Place| {
            fields.row(records, place).map_err(|reason| format!("line {}: {reason}", place.line))
        };
        Ok(Box::new(Rows::new(records, &file.name, row, make)))
    }
}

/// Records of CSV, one held at a time.
struct CsvRecords<R> {
    input: R,
    dialect: Dialect,
    parser: Parser,
    /// Bytes consumed of the text.
    offset: u64,
    /// Number of the line that comes next.
    line: u64,
    max: u64,
    /// The record's fields without separators and quotes, end to end.
    text: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
    /// How many fields the record has.
    fields: usize,
    /// The start of the record as it is written.
    raw: Vec<u8>,
}

impl<R: BufRead> CsvRecords<R> {
    /// The first record begins at `offset`, in line `line`; of one longer than `max` bytes no field is kept.
    fn new(input: R, dialect: Dialect, offset: u64, max: u64, line: u64) -> Self {
        let parser = dialect.parser();
        let (text, ends) = (vec![0; 1024], vec![0; 64]);
        Self { input, dialect, parser, offset, line, max, text, ends, fields: 0, raw: Vec::new() }
    }

    fn consume(&mut self, n: usize) {
        self.input.consume(n);
        self.offset += n as u64;
    }

    /// Empty lines between records.
    fn skip_empty(&mut self) -> Result<()> {
        loop {
            let chunk = self.input.fill_buf()?;
            let n = chunk.iter().position(|b| !matches!(b, b'\r' | b'\n')).unwrap_or(chunk.len());
            if n == 0 {
                return Ok(());
            }
            self.line += memchr::memchr_iter(b'\n', &chunk[..n]).count() as u64;
            self.consume(n);
        }
    }

    fn field(&self, i: usize) -> &[u8] {
        let start = i.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[i]]
    }
}

impl<R: BufRead> Records for CsvRecords<R> {
    fn raw(&self) -> &[u8] {
        &self.raw
    }

    fn next(&mut self) -> Result<Option<Place>> {
        self.skip_empty()?;
        let (start, line) = (self.offset, self.line);
        self.raw.clear();
        let (mut written, mut ended, mut dropped) = (0, 0, 0);
        loop {
            let chunk = self.input.fill_buf()?;
            // The last line may lack its end, and ends inside of quotes where this is no end.
            let end = chunk.is_empty() && self.offset > start;
            let (result, read, copied, fields) = self.parser.read_record(
                if end { b"\n" } else { chunk },
                &mut self.text[written..],
                &mut self.ends[ended..],
            );
            (written, ended) = (written + copied, ended + fields);
            if end && result == ReadRecordResult::InputEmpty {
                return broken(format!(
                    "line {line} opens a quote that nothing closes, so that all the rest would be one field: mend it, or write \
                     `quote = \"\"` into the [[source]], where {} is a character like others",
                    self.dialect.quote.map_or("it".into(), |quote| char::from(quote).to_string())
                ));
            }
            if !end {
                keep(&mut self.raw, &chunk[..read], RAW_BYTES as u64 + 1);
                self.line += memchr::memchr_iter(b'\n', &chunk[..read]).count() as u64;
                self.consume(read);
            }
            let length = self.offset - start;
            match result {
                ReadRecordResult::InputEmpty => {}
                // What is too long is read on into the same place.
                ReadRecordResult::OutputFull if length > self.max => written = 0,
                ReadRecordResult::OutputFull => self.text.resize(self.text.len() * 2, 0),
                ReadRecordResult::OutputEndsFull if self.ends.len() >= MAX_FIELDS => {
                    dropped += ended;
                    ended = 0;
                }
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record => {
                    self.fields = dropped + ended;
                    return Ok(Some(Place { start, line, length }));
                }
                ReadRecordResult::End => return Ok(None),
            }
        }
    }
}

/// Makes rows of records.
struct Fields {
    names: Arc<[String]>,
    /// The types that the output's columns of these names have.
    types: Vec<Option<ColumnType>>,
    /// Whether something takes the columns of these names; what cannot be read of the others is told in its place.
    needed: Vec<bool>,
    convert: Convert,
}

impl Fields {
    fn row<R: BufRead>(&self, records: &CsvRecords<R>, place: Place) -> std::result::Result<Row, String> {
        if place.length > records.max {
            return Err(too_long(place.length, records.max));
        }
        let (fields, names) = (records.fields, self.names.len());
        if fields != names {
            let separator = char::from(records.dialect.separator);
            return Err(format!(
                "it has {fields} fields, and the columns are {names} (the separator is {separator:?})"
            ));
        }
        let mut record = Record::with_capacity(names);
        for (i, (name, kind)) in self.names.iter().zip(&self.types).enumerate() {
            let value = match std::str::from_utf8(records.field(i)) {
                Ok(text) => kind.map_or_else(|| text.into(), |kind| typed(kind, text)),
                Err(_) if !self.needed[i] => placeholder(records.field(i)).into(),
                Err(e) => return Err(format!("column `{}` {}", short(name), no_text(e))),
            };
            record.insert(name.clone(), value);
        }
        (self.convert)(record)
    }
}

/// A field as the type that the output wants; what is none stays text, for the output to refuse.
fn typed(kind: ColumnType, text: &str) -> Value {
    let plain = text.trim();
    let value = match kind {
        ColumnType::String => None,
        _ if plain.is_empty() => Some(Value::Null),
        ColumnType::Int64 => plain.parse::<i64>().ok().map(Value::from),
        ColumnType::Float64 => plain.parse::<f64>().ok().map(value::float),
        ColumnType::Json => json_object::value(plain),
        ColumnType::Bool => match plain.to_ascii_lowercase().as_str() {
            "true" => Some(true.into()),
            "false" => Some(false.into()),
            _ => None,
        },
    };
    value.unwrap_or_else(|| text.into())
}
