//! The formats that can be read, told from a file's first bytes rather than from its name.

use std::{
    io::{Read, Seek},
    sync::Arc,
};

use setaccio_base::bundle::{BundleReader, Place};

use super::{
    compress::{BOM, Compression, decompress},
    frame::Layout,
    json::JsonReader,
    parquet::ParquetReader,
    reader::{InputFile, Limits, Reader, unreadable},
};
use crate::error::SourceError;

/// What reads this file, which is left at its start.
///
/// # Errors
/// It begins like nothing that is known.
fn detect(file: &mut BundleReader, name: &str) -> Result<Arc<dyn Reader>, SourceError> {
    let unreadable = unreadable(name);
    let mut magic = Vec::new();
    file.by_ref().take(4).read_to_end(&mut magic).map_err(&unreadable)?;
    file.rewind().map_err(&unreadable)?;
    let compression = match magic.as_slice() {
        b"PAR1" => return Ok(Arc::new(ParquetReader)),
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd] => Compression::Zstd,
        _ => Compression::None,
    };
    let broken = |e: std::io::Error| SourceError::new(name, format!("its compression is broken from the start: {e}"));
    let mut head = Vec::new();
    decompress(compression, &mut *file).and_then(|r| r.take(4096).read_to_end(&mut head)).map_err(broken)?;
    file.rewind().map_err(unreadable)?;
    let start = head.strip_prefix(BOM).unwrap_or(&head).trim_ascii_start();
    let layout = match start.first() {
        Some(b'[') => Layout::Array,
        Some(b'{') => Layout::Lines,
        Some(_) => {
            return Err(SourceError::new(
                name,
                "is neither Parquet, nor a JSON array, nor JSON lines (nor one of these in gzip or zstd); \
                 if it is a page that a failed download left, fetch it again",
            ));
        }
        None => return Err(SourceError::new(name, "holds nothing but white space; fetch it again")),
    };
    Ok(Arc::new(JsonReader { layout, compression }))
}

/// Look a file through once: its hash, format, rows and slices. Stops early, with whatever it has,
/// when `cancelled` says so.
///
/// # Errors
/// The file is missing, empty, of no known format, or ends early.
pub fn inspect(
    place: &Place,
    name: &str,
    limits: &Limits,
    cancelled: &dyn Fn() -> bool,
) -> Result<InputFile, SourceError> {
    let unreadable = unreadable(name);
    let mut file = place.open().map_err(&unreadable)?;
    let bytes = file.length().map_err(&unreadable)?;
    if bytes == 0 {
        return Err(SourceError::new(name, "is empty (0 bytes); fetch it again, or take it out of the recipe"));
    }
    let reader = detect(&mut file, name)?;
    let inspection = reader.inspect(&mut file, name, limits, cancelled)?;
    if inspection.rows == Some(0) {
        return Err(SourceError::no_rows(name));
    }
    Ok(InputFile { place: place.clone(), name: name.to_owned(), bytes, reader, inspection })
}
