//! Files that the decision on near-duplicates leaves on the way: numbers one after another, read again in this run only.

use std::{
    fs::File,
    io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use crate::error::{Error, Result};

/// Writes lists of numbers.
pub struct ListWriter {
    path: PathBuf,
    file: BufWriter<File>,
    /// Bytes written.
    pub bytes: u64,
}

impl ListWriter {
    /// A new file.
    pub fn create(path: PathBuf) -> Result<Self> {
        let file = BufWriter::with_capacity(1 << 16, File::create(&path).map_err(Error::io("create", &path))?);
        Ok(Self { path, file, bytes: 0 })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes).map_err(Error::io("write", &self.path))
    }

    /// Append a list: its length, then its numbers.
    pub fn list<const N: usize>(&mut self, numbers: impl ExactSizeIterator<Item = [u8; N]>) -> Result<()> {
        self.write(&u32::try_from(numbers.len()).unwrap_or(u32::MAX).to_le_bytes())?;
        numbers.into_iter().try_for_each(|number| self.write(&number))
    }

    /// The lists, from the first.
    pub fn finish(self) -> Result<ListReader> {
        let Self { path, file, .. } = self;
        drop(file.into_inner().map_err(|e| Error::io("write", &path)(e.into_error()))?);
        Ok(ListReader { path })
    }
}

/// Reads what a [`ListWriter`] wrote.
pub struct ListReader {
    path: PathBuf,
}

impl ListReader {
    /// Give each list to `each`.
    pub fn each<const N: usize>(&self, mut each: impl FnMut(&[[u8; N]]) -> Result<()>) -> Result<()> {
        let mut file =
            BufReader::with_capacity(1 << 16, File::open(&self.path).map_err(Error::io("open", &self.path))?);
        let mut list = Vec::new();
        loop {
            let mut length = [0; 4];
            match file.read(&mut length[..1]).map_err(Error::io("read", &self.path))? {
                0 => return Ok(()),
                _ => file.read_exact(&mut length[1..]).map_err(Error::io("read", &self.path))?,
            }
            list.clear();
            for _ in 0..u32::from_le_bytes(length) {
                let mut number = [0; N];
                file.read_exact(&mut number).map_err(Error::io("read", &self.path))?;
                list.push(number);
            }
            each(&list)?;
        }
    }
}

/// A file of which parts are written and read by their place.
pub struct Places {
    path: PathBuf,
    file: File,
    end: u64,
}

impl Places {
    /// A new file of so many zeros.
    pub fn create(path: &Path, bytes: u64) -> Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path);
        let mut file = file.map_err(Error::io("create", path))?;
        file.set_len(bytes).map_err(Error::io("write", path))?;
        file.seek(SeekFrom::Start(bytes)).map_err(Error::io("write", path))?;
        Ok(Self { path: path.to_owned(), file, end: bytes })
    }

    /// Append bytes; says where they begin.
    pub fn append(&mut self, bytes: &[u8]) -> Result<u64> {
        let at = self.end;
        self.write(at, bytes)?;
        self.end += bytes.len() as u64;
        Ok(at)
    }

    /// Write bytes at a place.
    pub fn write(&self, at: u64, bytes: &[u8]) -> Result<()> {
        self.file.write_all_at(bytes, at).map_err(Error::io("write", &self.path))
    }

    /// Fill `bytes` from a place.
    pub fn read(&self, at: u64, bytes: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(bytes, at).map_err(Error::io("read", &self.path))
    }
}
