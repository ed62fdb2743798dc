//! Arrow's own formats: the stream, in which `datasets` keeps its caches, and the file (Feather), which is a stream between
//! two marks.
//!
//! Source: <https://arrow.apache.org/docs/format/Columnar.html>, "Serialization and Interprocess Communication".

use std::{
    collections::HashSet,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    sync::Arc,
};

use arrow_array::{Array, ArrayRef, BinaryArray, ListArray, OffsetSizeTrait, RecordBatch, StructArray, cast::AsArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_ipc::{
    Buffer, CompressionType, Endianness, MessageHeader, RecordBatch as RecordBatchMessage, reader::StreamReader,
    root_as_message,
};
use arrow_schema::{ArrowError, DataType, Field};
use arrow_select::take::take;
use setaccio_base::{bundle::BundleReader, error::is_of_the_way, sha256::HashingStream, unwound::unwound};
use setaccio_dataset::shard::Position;

use super::{
    reader::{
        Convert, InputFile, Inspection, Item, Items, Limits, Projection, Reader, Refusal, Slice, cut_short, too_long,
        unreadable,
    },
    record::{self, Record, twice},
    value,
};
use crate::error::SourceError;

/// What a file of Arrow begins with, padding included.
pub const FILE: &[u8] = b"ARROW1\0\0";

/// Where the first message of a file begins at the latest.
const MOST_PADDED: u64 = 64;

/// What a message, and so a stream, begins with.
pub const STREAM: &[u8] = &[0xff; 4];

/// Text that is made into records at a time, about, in bytes.
const CHUNK_BYTES: u64 = 4 << 20;

/// A longer row is not made, whatever is allowed: its texts would have to lie side by side, in bytes.
const MOST_ROW: u64 = 1 << 30;

/// No message says more of its data than this, in bytes.
const MAX_METADATA: u32 = 256 << 20;

const BUFFER: usize = 256 << 10;

/// A packed buffer begins with its size unpacked, in so many bytes.
const SIZE: u64 = 8;

/// A byte of LZ4 stands for no more than 255, of zstd, which says in four bytes that one is repeated, for 32 KiB.
const MOST_PACKED: [(CompressionType, u64); 2] = [(CompressionType::LZ4_FRAME, 255), (CompressionType::ZSTD, 32 << 10)];

/// No more than this is unpacked at a time, in bytes.
const MAX_UNPACKED: u64 = 1 << 30;

/// Arrow IPC.
#[derive(Debug)]
pub struct IpcReader;

impl Reader for IpcReader {
    /// Hash the file, and find its batches by the messages before them, without reading what they hold.
    fn inspect(
        &self,
        file: &mut BundleReader,
        name: &str,
        limits: &Limits,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Inspection, SourceError> {
        let mut hashing = HashingStream::new(&mut *file);
        let mut messages = Messages::new(BufReader::with_capacity(BUFFER, &mut hashing));
        let (mut slices, mut rows, mut late) = (Vec::new(), 0, false);
        while !cancelled()
            && let Some(message) = messages.next().map_err(|e| cut_short(name, rows, &e))?
        {
            let Some(count) = message.rows else {
                late |= rows > 0;
                continue;
            };
            match slices.last_mut() {
                Some(Slice::Bytes { start, end, rows, .. }) if message.end - *start <= limits.slice_bytes => {
                    *end = message.end;
                    *rows += count;
                }
                _ => slices.push(Slice::Bytes { start: message.start, end: message.end, first_row: rows, rows: count }),
            }
            rows += count;
        }
        drop(messages);
        hashing.drain(cancelled).map_err(|e| cut_short(name, 0, &e))?;
        let (_, sha256, bytes) = hashing.finish();
        // A batch needs the dictionaries before it, and later ones add to them.
        if late {
            slices = vec![Slice::Whole];
        }
        Ok(Inspection { sha256, rows: Some(rows), slices, text_bytes: bytes })
    }

    fn open(
        &self,
        file: &InputFile,
        slice: &Slice,
        projection: &Projection<'_>,
        limits: &Limits,
    ) -> Result<Items, SourceError> {
        let name = &file.name;
        let open = || file.place.open().map_err(unreadable(name));
        let mut messages = Messages::new(BufReader::with_capacity(BUFFER, open()?));
        // Schema and dictionaries, and then the batches of the slice.
        let mut head = 0;
        let mut start = None;
        while let Some(message) = messages.next().map_err(|e| cut_short(name, 0, &e))? {
            start.get_or_insert(message.start);
            if message.rows.is_some() {
                break;
            }
            head = message.end;
        }
        let begin = start.unwrap_or(0);
        let mut first = open()?;
        first.seek(SeekFrom::Start(begin)).map_err(unreadable(name))?;
        let mut rest = open()?;
        let (from, to, row) = match slice {
            Slice::Bytes { start, end, first_row, .. } => (*start, *end, *first_row),
            _ => (head, file.bytes, 0),
        };
        rest.seek(SeekFrom::Start(from)).map_err(unreadable(name))?;
        let head = first.take(head.saturating_sub(begin));
        let stream: Stream = BufReader::with_capacity(BUFFER, Box::new(head.chain(rest.take(to - from))));
        let reader =
            unwound(|| StreamReader::try_new(stream, None), ArrowError::IpcError).map_err(|e| fault(name, row, &e))?;
        let schema = reader.schema();
        if let Some(what) = twice(schema.fields()) {
            return Err(SourceError::new(name, what));
        }
        if let Some(here) = projection.required().find(|here| schema.index_of(here).is_err()) {
            let none: Record = schema.fields().iter().map(|f| (f.name().clone(), serde_json::Value::Null)).collect();
            return Err(SourceError::new(name, record::missing(&none, here)));
        }
        Ok(Box::new(Rows {
            reader,
            batch: None,
            ready: Vec::new().into_iter(),
            row,
            name: name.clone(),
            failed: false,
            max: limits.max_row_bytes,
            needed: projection.needed(),
            convert: projection.convert(),
        }))
    }
}

type Stream = BufReader<Box<dyn Read + Send>>;

/// Where a message is, with its data.
struct Message {
    start: u64,
    end: u64,
    /// Of a batch: how many rows.
    rows: Option<u64>,
}

/// The messages of a file or a stream, whose data is passed over.
struct Messages<R> {
    input: R,
    offset: u64,
}

impl<R: BufRead> Messages<R> {
    fn new(input: R) -> Self {
        Self { input, offset: 0 }
    }

    /// The next message; `None` at the stream's end, which a mark or the end of the file is.
    fn next(&mut self) -> io::Result<Option<Message>> {
        if self.offset == 0 && self.input.fill_buf()?.starts_with(FILE) {
            self.input.consume(FILE.len());
            self.offset = FILE.len() as u64;
            // Some writers fill it up to 64 bytes, which no message begins like.
            while self.offset < MOST_PADDED && self.input.fill_buf()?.starts_with(&[0; 8]) {
                self.input.consume(8);
                self.offset += 8;
            }
        }
        let start = self.offset;
        let Some(length) = self.length()? else { return Ok(None) };
        let mut metadata = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        self.input.read_exact(&mut metadata)?;
        let message = root_as_message(&metadata).map_err(|_| bad("a message is damaged"))?;
        let batch = match message.header_type() {
            MessageHeader::RecordBatch => message.header_as_record_batch(),
            MessageHeader::DictionaryBatch => message.header_as_dictionary_batch().and_then(|d| d.data()),
            _ => None,
        };
        // Arrow's reader takes the bytes of numbers as they lie.
        if message.header_as_schema().is_some_and(|schema| schema.endianness() != Endianness::Little) {
            return Err(Refusal::error(
                "it was written on a big-endian machine: write it again on another, or as Parquet".into(),
            ));
        }
        // It takes these on trust, and panics.
        if batch.is_some_and(|batch| !fits(&batch, message.bodyLength())) {
            return Err(bad("a message is damaged: its data lies outside of it"));
        }
        let rows = batch.filter(|_| message.header_type() == MessageHeader::RecordBatch).map(|batch| batch.length());
        let body = u64::try_from(message.bodyLength()).map_err(|_| bad("a message is damaged"))?;
        let mut passed = 0;
        if let Some((batch, compression)) = batch.and_then(|batch| Some((batch, batch.compression()?))) {
            let most = MOST_PACKED.iter().find(|(codec, _)| *codec == compression.codec()).map_or(1, |(_, most)| *most);
            let mut unpacked = 0;
            let mut buffers: Vec<(u64, u64)> = batch.buffers().into_iter().flatten().map(extent).collect();
            buffers.sort_unstable();
            for (offset, length) in buffers.into_iter().filter(|(_, length)| *length >= SIZE) {
                // Buffers that share bytes are read as the first one.
                if offset < passed {
                    continue;
                }
                self.skip(offset - passed)?;
                let mut size = [0; 8];
                self.input.read_exact(&mut size)?;
                passed = offset + SIZE;
                // -1 says that a buffer is not packed.
                let size = u64::try_from(i64::from_le_bytes(size)).unwrap_or(0);
                if size > length.saturating_mul(most) {
                    return Err(bad("a message is damaged: its data cannot unpack to as much as it says"));
                }
                unpacked += size;
                if unpacked > MAX_UNPACKED {
                    return Err(Refusal::error(
                        "a batch of it unpacks to more than 1 GiB: write it in smaller batches, or as Parquet".into(),
                    ));
                }
            }
        }
        self.skip(body - passed)?;
        self.offset += u64::from(length) + body;
        let rows = rows.map(|rows| u64::try_from(rows).unwrap_or(0));
        Ok(Some(Message { start, end: self.offset, rows }))
    }

    /// Pass over so many bytes.
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let passed = io::copy(&mut self.input.by_ref().take(bytes), &mut io::sink())?;
        if passed < bytes { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// The length of what a message says of itself.
    fn length(&mut self) -> io::Result<Option<u32>> {
        let Some(mut length) = self.word()? else { return Ok(None) };
        // Before 2019 there was no mark.
        if length == u32::MAX {
            let Some(word) = self.word()? else { return Err(io::ErrorKind::UnexpectedEof.into()) };
            length = word;
        }
        match length {
            0 => Ok(None),
            length if length > MAX_METADATA => Err(bad("a message is damaged")),
            length => Ok(Some(length)),
        }
    }

    fn word(&mut self) -> io::Result<Option<u32>> {
        if self.input.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let mut word = [0; 4];
        self.input.read_exact(&mut word)?;
        self.offset += 4;
        Ok(Some(u32::from_le_bytes(word)))
    }
}

/// Whether all buffers of a batch lie in the message's body of this many bytes.
fn fits(batch: &RecordBatchMessage<'_>, body: i64) -> bool {
    let inside = |buffer: &Buffer| {
        let end = buffer.offset().checked_add(buffer.length());
        buffer.offset() >= 0 && buffer.length() >= 0 && end.is_some_and(|end| end <= body)
    };
    (0..=i64::from(i32::MAX)).contains(&batch.length())
        && batch.buffers().is_none_or(|buffers| buffers.iter().all(inside))
}

/// Offset and length of a buffer, which are not negative.
fn extent(buffer: &Buffer) -> (u64, u64) {
    let [offset, length] = [buffer.offset(), buffer.length()].map(|n| u64::try_from(n).unwrap_or(0));
    (offset, length)
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// An error of Arrow's reader, at a row.
fn fault(name: &str, row: u64, error: &ArrowError) -> SourceError {
    if let ArrowError::IoError(_, error) = error
        && is_of_the_way(error)
    {
        return cut_short(name, row, error);
    }
    let message = error.to_string();
    // What the reader was built without is no damage.
    let limit = matches!(error, ArrowError::NotYetImplemented(_)) || message.contains("feature");
    let advice = if limit {
        "write the file in another way, for instance without compression or with lz4"
    } else {
        "the file is damaged, fetch it again"
    };
    SourceError::at(name, Position { row_group: None, row }, format!("reading stops here: {message}; {advice}"))
}

struct Rows {
    reader: StreamReader<Stream>,
    /// The batch being read, and how many of its rows were.
    batch: Option<(RecordBatch, usize)>,
    ready: std::vec::IntoIter<Item>,
    /// Number of the next row.
    row: u64,
    name: String,
    failed: bool,
    max: u64,
    /// Columns that the schema, a rule or the output takes; what cannot be read of the others is left out.
    needed: HashSet<String>,
    convert: Convert,
}

impl Iterator for Rows {
    type Item = Result<Item, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.ready.next() {
                return Some(Ok(item));
            }
            if self.failed {
                return None;
            }
            let read = match self.batch.take() {
                Some((batch, read)) if read < batch.num_rows() => {
                    unwound(|| self.fill(batch, read), ArrowError::IpcError)
                }
                _ => match unwound(|| self.reader.next().transpose(), ArrowError::IpcError).transpose()? {
                    Ok(batch) => {
                        self.batch = Some((batch, 0));
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
            };
            if let Err(error) = read {
                self.failed = true;
                return Some(Err(fault(&self.name, self.row, &error)));
            }
        }
    }
}

impl Rows {
    /// Make records of some more rows of a batch: it may be as large as its writer liked.
    fn fill(&mut self, batch: RecordBatch, read: usize) -> Result<(), ArrowError> {
        let mut bytes = 0;
        let fits = |i: &usize| {
            bytes += batch.columns().iter().map(|column| value::size(column, *i)).sum::<u64>();
            bytes <= CHUNK_BYTES
        };
        let count = (read..batch.num_rows()).take(1024).take_while(fits).count();
        if count == 0 && bytes > MOST_ROW {
            let at = Position { row_group: None, row: self.row };
            self.row += 1;
            let bad = Item::Bad { at, reason: too_long(bytes, self.max), raw: String::new() };
            (self.ready, self.batch) = (vec![bad].into_iter(), Some((batch, read + 1)));
            return Ok(());
        }
        let count = count.max(1);
        let part = batch.slice(read, count);
        let columns = part.columns().iter().map(as_parquet).collect::<Result<Vec<_>, _>>()?;
        let names = batch.schema();
        let field = |(field, column): (&Arc<Field>, ArrayRef)| {
            (Field::new(field.name(), column.data_type().clone(), true), column)
        };
        let columns: Vec<(Field, ArrayRef)> = names.fields().iter().zip(columns).map(field).collect();
        let mut items = Vec::with_capacity(count);
        for i in 0..count {
            let at = Position { row_group: None, row: self.row };
            self.row += 1;
            items.push(match self.record(&columns, i).and_then(&self.convert) {
                Ok(row) => Item::Row { at, row },
                Err(reason) => {
                    let whole = value::lossy(columns.iter().map(|(field, column)| (field, column)), i);
                    let whole = setaccio_base::value::to_json(&whole.into());
                    Item::Bad { at, reason, raw: record::raw(whole.as_bytes()) }
                }
            });
        }
        self.ready = items.into_iter();
        self.batch = Some((batch, read + count));
        Ok(())
    }

    fn record(&self, columns: &[(Field, ArrayRef)], i: usize) -> Result<Record, String> {
        value::record(columns.iter().map(|(field, column)| (field, column)), i, &self.needed, self.max)
    }
}

/// A column in the types that Parquet's reader gives, from which values are made: one for texts and bytes, one for lists.
fn as_parquet(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    Ok(match array.data_type() {
        DataType::Utf8 => Arc::new(BinaryArray::from(array.as_string::<i32>().clone())),
        DataType::LargeUtf8 => {
            Arc::new(array.as_string::<i64>().iter().map(|t| t.map(str::as_bytes)).collect::<BinaryArray>())
        }
        DataType::Utf8View => {
            Arc::new(array.as_string_view().iter().map(|t| t.map(str::as_bytes)).collect::<BinaryArray>())
        }
        DataType::LargeBinary => Arc::new(array.as_binary::<i64>().iter().collect::<BinaryArray>()),
        DataType::BinaryView => Arc::new(array.as_binary_view().iter().collect::<BinaryArray>()),
        DataType::List(_) => list(array.as_list::<i32>().offsets(), array.as_list::<i32>().values(), array.nulls())?,
        DataType::LargeList(_) => {
            list(array.as_list::<i64>().offsets(), array.as_list::<i64>().values(), array.nulls())?
        }
        DataType::Map(..) => {
            let map = array.as_map();
            let entries: ArrayRef = Arc::new(map.entries().clone());
            list(map.offsets(), &entries, array.nulls())?
        }
        DataType::FixedSizeList(_, length) => {
            let length = usize::try_from(*length).unwrap_or(0);
            let offsets = OffsetBuffer::<i32>::from_repeated_length(length, array.len());
            list(&offsets, array.as_fixed_size_list().values(), array.nulls())?
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns().iter().map(as_parquet).collect::<Result<Vec<_>, _>>()?;
            let field =
                |(field, column): (&Arc<Field>, &ArrayRef)| Field::new(field.name(), column.data_type().clone(), true);
            let fields = fields.iter().zip(&columns).map(field).collect();
            Arc::new(StructArray::try_new_with_length(fields, columns, array.nulls().cloned(), array.len())?)
        }
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            as_parquet(&take(dictionary.values(), dictionary.keys(), None)?)?
        }
        _ => array.clone(),
    })
}

/// A list of what is between these offsets.
fn list<O: OffsetSizeTrait>(
    offsets: &OffsetBuffer<O>,
    values: &ArrayRef,
    nulls: Option<&NullBuffer>,
) -> Result<ArrayRef, ArrowError> {
    let (first, last) = (offsets[0].as_usize(), offsets[offsets.len() - 1].as_usize());
    let values = as_parquet(&values.slice(first, last - first))?;
    let item = Arc::new(Field::new("item", values.data_type().clone(), true));
    Ok(Arc::new(ListArray::try_new(item, OffsetBuffer::from_lengths(offsets.lengths()), values, nulls.cloned())?))
}
