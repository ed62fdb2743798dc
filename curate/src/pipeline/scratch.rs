//! Files that decisions about all rows leave on the way: numbers one after another, read again in this run only.

use std::{
    fs::{self, File},
    io::{Seek, SeekFrom},
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::error::{Error, Result};

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

/// Records of one size in buckets, which many threads put there at once: they come back bucket by bucket, in any order. All lie in
/// one file, a piece of a bucket after a piece of another.
pub struct Buckets<const N: usize> {
    path: PathBuf,
    file: File,
    end: AtomicU64,
    /// Bytes of a bucket that are held in memory at most.
    held: usize,
    all: Vec<Mutex<Bucket>>,
}

#[derive(Default)]
struct Bucket {
    /// Records that are not in the file yet.
    held: Vec<u8>,
    /// Where its pieces are in the file, and their bytes.
    pieces: Vec<(u64, u32)>,
}

/// Bytes of all buckets that are held in memory, about, if each need not hold less than
const HELD: usize = 32 << 20;
/// so many: a piece of a file has its place in memory too,
const LEAST_PIECE: usize = 4 << 10;
/// nor gains by more than so many.
const MOST_PIECE: usize = 16 << 10;

impl<const N: usize> Buckets<N> {
    /// So many empty ones, in a new file.
    pub fn create(path: PathBuf, buckets: u32) -> Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path);
        let file = file.map_err(Error::io("create", &path))?;
        let all = (0..buckets).map(|_| Mutex::default()).collect();
        let held = (HELD / (buckets as usize).max(1)).clamp(LEAST_PIECE, MOST_PIECE);
        Ok(Self { path, file, end: AtomicU64::new(0), held, all })
    }

    /// How many there are.
    pub fn buckets(&self) -> u32 {
        u32::try_from(self.all.len()).unwrap_or(u32::MAX)
    }

    fn bucket(&self, bucket: u32) -> MutexGuard<'_, Bucket> {
        self.all[bucket as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Put a record into a bucket.
    pub fn put(&self, bucket: u32, record: &[u8; N]) -> Result<()> {
        let mut bucket = self.bucket(bucket);
        bucket.held.extend_from_slice(record);
        if bucket.held.len() + N > self.held {
            self.write_held(&mut bucket)?;
        }
        Ok(())
    }

    /// Give each record of a bucket to `each`.
    pub fn each(&self, bucket: u32, mut each: impl FnMut(&[u8; N]) -> Result<()>) -> Result<()> {
        let bucket = self.bucket(bucket);
        let mut piece = Vec::new();
        for (at, bytes) in &bucket.pieces {
            piece.resize(*bytes as usize, 0);
            self.file.read_exact_at(&mut piece, *at).map_err(Error::io("read", &self.path))?;
            piece.as_chunks().0.iter().try_for_each(&mut each)?;
        }
        bucket.held.as_chunks().0.iter().try_for_each(each)
    }

    /// The records of a range of buckets, ascending.
    pub fn sorted(&self, buckets: Range<u32>) -> Result<Vec<[u8; N]>> {
        let mut records = Vec::new();
        for bucket in buckets {
            self.each(bucket, |record| {
                records.push(*record);
                Ok(())
            })?;
        }
        records.sort_unstable();
        Ok(records)
    }

    fn write_held(&self, bucket: &mut Bucket) -> Result<()> {
        let at = self.end.fetch_add(bucket.held.len() as u64, Ordering::Relaxed);
        self.file.write_all_at(&bucket.held, at).map_err(Error::io("write", &self.path))?;
        let bytes = u32::try_from(bucket.held.len()).unwrap_or(u32::MAX);
        bucket.pieces.push((at, bytes));
        bucket.held.clear();
        Ok(())
    }

    /// Make room for others.
    pub fn remove(self) -> Result<()> {
        fs::remove_file(&self.path).map_err(Error::io("remove", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_from_their_buckets() -> Result<()> {
        let dir = tempfile::tempdir().map_err(Error::io("create", "temp"))?;
        let buckets = Buckets::<8>::create(dir.path().join("records"), 3)?;
        let records = |from: u64| (0..5000).map(|i| (from + i).to_be_bytes()).collect::<Vec<_>>();
        let put = &|bucket, from: u64| records(from).iter().try_for_each(|record| buckets.put(bucket, record));
        let done = std::thread::scope(|scope| {
            let threads = [(0, 0), (2, 10_000), (0, 5000)].map(|(bucket, from)| scope.spawn(move || put(bucket, from)));
            threads.map(|thread| thread.join().is_ok_and(|put| put.is_ok()))
        });
        assert_eq!(done, [true; 3]);
        assert_eq!(buckets.sorted(0..1)?, [records(0), records(5000)].concat());
        assert_eq!(buckets.sorted(1..2)?.len(), 0);
        assert_eq!(buckets.sorted(0..3)?.len(), 15_000);
        buckets.remove()
    }
}
