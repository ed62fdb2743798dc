//! The formats that can be read, told from a file's first bytes; CSV and text, which begin like anything, also from the
//! ending of its name, or from what the recipe says.

use std::{
    io::{self, BufReader, Read, Seek},
    sync::Arc,
};

use setaccio_base::{
    bundle::{BundleReader, Place},
    error::is_of_the_way,
};
use setaccio_dataset::recipe::{Documents, FileFormat, Source};

use super::{
    columns::ColumnsReader,
    compress::{Compression, MAGIC_BYTES, ending},
    csv::{CsvReader, Dialect, HEAD_BYTES},
    encoding::{BOM, Packing, encoding},
    frame::Layout,
    ipc::{self, IpcReader},
    json::JsonReader,
    layout::{JsonFile, LayoutError, layout},
    parquet::ParquetReader,
    reader::{InputFile, Inspection, Limits, Reader, Refusal, cut_short, unreadable},
    scan::ScanError,
    text::TextReader,
};
use crate::error::SourceError;

/// What this file is read as: by its name, if nothing else is said. Only formats that begin like anything have a name.
fn by_name(name: &str) -> Option<FileFormat> {
    match ending(name)?.as_str() {
        "csv" => Some(FileFormat::Csv),
        "tsv" | "tab" => Some(FileFormat::Tsv),
        "txt" | "md" => Some(FileFormat::Text),
        _ => None,
    }
}

/// What reads this file, which is left at its start; `None` where it holds nothing but white space.
///
/// # Errors
/// It begins like nothing that is known, or not as the recipe says.
fn detect(
    file: &mut BundleReader,
    name: &str,
    source: &Source,
    limits: &Limits,
) -> Result<Option<Arc<dyn Reader>>, SourceError> {
    let unreadable = unreadable(name);
    let fault = |what: String| SourceError::new(name, what);
    let mut magic = Vec::new();
    file.by_ref().take(MAGIC_BYTES as u64).read_to_end(&mut magic).map_err(&unreadable)?;
    file.rewind().map_err(&unreadable)?;
    if magic.starts_with(PARQUET) {
        return Ok(Some(Arc::new(ParquetReader)));
    }
    if magic.starts_with(ipc::FILE) || magic.starts_with(ipc::STREAM) {
        return Ok(Some(Arc::new(IpcReader)));
    }
    let mut packing = Packing { compression: Compression::of(&magic), encoding: None };
    let broken = |e: io::Error| match Refusal::of(&e) {
        Some(refusal) => fault(refusal.to_string()),
        None if is_of_the_way(&e) => unreadable(e),
        None => fault(format!("its compression is broken from the start: {e}")),
    };
    let head = |packing: Packing, file: &mut BundleReader| {
        let mut head = Vec::new();
        packing
            .undo(&mut *file, limits.window_log)
            .and_then(|r| r.take(HEAD_BYTES as u64).read_to_end(&mut head))
            .map_err(broken)?;
        file.rewind().map_err(&unreadable)?;
        Ok::<_, SourceError>(head)
    };
    let mut text = head(packing, file)?;
    if let Some(what) = binary(&text, packing.compression != Compression::None) {
        return Err(fault(what));
    }
    if let Some(what) = wide(&text).filter(|_| source.encoding.is_none()) {
        return Err(fault(what));
    }
    packing.encoding = encoding(&text, source.encoding.as_deref()).map_err(&fault)?;
    if packing.encoding.is_some() {
        text = head(packing, file)?;
    }
    if text.len() < HEAD_BYTES && text.strip_prefix(BOM).unwrap_or(&text).trim_ascii_start().is_empty() {
        return Ok(None);
    }
    let format = match source.format.or_else(|| by_name(name)) {
        // JSON lines are often called so, and no text begins like them.
        Some(FileFormat::Text) if source.format.is_none() && begins_as_rows(&text) => FileFormat::Json,
        Some(format) => format,
        None => FileFormat::Json,
    };
    check_keys(source, format).map_err(&fault)?;
    Ok(Some(match format {
        FileFormat::Json => json(file, name, &text, source, packing, limits)?,
        FileFormat::Text => Arc::new(TextReader { documents: source.documents, packing }),
        FileFormat::Csv | FileFormat::Tsv => {
            if page(&text) {
                return Err(fault("is a web page, and no table: fetch it again".into()));
            }
            let quote = source.quote.as_ref().map_or(Some(b'"'), |quote| quote.bytes().next());
            let dialect = match source.separator.map(|c| c as u8) {
                Some(separator) => Dialect { separator, quote },
                None if format == FileFormat::Tsv => Dialect { separator: b'\t', quote },
                None => Dialect::guess(text.strip_prefix(BOM).unwrap_or(&text), quote),
            };
            let whole = packing.undo(&mut *file, limits.window_log).map_err(&unreadable)?;
            let reader = CsvReader::new((&text, whole), dialect, &source.columns, packing, limits.max_row_bytes)
                .map_err(fault)?;
            file.rewind().map_err(&unreadable)?;
            Arc::new(reader)
        }
    }))
}

