//! Parquet files of others: what they say of themselves is held against their bytes before the library sees it, and
//! what it still panics at is an error.

mod batches;
mod footer;
mod pages;
#[cfg(test)]
mod tests;
mod thrift;

use std::{error::Error, fs::File, io, path::Path, sync::Arc};

use parquet::{
    arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions},
    errors::ParquetError,
    file::{metadata::ParquetMetaDataReader, reader::ChunkReader},
};
use setaccio_base::{error::is_of_the_way, unwound::unwound};

pub use batches::{Batches, Builder};
pub use pages::{Guarded, PageLimit};

/// Bytes that a page of our own files unpacks to at most, by far.
pub const PAGES: PageLimit = PageLimit { bytes: 1 << 30, advice: "so that it was not written by a build" };

/// Why a file cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is not what was written.
    Damage,
    /// It may be whole, and asks for more than is allowed, or for what is not known.
    Limit,
    /// The system refuses.
    System,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Of what kind it is.
    pub why: Why,
    /// What it is.
    pub message: String,
}

impl Flaw {
    /// What an error of the library stands for.
    pub fn of(error: &ParquetError) -> Self {
        if let Some(message) = system(error) {
            return Self { why: Why::System, message };
        }
        Self::said(error.to_string())
    }

    /// What the library's words for it stand for.
    pub fn said(mut message: String) -> Self {
        let why = if beyond(&message).is_some() { Why::Limit } else { Why::Damage };
        while let Some(kind) = KINDS.iter().find(|kind| message.starts_with(**kind)) {
            message.drain(..kind.len());
        }
        Self { why, message }
    }

    /// What to do about a file that is whole and beyond what the library knows, to be said behind the message.
    pub fn way_out(&self) -> &'static str {
        beyond(&self.message).unwrap_or_default()
    }
}

/// What the library calls its errors, before what is wrong; a person learns nothing by it.
const KINDS: [&str; 5] = ["Parquet argument error: ", "Parquet error: ", "Arrow: ", "External: ", "EOF: "];

/// Words by which the library says that it does not know or allow something, and what to do about each.
const BEYOND: [(&[&str], &str); 4] = [
    (&["encrypt"], "; write it without encryption"),
    (&["brotli", "lzo", "disabled feature"], "; write the file with zstd, gzip, snappy or lz4 instead"),
    (&["overflow"], "; write its long texts in smaller row groups, or leave them out"),
    (
        &["nyi:", "not yet implemented", "not implemented", "unsupported", "not supported"],
        "; write the file in another way, for instance with pyarrow and its defaults",
    ),
];

/// What to do about what a message says, if that is no damage.
fn beyond(message: &str) -> Option<&'static str> {
    let message = message.to_lowercase();
    let says = |(words, _): &&(&[&str], _)| words.iter().any(|word| message.contains(word));
    BEYOND.iter().find(says).map(|(_, way_out)| *way_out)
}

/// What the system or a store says, where an error comes from it.
fn system(error: &ParquetError) -> Option<String> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<io::Error>()
            && is_of_the_way(io)
        {
            return Some(io.to_string());
        }
        source = error.source();
    }
    None
}

/// What the last eight bytes of a file are: the length of its footer, and its mark.
const TAIL: u64 = 8;

/// What a file begins and ends with.
const MARK: &[u8] = b"PAR1";

/// Read a footer, and hold what it says against the file.
///
/// # Errors
/// The file is damaged, or it is beyond what is read.
pub fn load<R: ChunkReader>(file: &R, options: ArrowReaderOptions) -> Result<ArrowReaderMetadata, Flaw> {
    let damage = |message: String| Flaw { why: Why::Damage, message };
    let flaw = |error: ParquetError| Flaw::of(&error);
    let length = file.len();
    let tail = match length.checked_sub(TAIL).filter(|start| *start >= MARK.len() as u64) {
        Some(start) => file.get_bytes(start, 8).map_err(flaw)?,
        None => return Err(damage(format!("it has {length} bytes, which is too few"))),
    };
    let said = u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]);
    let end = length - TAIL;
    let start = end.checked_sub(u64::from(said)).filter(|start| *start >= MARK.len() as u64);
    match (&tail[4..], start) {
        (b"PARE", _) => Err(Flaw { why: Why::Limit, message: "its footer is encrypted".into() }),
        (mark, _) if mark != MARK => Err(damage("it does not end as Parquet does".into())),
        (_, None) => Err(damage(format!("its footer is said to have {said} bytes, and the file has {length}"))),
        (_, Some(start)) => {
            let bytes = file.get_bytes(start, said as usize).map_err(flaw)?;
            footer::walk(&bytes).map_err(Flaw::said)?;
            let read = || ParquetMetaDataReader::decode_metadata(&bytes);
            let metadata = unwound(read, ParquetError::General).map_err(flaw)?;
            footer::check(&metadata, start).map_err(damage)?;
            unwound(|| ArrowReaderMetadata::try_new(Arc::new(metadata), options), ParquetError::General).map_err(flaw)
        }
    }
}

/// The footer and batches of a file that a build wrote, as `settings` wants them.
///
/// # Errors
/// It is missing, or not what was written.
pub fn own(
    path: &Path,
    settings: impl FnOnce(Builder<File>) -> Builder<File>,
) -> setaccio_base::Result<(u64, Batches)> {
    let file = File::open(path).map_err(setaccio_base::Error::io("open", path))?;
    let metadata = load(&file, ArrowReaderOptions::new()).map_err(|flaw| own_flaw(path, &flaw))?;
    let rows = u64::try_from(metadata.metadata().file_metadata().num_rows()).unwrap_or(0);
    let groups = 0..metadata.metadata().num_row_groups();
    let guarded = Guarded::new(file, metadata.metadata(), groups, PAGES);
    Ok((rows, Batches::new(guarded, metadata, settings).map_err(|flaw| own_flaw(path, &flaw))?))
}

/// What is said of a file that a build wrote.
pub fn own_flaw(path: &Path, flaw: &Flaw) -> setaccio_base::Error {
    let Flaw { why, message } = flaw;
    setaccio_base::Error::damaged(
        path,
        match why {
            Why::System => format!("cannot be read: {message}"),
            Why::Damage | Why::Limit => format!("is no whole Parquet file: {message}; build the data set again"),
        },
    )
}
