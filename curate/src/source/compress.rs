//! Compression of JSON files.

use std::io::{BufReader, Read};

/// How a JSON file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, of one or many members.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// Decompress a stream.
pub fn decompress<'a>(
    compression: Compression,
    raw: impl Read + Send + 'a,
) -> std::io::Result<Box<dyn Read + Send + 'a>> {
    Ok(match compression {
        Compression::None => Box::new(raw),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(256 << 10, raw))),
        Compression::Zstd => Box::new(zstd::Decoder::new(raw)?),
    })
}

/// The byte order mark that some editors put first.
pub const BOM: &[u8] = b"\xef\xbb\xbf";
