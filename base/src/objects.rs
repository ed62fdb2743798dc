//! Objects of a store (`s3://`, `gs://`, `az://`, `https://`), each as it was when it was looked at. What speaks to stores is
//! brought in by the command line, which [`install`]s it when it starts; in a program that installs none every address is refused.

use std::{
    fmt,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    path::Path,
    sync::{Arc, OnceLock},
};

use crate::progress::Progress;

static STORES: OnceLock<Box<dyn Stores>> = OnceLock::new();

/// The first bytes that a reader asks for after it was moved: a footer or the first line needs no more.
const FIRST: u64 = 64 << 10;

/// Bytes that a reader asks for at a time when it goes on: few enough that many tasks may hold as many each.
const MOST: u64 = 8 << 20;

/// A result of a store.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Why a store does not do what it is asked for. The sentence names the object and says what to do; it holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError {
    /// The object, or the folder of objects.
    pub address: String,
    /// Of what kind it is.
    pub why: Why,
    /// What is wrong and what to do, without the address.
    pub message: String,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// There is another object by this name, or another version of it, than was expected.
    Changed,
    /// Whoever waits was told to stop.
    Interrupted,
    /// Anything else.
    Refused,
}

impl StoreError {
    /// What is said of `address`.
    pub fn new(address: &str, why: Why, message: impl Into<String>) -> Self {
        Self { address: address.to_owned(), why, message: message.into() }
    }

    /// The store's error that reading came upon, if it is one.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.address, self.message)
    }
}

impl std::error::Error for StoreError {}

impl From<StoreError> for io::Error {
    fn from(error: StoreError) -> Self {
        Self::other(error)
    }
}

/// An object as it was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its address.
    pub address: String,
    /// Its size.
    pub bytes: u64,
    /// What the store calls this version of its bytes, without quotes. Weak ones, which do not stand for bytes, are none.
    pub etag: Option<String>,
    /// When it was changed last, in seconds since 1970, if the store says so.
    pub modified: Option<i64>,
    /// What some stores want to know beside the ETag of what is to be replaced.
    pub version: Option<String>,
}

/// On what an object is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// There is none of the name.
    Absent,
    /// It is still this version.
    Unchanged(Object),
    /// Whatever is there.
    Always,
}

/// What speaks to stores. Errors that pass are tried again before they are given.
pub trait Stores: Send + Sync {
    /// The objects below a folder, by address.
    ///
    /// # Errors
    /// The store refuses, or does not list.
    fn list(&self, folder: &str) -> Result<Vec<Object>>;

    /// The object of this address, if there is one.
    ///
    /// # Errors
    /// The store refuses.
    fn look(&self, address: &str) -> Result<Option<Object>>;

    /// These bytes of an object.
    ///
    /// # Errors
    /// The store refuses; or it has another version now ([`Why::Changed`]).
    fn read(&self, object: &Object, range: Range<u64>) -> Result<Vec<u8>>;

    /// Write a small object whole. Says what the store calls it.
    ///
    /// # Errors
    /// The store refuses; or `condition` does not hold ([`Why::Changed`]).
    fn put(&self, address: &str, bytes: Vec<u8>, condition: &Condition) -> Result<Option<String>>;

    /// Write a file as an object, in parts if it is large. What `journal` says of parts that an attempt before left is gone on
    /// with; it is kept until the object is whole.
    ///
    /// # Errors
    /// The store refuses, the file cannot be read, or whoever follows it says stop.
    fn upload(&self, address: &str, file: &Path, journal: &Path, progress: &dyn Progress) -> Result<()>;

    /// Let the store forget the parts of an upload that was begun and that nobody goes on with, by its journal.
    ///
    /// # Errors
    /// The store refuses.
    fn forget(&self, journal: &Path) -> Result<()>;

    /// Remove an object, if it is there.
    ///
    /// # Errors
    /// The store refuses.
    fn delete(&self, address: &str) -> Result<()>;
}

/// Speak to stores by these from now on; the first call decides.
pub fn install(stores: Box<dyn Stores>) {
    STORES.get_or_init(|| stores);
}

/// What speaks to the store of this address.
///
/// # Errors
/// The program has nothing that does.
pub fn stores(address: &str) -> Result<&'static dyn Stores> {
    let none = || {
        let message = "is in an object store, and this program was built without them: build it with `--features store`, or \
                       bring the files here first";
        StoreError::new(address, Why::Refused, message)
    };
    STORES.get().map(Box::as_ref).ok_or_else(none)
}