/// What reads a file of JSON.
fn json(
    file: &mut BundleReader,
    name: &str,
    head: &[u8],
    source: &Source,
    packing: Packing,
    limits: &Limits,
) -> Result<Arc<dyn Reader>, SourceError> {
    let unreadable = unreadable(name);
    let found = {
        let text = packing.undo(&mut *file, limits.window_log).map_err(&unreadable)?;
        layout(head, BufReader::with_capacity(HEAD_BYTES, text), source.field.as_deref())
    };
    file.rewind().map_err(&unreadable)?;
    match found {
        Ok(JsonFile::Rows { layout, hint }) => Ok(Arc::new(JsonReader { layout, packing, hint })),
        Ok(JsonFile::Columns { columns, rows, hint }) => Ok(Arc::new(ColumnsReader { columns, rows, packing, hint })),
        Ok(JsonFile::Empty) => Ok(Arc::new(JsonReader { layout: Layout::Lines, packing, hint: None })),
        Ok(JsonFile::Foreign) if page(head) => {
            Err(SourceError::new(name, "is a web page, as a failed download leaves it: fetch it again"))
        }
        Ok(JsonFile::Foreign) => Err(SourceError::new(
            name,
            "begins like no format that is read: these are Parquet, Arrow and JSON (an array, lines, objects), also in gzip, \
             zstd, bzip2 or xz. CSV and text are told by the ending of the name (.csv, .tsv, .txt, .md) or by \
             `format = \"csv\"` in the [[source]]",
        )),
        Err(LayoutError::Unknown(what) | LayoutError::Scan(ScanError::Broken(what))) => {
            Err(SourceError::new(name, what))
        }
        Err(LayoutError::Scan(ScanError::Io(e))) => Err(cut_short(name, 0, &e)),
    }
}

/// Keys of the recipe that say something of files of another format, which would be overlooked.
fn check_keys(source: &Source, format: FileFormat) -> Result<(), String> {
    let table = matches!(format, FileFormat::Csv | FileFormat::Tsv);
    let keys = [
        ("field", source.field.is_some(), format == FileFormat::Json, "JSON"),
        ("separator", source.separator.is_some(), table, "CSV"),
        ("quote", source.quote.is_some(), table, "CSV"),
        ("columns", !source.columns.is_empty(), table, "CSV"),
        ("documents", source.documents != Documents::File, format == FileFormat::Text, "text"),
    ];
    match keys.into_iter().find(|(_, given, fits, _)| *given && !fits) {
        Some((key, _, _, of)) => {
            Err(format!("is read as {}, and `{key}` in its [[source]] is for {of}", format.name()))
        }
        None => Ok(()),
    }
}

/// What a Parquet file begins with.
const PARQUET: &[u8] = b"PAR1";

/// Whether a text begins as an object or a list of them does in JSON.
fn begins_as_rows(text: &[u8]) -> bool {
    let text = text.strip_prefix(BOM).unwrap_or(text).trim_ascii_start();
    let object = text.strip_prefix(b"[").map_or(text, <[u8]>::trim_ascii_start).strip_prefix(b"{");
    object.is_some_and(|inside| matches!(inside.trim_ascii_start(), [b'"', ..]))
}

/// Whether a text begins as a web page does.
fn page(text: &[u8]) -> bool {
    let start = text[..text.len().min(512)].trim_ascii_start().to_ascii_lowercase();
    start.starts_with(b"<!doctype html") || start.starts_with(b"<html")
}

