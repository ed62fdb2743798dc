//! Page headers, held against the file before the library believes them: it makes room for whatever they say.

use std::{
    io::{self, Read},
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::{Buf, Bytes};
use parquet::{
    basic::{Compression, Type as PhysicalType},
    errors::{ParquetError, Result},
    file::{
        metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData},
        reader::{ChunkReader, Length},
    },
};

use super::{
    Flaw, Why,
    thrift::{Compact, Kind, Read as Parse, Stop, Taken},
};

/// More of a page header is not looked at, in bytes; the smallest and largest values of a page are in it.
const MAX_HEADER: u64 = 16 << 20;

/// So much of a header is read first, in bytes.
const FIRST: u64 = 4 << 10;

/// Values of one page of a list, at most: their levels may be a few bytes, and every value takes room when it is read.
const MAX_LISTED: u64 = 1 << 26;

/// What a page may unpack to.
#[derive(Clone, Copy, Debug)]
pub struct PageLimit {
    /// In bytes.
    pub bytes: u64,
    /// What is said of it behind the number.
    pub advice: &'static str,
}

/// Where a column of a row group lies, and what its pages can say.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    start: u64,
    end: u64,
    /// Bytes that one byte unpacks to at most.
    ratio: u64,
    /// Bytes of a value in a dictionary at least.
    width: u64,
    values: u64,
    /// Whether a row may hold several values.
    listed: bool,
    texts: bool,
}

impl Chunk {
    fn of(column: &ColumnChunkMetaData) -> Self {
        let number = |n: i64| u64::try_from(n).unwrap_or(0);
        let start = number(column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset()));
        let ratio = match column.compression() {
            Compression::UNCOMPRESSED => 1,
            // A copy of 64 bytes takes three; one of up to 255 adds a byte of LZ4; a match of 258 takes two bits of deflate.
            Compression::SNAPPY => 64,
            Compression::LZ4 | Compression::LZ4_RAW => 256,
            Compression::GZIP(_) => 1100,
            // A block of 128 KiB takes four bytes.
            _ => 1 << 16,
        };
        let descriptor = column.column_descr();
        let width = match column.column_type() {
            PhysicalType::BYTE_ARRAY | PhysicalType::INT32 | PhysicalType::FLOAT => 4,
            PhysicalType::INT64 | PhysicalType::DOUBLE => 8,
            PhysicalType::INT96 => 12,
            PhysicalType::FIXED_LEN_BYTE_ARRAY => u64::try_from(descriptor.type_length()).unwrap_or(0).max(1),
            PhysicalType::BOOLEAN => 1,
        };
        Self {
            start,
            end: start.saturating_add(number(column.compressed_size())),
            ratio,
            width,
            values: number(column.num_values()),
            listed: descriptor.max_rep_level() > 0,
            texts: column.column_type() == PhysicalType::BYTE_ARRAY,
        }
    }
}

/// What a page's header says.
#[derive(Clone, Copy, Debug, Default)]
struct Header {
    /// Bytes of itself.
    length: u64,
    /// What the page is, by the format's number.
    kind: i64,
    packed: i64,
    unpacked: i64,
    values: i64,
    /// Of the second version: nulls and rows, and bytes of both kinds of levels.
    second: [i64; 4],
}

const DICTIONARY: i64 = 2;

impl Header {
    fn parse(bytes: &[u8]) -> Parse<Self> {
        let mut header = Self { kind: -1, ..Self::default() };
        let mut compact = Compact::new(bytes);
        compact.fields(|this, id, kind| {
            let of_page = match id {
                1..=3 => {
                    let number = this.number(kind)?;
                    *match id {
                        1 => &mut header.kind,
                        2 => &mut header.unpacked,
                        _ => &mut header.packed,
                    } = number;
                    return Ok(Taken::Yes);
                }
                // The header of a page of data, of a dictionary, of data of the second version.
                5 | 7 | 8 if kind == Kind::Struct => id,
                _ => return Ok(Taken::No),
            };
            this.fields(|this, id, kind| {
                let place = match (of_page, id) {
                    (_, 1) => &mut header.values,
                    (8, 2) => &mut header.second[0],
                    (8, 3) => &mut header.second[1],
                    (8, 5) => &mut header.second[2],
                    (8, 6) => &mut header.second[3],
                    _ => return Ok(Taken::No),
                };
                *place = this.number(kind)?;
                Ok(Taken::Yes)
            })?;
            Ok(Taken::Yes)
        })?;
        header.length = compact.at as u64;
        Ok(header)
    }

    /// Hold it against what there is: the rest of its column is `room` bytes long.
    fn check(&self, chunk: &Chunk, room: u64, limit: PageLimit) -> std::result::Result<(), Flaw> {
        let damage = |what: String| Err(Flaw { why: Why::Damage, message: what });
        let [packed, unpacked, values] = [self.packed, self.unpacked, self.values].map(u64::try_from);
        let (Ok(packed), Ok(unpacked), Ok(values)) = (packed, unpacked, values) else {
            let Self { packed, unpacked, values, .. } = self;
            return damage(format!("a page is said to have {packed} bytes, {unpacked} unpacked, and {values} values"));
        };
        if packed.saturating_add(self.length) > room {
            return damage(format!("a page is said to have {packed} bytes, more than its column"));
        }
        if unpacked > packed.saturating_mul(chunk.ratio).saturating_add(64) {
            return damage(format!("a page of {packed} bytes cannot unpack to the {unpacked} that it says"));
        }
        let dictionary = self.kind == DICTIONARY;
        let most = if dictionary { unpacked / chunk.width } else { chunk.values };
        if values > most {
            return damage(format!("a page is said to have {values} values, and has room for {most}"));
        }
        let levels = self.second[2].saturating_add(self.second[3]);
        let most = self.packed.min(self.unpacked);
        if self.second.iter().any(|n| *n < 0) || levels > most || self.second[..2].iter().any(|n| *n > self.values) {
            return damage("the header of a page contradicts itself".into());
        }
        let beyond = |what: String| Err(Flaw { why: Why::Limit, message: what });
        if unpacked > limit.bytes {
            return beyond(format!(
                "a page unpacks to {unpacked} bytes, and {} are read, {}",
                limit.bytes, limit.advice
            ));
        }
        if !dictionary && chunk.listed && values > MAX_LISTED {
            return beyond(format!(
                "a page holds {values} values of a list, and {MAX_LISTED} are read: write the file in smaller row groups"
            ));
        }
        Ok(())
    }
}