/// Whether a name is an address, and no path: `s3://bucket/rows.parquet`.
pub fn is_address(name: &str) -> bool {
    let scheme = name.split_once("://").map_or("", |(scheme, _)| scheme);
    let mut letters = scheme.bytes();
    letters.next().is_some_and(|b| b.is_ascii_lowercase())
        && letters.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'+' || b == b'-')
}

/// The address of something below a folder.
pub fn join(folder: &str, name: &str) -> String {
    format!("{}/{name}", folder.trim_end_matches('/'))
}

/// Scheme and bucket (or host) of an address, and what comes behind them.
pub fn parts(address: &str) -> (&str, &str) {
    let behind = address.find("://").map_or(0, |at| at + 3);
    match address[behind..].find('/') {
        Some(slash) => (&address[..behind + slash], address[behind + slash..].trim_start_matches('/')),
        None => (address, ""),
    }
}

impl Object {
    /// What tells this version of its bytes from others where its hash is not known: address, size, and the store's name for it.
    pub fn state(&self) -> String {
        let state = match (&self.etag, self.modified) {
            (Some(etag), _) => format!("ETag {etag}"),
            (None, modified) => format!("changed {}", modified.unwrap_or(0)),
        };
        format!("{}, {} bytes, {state}", self.address, self.bytes)
    }

    /// All of it.
    ///
    /// # Errors
    /// The store refuses; it has another version now.
    pub fn whole(&self) -> Result<Vec<u8>> {
        stores(&self.address)?.read(self, 0..self.bytes)
    }
}

/// Reads an object as if it were a file, some of it at a time.
#[derive(Clone, Debug)]
pub struct ObjectReader {
    object: Arc<Object>,
    at: u64,
    /// What was read last, and where it begins. Readers of the same object share it.
    held: Arc<Vec<u8>>,
    start: u64,
    /// Bytes to ask for next.
    ahead: u64,
}

impl ObjectReader {
    /// At its start.
    pub fn new(object: Arc<Object>) -> Self {
        Self { object, at: 0, held: Arc::default(), start: 0, ahead: FIRST }
    }

    /// What it reads.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// Bytes `start..start + length`.
    ///
    /// # Errors
    /// The store refuses; it has another version now; the object ends before.
    pub fn range(&self, start: u64, length: usize) -> io::Result<Vec<u8>> {
        let end = start.saturating_add(length as u64);
        if end > self.object.bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(held) = self.held(start, length) {
            return Ok(held.to_vec());
        }
        Ok(stores(&self.object.address)?.read(&self.object, start..end)?)
    }

    fn held(&self, start: u64, length: usize) -> Option<&[u8]> {
        let from = usize::try_from(start.checked_sub(self.start)?).ok()?;
        self.held.get(from..from.checked_add(length)?)
    }
}

impl Read for ObjectReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.object.bytes || buffer.is_empty() {
            return Ok(0);
        }
        if self.held(self.at, 1).is_none() {
            let end = self.object.bytes.min(self.at + self.ahead);
            self.held = Arc::new(stores(&self.object.address)?.read(&self.object, self.at..end)?);
            (self.start, self.ahead) = (self.at, (self.ahead * 4).min(MOST));
        }
        let from = usize::try_from(self.at - self.start).unwrap_or(usize::MAX);
        let there = self.held.get(from..).unwrap_or_default();
        let n = there.len().min(buffer.len());
        buffer[..n].copy_from_slice(&there[..n]);
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for ObjectReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.object.bytes.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        let at = at.ok_or(io::ErrorKind::InvalidInput)?;
        if at != self.at {
            (self.at, self.ahead) = (at, FIRST);
        }
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_paths() {
        for address in ["s3://b/k", "https://example.org/a.parquet", "gs://b", "s3a://b/k"] {
            assert!(is_address(address), "{address}");
        }
        for path in ["rows/a.jsonl", "/a/b", "C://x", "://x", "a b://c", ""] {
            assert!(!is_address(path), "{path}");
        }
        assert_eq!(parts("s3://bucket/a/b.json"), ("s3://bucket", "a/b.json"));
        assert_eq!(parts("s3://bucket"), ("s3://bucket", ""));
        assert_eq!(join("s3://bucket/", "a"), "s3://bucket/a");
    }

    #[test]
    fn without_a_store_an_address_is_refused_by_name() {
        let said = stores("s3://b/k").err().map(|e| e.to_string()).unwrap_or_default();
        assert!(said.starts_with("s3://b/k: is in an object store") && said.contains("--features store"), "{said}");
    }
}