/// What is said of bytes that are known, and read by nothing here.
fn binary(head: &[u8], compressed: bool) -> Option<String> {
    let unpack = "unpack it, and name what is in it";
    let (what, advice) = match head {
        [b'P', b'A', b'R', b'1', ..] if compressed => ("Parquet, compressed once more", "unpack it"),
        [b'A', b'R', b'R', b'O', b'W', b'1', ..] | [0xff, 0xff, 0xff, 0xff, ..] if compressed => {
            ("Arrow, compressed once more", "unpack it")
        }
        [b'P', b'A', b'R', b'E', ..] => ("Parquet with an encrypted footer", "write it without encryption"),
        [b'P', b'K', 3, 4, ..] => ("a zip file (or one of Excel's)", "unpack it, or save the sheet as CSV"),
        [0x04, 0x22, 0x4d, 0x18, ..] => ("compressed with lz4", unpack),
        [b'7', b'z', 0xbc, 0xaf, ..] => ("a 7z archive", unpack),
        [b'R', b'a', b'r', b'!', ..] => ("a rar archive", unpack),
        [b'%', b'P', b'D', b'F', ..] => ("a PDF", "take its text out first"),
        [b'S', b'Q', b'L', b'i', b't', b'e', ..] => ("an SQLite file", "write its rows as JSON lines or CSV"),
        [b'O', b'b', b'j', 1, ..] => ("Avro", "write its rows as Parquet or JSON lines"),
        [b'O', b'R', b'C', ..] => ("ORC", "write its rows as Parquet or JSON lines"),
        _ if head.get(257..262) == Some(b"ustar") => ("a tar archive", unpack),
        _ => return None,
    };
    Some(format!("is {what}: {advice}"))
}

/// What is said of text of the Latin script in two bytes a character, where the mark is missing that says so.
fn wide(head: &[u8]) -> Option<String> {
    let encoding = match head {
        [a, 0, b, 0, ..] if *a != 0 && *b != 0 => "utf-16le",
        [0, a, 0, b, ..] if *a != 0 && *b != 0 => "utf-16be",
        _ => return None,
    };
    Some(format!(
        "is UTF-16 without a byte order mark: write `encoding = \"{encoding}\"` into its [[source]], or give \
         `--encoding {encoding}` to `setaccio init`"
    ))
}

/// Look a file through once: its hash, format, rows and slices. Stops early, with whatever it has,
/// when `cancelled` says so. A file without rows has no slices.
///
/// # Errors
/// The file is missing, of no known format, or ends early.
pub fn inspect(
    place: &Place,
    name: &str,
    source: &Source,
    limits: &Limits,
    cancelled: &dyn Fn() -> bool,
) -> Result<InputFile, SourceError> {
    input(place, name, source, limits, |reader, file, empty| {
        let mut inspection = reader.inspect(file, name, limits, cancelled)?;
        if empty {
            inspection.rows = Some(0);
        }
        if inspection.rows == Some(0) {
            inspection.slices.clear();
        }
        Ok(inspection)
    })
}

/// The same of a file that was looked through before, of which the beginning alone is read.
///
/// # Errors
/// The file is missing, or of no known format.
pub fn inspected(
    place: &Place,
    name: &str,
    source: &Source,
    limits: &Limits,
    inspection: Inspection,
) -> Result<InputFile, SourceError> {
    input(place, name, source, limits, |_, _, _| Ok(inspection))
}

fn input(
    place: &Place,
    name: &str,
    source: &Source,
    limits: &Limits,
    look: impl FnOnce(&dyn Reader, &mut BundleReader, bool) -> Result<Inspection, SourceError>,
) -> Result<InputFile, SourceError> {
    let unreadable = unreadable(name);
    if let Place::Stored(object) = place
        && object.etag.is_none()
        && object.modified.is_none()
    {
        let what = "is on a server that states neither ETag nor Last-Modified, so that a change would go unseen: bring it here first";
        return Err(SourceError::new(name, what));
    }
    let mut file = place.open().map_err(&unreadable)?;
    let bytes = file.length().map_err(&unreadable)?;
    let nothing = || {
        let packing = Packing { compression: Compression::None, encoding: None };
        Arc::new(JsonReader { layout: Layout::Lines, packing, hint: None }) as Arc<dyn Reader>
    };
    let found = detect(&mut file, name, source, limits)?;
    let empty = found.is_none();
    let reader = found.unwrap_or_else(nothing);
    let inspection = look(&*reader, &mut file, empty)?;
    Ok(InputFile { place: place.clone(), name: name.to_owned(), bytes, reader, inspection })
}
