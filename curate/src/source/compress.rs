//! Compression and container, told from the first bytes rather than from the file's name.

use std::io::{BufReader, Read, Seek};

use setaccio_base::bundle::Opened;

use super::{Format, SourceError};

/// How a JSON file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// gzip, of one or many members.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// Unpack a stream.
///
/// # Errors
/// The system refuses the decoder its memory.
pub fn unpack<'a>(packing: Packing, raw: impl Read + Send + 'a) -> std::io::Result<Box<dyn Read + Send + 'a>> {
    Ok(match packing {
        Packing::Plain => Box::new(raw),
        Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(256 << 10, raw))),
        Packing::Zstd => Box::new(zstd::Decoder::new(raw)?),
    })
}

/// Tell what a file is, and leave it at its start.
///
/// # Errors
/// It begins like nothing that is known.
pub fn detect(file: &mut Opened, name: &str) -> Result<Format, SourceError> {
    let unreadable = |e: std::io::Error| SourceError::new(name, format!("cannot be read: {e}"));
    let mut magic = Vec::new();
    file.by_ref().take(4).read_to_end(&mut magic).map_err(unreadable)?;
    file.rewind().map_err(unreadable)?;
    let packing = match magic.as_slice() {
        b"PAR1" => return Ok(Format::Parquet),
        [0x1f, 0x8b, ..] => Packing::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd] => Packing::Zstd,
        _ => Packing::Plain,
    };
    let broken = |e: std::io::Error| SourceError::new(name, format!("its compression is broken from the start: {e}"));
    let mut head = Vec::new();
    unpack(packing, &mut *file).and_then(|r| r.take(4096).read_to_end(&mut head)).map_err(broken)?;
    file.rewind().map_err(unreadable)?;
    let start = head.strip_prefix(BOM).unwrap_or(&head).trim_ascii_start();
    match start.first() {
        Some(b'[') => Ok(Format::Array(packing)),
        Some(b'{') => Ok(Format::Lines(packing)),
        Some(_) => Err(SourceError::new(
            name,
            "is neither Parquet, nor a JSON array, nor JSON lines (nor one of these in gzip or zstd); \
             if it is a page that a failed download left, fetch it again",
        )),
        None => Err(SourceError::new(name, "holds nothing but white space; fetch it again")),
    }
}

/// The byte order mark that some editors put first.
pub const BOM: &[u8] = b"\xef\xbb\xbf";
