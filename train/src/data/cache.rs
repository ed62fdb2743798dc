//! Tokenised rows in one file: written whole, checked, then read where they lie.
//!
//! Layout, little endian: 16 bytes of magic; per row its ids (u32 each) and the bits of what is learned (u32
//! words, lowest bit first); the index, 20 bytes a row (u64 word offset of its ids, u32 tokens, u32 number
//! of the row in the data set, u32 which of that row's answers it holds); the caller's notes as JSON; u64 rows and u64
//! length of the notes; SHA-256 of all before it. It grows on disk, never in memory.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use memmap2::Mmap;
use serde::{Serialize, de::DeserializeOwned};
use setaccio_base::{
    atomic::{self, AtomicFile},
    sha256::{HashingStream, digest_reader, hex},
};

use super::batch::Example;
use crate::error::{Error, Result};

const MAGIC: &[u8; 16] = b"setaccio tokens2";
const ENTRY: usize = 20;
const TAIL: usize = 16 + 32;

/// Writes such a file.
pub struct Writer {
    path: PathBuf,
    rows: HashingStream<AtomicFile>,
    index: BufWriter<File>,
    words: u64,
    count: u64,
}

impl Writer {
    /// For the file `path`, whose folder is made if need be.
    pub fn new(path: &Path) -> Result<Self> {
        let folder = atomic::create_parent(path)?;
        let index = tempfile::tempfile_in(folder).map_err(Error::io("create a file in", folder))?;
        let mut rows = HashingStream::new(AtomicFile::create(path)?);
        rows.write_all(MAGIC).map_err(Error::io("write", path))?;
        let words = MAGIC.len() as u64 / 4;
        Ok(Self { path: path.to_owned(), rows, index: BufWriter::new(index), words, count: 0 })
    }

    /// Add a row, which is number `row` of the data set, or its answer number `side`.
    pub fn push(&mut self, example: &Example, row: u32, side: u32) -> Result<()> {
        let n = example.ids.len();
        let mut words = Vec::with_capacity(n + n.div_ceil(32));
        words.extend_from_slice(&example.ids);
        words.extend(
            example.trained.chunks(32).map(|c| c.iter().enumerate().fold(0, |w, (i, t)| w | u32::from(*t) << i)),
        );
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        let length = u32::try_from(n).unwrap_or(u32::MAX);
        let mut write = || {
            self.rows.write_all(&bytes)?;
            self.index.write_all(&self.words.to_le_bytes())?;
            self.index.write_all(&length.to_le_bytes())?;
            self.index.write_all(&row.to_le_bytes())?;
            self.index.write_all(&side.to_le_bytes())
        };
        write().map_err(Error::io("write", &self.path))?;
        self.words += words.len() as u64;
        self.count += 1;
        Ok(())
    }

    /// Add the index and the notes, and put the file in its place.
    pub fn finish(self, notes: &impl Serialize) -> Result<()> {
        let Self { path, mut rows, index, count, .. } = self;
        let notes = serde_json::to_vec(notes).map_err(|e| Error::Other(e.to_string()))?;
        let write = || {
            let mut index = index.into_inner().map_err(io::IntoInnerError::into_error)?;
            index.seek(SeekFrom::Start(0))?;
            io::copy(&mut BufReader::new(index), &mut rows)?;
            rows.write_all(&notes)?;
            rows.write_all(&count.to_le_bytes())?;
            rows.write_all(&(notes.len() as u64).to_le_bytes())
        };
        write().map_err(Error::io("write", &path))?;
        let (mut file, sha256, _) = rows.finish();
        let digest: Vec<u8> =
            (0..32).filter_map(|i| u8::from_str_radix(sha256.get(2 * i..2 * i + 2)?, 16).ok()).collect();
        file.write_all(&digest).map_err(Error::io("write", &path))?;
        Ok(file.commit()?)
    }
}

/// Such a file, mapped into memory: pages come and go as rows are read.
#[derive(Debug)]
pub struct Cache {
    map: Mmap,
    index: usize,
    rows: usize,
    /// SHA-256 of the file, hex.
    pub sha256: String,
}