/// What reading was told last that the library's own words for it would lose.
pub type Told = Arc<Mutex<Option<Flaw>>>;

/// A Parquet file of whose page headers the library sees only those that can be true.
pub struct Guarded<R> {
    file: Arc<R>,
    guard: Arc<Guard>,
}

struct Guard {
    /// In the order of their first bytes.
    chunks: Vec<Chunk>,
    limit: PageLimit,
    told: Told,
}

impl<R: ChunkReader> Guarded<R> {
    /// `file` for reading these row groups.
    pub fn new(file: R, metadata: &ParquetMetaData, groups: Range<usize>, limit: PageLimit) -> Self {
        let groups = metadata.row_groups().get(groups).unwrap_or_default();
        let mut chunks: Vec<Chunk> = groups.iter().flat_map(RowGroupMetaData::columns).map(Chunk::of).collect();
        chunks.sort_unstable_by_key(|chunk| chunk.start);
        Self { file: Arc::new(file), guard: Arc::new(Guard { chunks, limit, told: Told::default() }) }
    }

    /// What was told, if anything was.
    pub(super) fn told(&self) -> Told {
        self.guard.told.clone()
    }

    /// Bytes of a value of a column in the page that has the largest ones on average, and bytes of the column's
    /// dictionary; as far as its headers can be read.
    pub fn largest(&self, column: &ColumnChunkMetaData) -> (u64, u64) {
        let chunk = Chunk::of(column);
        let (mut each, mut dictionary, mut at) = (0, 0, chunk.start);
        if !chunk.texts {
            return (chunk.width, 0);
        }
        while at < chunk.end
            && let Ok((header, _)) = self.guard.header(&*self.file, at)
        {
            let [packed, unpacked, values] = [header.packed, header.unpacked, header.values].map(i64::unsigned_abs);
            if header.kind == DICTIONARY {
                dictionary = dictionary.max(unpacked);
            } else {
                each = each.max(unpacked / values.max(1));
            }
            at += header.length + packed;
        }
        *self.guard.told.lock().unwrap_or_else(PoisonError::into_inner) = None;
        (each, dictionary)
    }
}

impl Guard {
    /// The header at this byte and its bytes.
    fn header(&self, file: &impl ChunkReader, start: u64) -> Result<(Header, Bytes)> {
        let after = self.chunks.partition_point(|chunk| chunk.start <= start);
        let chunk = after.checked_sub(1).map(|i| &self.chunks[i]).filter(|chunk| start < chunk.end);
        let damage = |what: &str| self.tell(Flaw { why: Why::Damage, message: what.to_owned() });
        let Some(chunk) = chunk else { return Err(damage("a page lies outside of its column")) };
        let room = chunk.end - start;
        let most = room.min(MAX_HEADER);
        let mut size = most.min(FIRST);
        loop {
            let bytes = self.bytes(file, start, usize::try_from(size).unwrap_or(usize::MAX))?;
            match Header::parse(&bytes) {
                Ok(header) => {
                    header.check(chunk, room, self.limit).map_err(|flaw| self.tell(flaw))?;
                    let length = usize::try_from(header.length).unwrap_or(usize::MAX);
                    return Ok((header, bytes.slice(..length)));
                }
                Err(Stop::More) if size < most => size = (size * 16).min(most),
                Err(_) => return Err(damage("the header of a page is damaged")),
            }
        }
    }

    fn bytes(&self, file: &impl ChunkReader, start: u64, length: usize) -> Result<Bytes> {
        file.get_bytes(start, length).inspect_err(|error| {
            if let Some(message) = super::system(error) {
                self.tell(Flaw { why: Why::System, message });
            }
        })
    }

    fn tell(&self, flaw: Flaw) -> ParquetError {
        let error = ParquetError::General(flaw.message.clone());
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some(flaw);
        error
    }
}

impl<R: ChunkReader> Length for Guarded<R> {
    fn len(&self) -> u64 {
        self.file.len()
    }
}

impl<R: ChunkReader> ChunkReader for Guarded<R> {
    type T = HeaderReader<R>;

    /// The library asks for this where it expects a header, and reads no further.
    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(HeaderReader { file: self.file.clone(), guard: self.guard.clone(), start, header: None })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        self.guard.bytes(&*self.file, start, length)
    }
}

/// The bytes of one page header, which is looked at when the first of them is read.
pub struct HeaderReader<R> {
    file: Arc<R>,
    guard: Arc<Guard>,
    start: u64,
    header: Option<Bytes>,
}

impl<R: ChunkReader> Read for HeaderReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let header = match &mut self.header {
            Some(header) => header,
            none => none.insert(self.guard.header(&*self.file, self.start).map_err(io::Error::other)?.1),
        };
        let n = header.len().min(buffer.len());
        header.copy_to_slice(&mut buffer[..n]);
        Ok(n)
    }
}