impl Cache {
    /// Map `path` and check all of it; `None` if it is not there or not whole, so that it is made again.
    pub fn open<N: DeserializeOwned>(path: &Path, cancelled: &dyn Fn() -> bool) -> Result<Option<(Self, N)>> {
        let mut file = match File::open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(Error::io("open", path))?,
        };
        let length = file.metadata().map_err(Error::io("read", path))?.len();
        if length < (MAGIC.len() + TAIL) as u64 {
            return Ok(None);
        }
        let (_, sha256) = digest_reader((&mut file).take(length - 32), cancelled).map_err(Error::io("read", path))?;
        if cancelled() {
            return Err(Error::Interrupted);
        }
        #[allow(
            unsafe_code,
            reason = "a map is only unsound if the file changes under it; these are never rewritten in place"
        )]
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io("map", path))?;
        if hex(&map[map.len() - 32..]) != sha256 || !map.starts_with(MAGIC) {
            return Ok(None);
        }
        let parts = || {
            let [rows, size] = [TAIL, TAIL - 8].map(|back| number(&map, map.len() - back));
            let (rows, notes) = (rows?, map.len().checked_sub(TAIL + size?)?);
            let index = notes.checked_sub(rows.checked_mul(ENTRY)?)?;
            let notes = serde_json::from_slice::<N>(&map[notes..map.len() - TAIL]).ok()?;
            Some((rows, index, notes))
        };
        let Some((rows, index, notes)) = parts() else { return Ok(None) };
        Ok(Some((Self { map, index, rows, sha256 }, notes)))
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Tokens of row `i`.
    ///
    /// # Panics
    /// There is no such row.
    pub fn length(&self, i: usize) -> usize {
        self.entry(i).1 as usize
    }

    /// Number of row `i` in the data set.
    ///
    /// # Panics
    /// There is no such row.
    pub fn row(&self, i: usize) -> u32 {
        self.entry(i).2
    }

    /// Which of its row's answers `i` holds.
    ///
    /// # Panics
    /// There is no such row.
    pub fn side(&self, i: usize) -> u32 {
        self.entry(i).3
    }

    /// Row `i`.
    ///
    /// # Panics
    /// There is no such row.
    pub fn example(&self, i: usize) -> Example {
        let (at, n) = (self.entry(i).0, self.length(i));
        let words = |from: usize, n: usize| self.map[from * 4..(from + n) * 4].chunks_exact(4).map(word);
        let bits: Vec<u32> = words(at + n, n.div_ceil(32)).collect();
        let trained = (0..n).map(|t| bits[t / 32] >> (t % 32) & 1 == 1).collect();
        Example { ids: words(at, n).collect(), trained }
    }

    fn entry(&self, i: usize) -> (usize, u32, u32, u32) {
        assert!(i < self.rows, "row {i} of {}", self.rows);
        let at = self.index + i * ENTRY;
        let [n, row, side] = [8, 12, 16].map(|o| word(&self.map[at + o..at + o + 4]));
        (number(&self.map, at).unwrap_or(0), n, row, side)
    }
}

fn word(bytes: &[u8]) -> u32 {
    bytes.try_into().map_or(0, u32::from_le_bytes)
}

fn number(map: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u64::from_le_bytes(map.get(at..at + 8)?.try_into().ok()?)).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn rows() -> Vec<Example> {
        let row = |n: usize| Example {
            ids: (0..n).map(|t| u32::try_from(t * t + n).unwrap()).collect(),
            trained: (0..n).map(|t| (t * n) % 3 == 1).collect(),
        };
        [1, 31, 32, 33, 2, 100, 64].map(row).to_vec()
    }

    fn write(path: &Path, rows: &[Example]) {
        let mut writer = Writer::new(path).unwrap();
        (0..).zip(rows).for_each(|(i, r)| writer.push(r, 3 * i, i % 2).unwrap());
        writer.finish(&"notes").unwrap();
    }

    fn open(path: &Path) -> Option<(Cache, String)> {
        Cache::open(path, &|| false).unwrap()
    }

    #[test]
    fn rows_come_back_as_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b.tokens");
        assert!(open(&path).is_none());
        for rows in [rows(), rows()[..1].to_vec(), Vec::new()] {
            write(&path, &rows);
            let (cache, notes) = open(&path).unwrap();
            assert_eq!((cache.len(), notes.as_str()), (rows.len(), "notes"));
            assert_eq!((0..rows.len()).map(|i| cache.example(i)).collect::<Vec<_>>(), rows);
            assert!((0..).zip(&rows).all(|(i, r)| cache.length(i) == r.ids.len()
                && cache.row(i) as usize == 3 * i
                && cache.side(i) as usize == i % 2));
        }
        let names: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["b.tokens"], "nothing is left beside it");
    }

    #[test]
    fn a_file_that_is_not_whole_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.tokens");
        write(&path, &rows());
        let whole = fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(37) {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            fs::write(&path, &bytes).unwrap();
            assert!(open(&path).is_none(), "byte {at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert!(open(&path).is_none(), "cut at {at}");
        }
        fs::write(&path, &whole).unwrap();
        assert!(open(&path).is_some());
    }
}
