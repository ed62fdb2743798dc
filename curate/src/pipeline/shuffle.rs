//! Records on their way from the pieces of one stage to those of a later one: each piece writes a file in which those of each bucket
//! lie together, and whoever makes a piece of the later stage reads its bucket from all of these files. So any number of processes
//! move any number of records, and each holds a bucket.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use setaccio_base::atomic::{self, AtomicFile};
use xxhash_rust::xxh3::xxh3_64;

use super::team::{Team, lost};
use crate::error::{Error, Result};

/// Bytes that say where the records of a bucket begin in the file, and what their hash is.
const ENTRY: usize = 16;

/// A record and its bucket.
pub type Sent<const N: usize> = (u32, [u8; N]);

/// The files that the pieces of a stage write, of records of `N` bytes.
#[derive(Debug)]
pub struct Shuffle<const N: usize> {
    folder: PathBuf,
    kind: &'static str,
    pieces: usize,
    /// Whether other processes read them.
    shared: bool,
}

impl<const N: usize> Shuffle<N> {
    /// Those of a stage of so many pieces; of a process alone they lie in the folder `scratch`.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn new(
        (team, scratch): (Option<&Team>, &Path),
        (stage, kind): (&str, &'static str),
        pieces: usize,
    ) -> Result<Self> {
        let folder = team.map_or(scratch, Team::folder).join(stage);
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        Ok(Self { folder, kind, pieces, shared: team.is_some() })
    }

    /// Beside the piece's own file: without that it counts as not made.
    fn path(&self, piece: usize) -> PathBuf {
        self.folder.join(format!("{piece:05}.{}", self.kind))
    }

    /// Write what a piece has for each of so many buckets, in any order.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn write(&self, piece: usize, buckets: usize, mut records: Vec<Sent<N>>) -> Result<()> {
        records.sort_unstable();
        let path = self.path(piece);
        if self.shared {
            let mut file = AtomicFile::create(&path)?;
            put(&mut file, buckets, &records).map_err(Error::io("write", &path))?;
            return Ok(file.commit()?);
        }
        let file = File::create(&path).map_err(Error::io("create", &path))?;
        let mut file = BufWriter::with_capacity(1 << 16, file);
        put(&mut file, buckets, &records).and_then(|()| file.flush()).map_err(Error::io("write", &path))
    }

    /// The records of a bucket that all pieces wrote, ascending.
    ///
    /// # Errors
    /// A file is not what was written, or cannot be read.
    pub fn read(&self, bucket: usize) -> Result<Vec<[u8; N]>> {
        let mut records = Vec::new();
        (0..self.pieces).try_for_each(|piece| self.append(piece, bucket, &mut records))?;
        records.sort_unstable();
        Ok(records)
    }

    /// The records of a bucket that one piece wrote, ascending.
    ///
    /// # Errors
    /// The file is not what was written, or cannot be read.
    pub fn read_of(&self, piece: usize, bucket: usize) -> Result<Vec<[u8; N]>> {
        let mut records = Vec::new();
        self.append(piece, bucket, &mut records)?;
        Ok(records)
    }

    fn append(&self, piece: usize, bucket: usize, records: &mut Vec<[u8; N]>) -> Result<()> {
        let path = self.path(piece);
        let file = File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => lost(&path),
            _ => Error::io("open", &path)(error),
        })?;
        let fill = |bytes: &mut [u8], at: u64| {
            file.read_exact_at(bytes, at).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => lost(&path),
                _ => Error::io("read", &path)(error),
            })
        };
        let mut entries = [0; ENTRY + 8];
        fill(&mut entries, (bucket * ENTRY) as u64)?;
        let number = |at: usize| entries[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let [start, hash, end] = [0, 8, ENTRY].map(number);
        let there = file.metadata().map_err(Error::io("read", &path))?.len();
        let length = end.checked_sub(start).filter(|_| end <= there).ok_or_else(|| lost(&path))?;
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        fill(&mut bytes, start)?;
        let (found, rest) = bytes.as_chunks();
        if xxh3_64(&bytes) != hash || !rest.is_empty() {
            return Err(lost(&path));
        }
        records.extend_from_slice(found);
        Ok(())
    }

    /// Make room for others, unless another process may read them still.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn done(self) -> Result<()> {
        if self.shared {
            return Ok(());
        }
        (0..self.pieces).try_for_each(|piece| Ok(atomic::remove(&self.path(piece))?))
    }
}

/// What stands in front: an entry a bucket, and where the last ends; then the records, bucket after bucket.
fn put<const N: usize>(file: &mut impl Write, buckets: usize, records: &[Sent<N>]) -> io::Result<()> {
    let mut start = (buckets * ENTRY + 8) as u64;
    let mut rest = records;
    for bucket in 0..buckets {
        let (mine, others) = rest.split_at(rest.partition_point(|(of, _)| *of as usize <= bucket));
        let mut hash = xxhash_rust::xxh3::Xxh3Default::new();
        mine.iter().for_each(|(_, record)| hash.update(record));
        file.write_all(&start.to_le_bytes())?;
        file.write_all(&hash.digest().to_le_bytes())?;
        start += (mine.len() * N) as u64;
        rest = others;
    }
    file.write_all(&start.to_le_bytes())?;
    records.iter().try_for_each(|(_, record)| file.write_all(record))
}

/// Two numbers as a record, which is sorted by the first.
pub fn pair(one: u64, other: u64) -> [u8; 16] {
    (u128::from(one) << 64 | u128::from(other)).to_be_bytes()
}

/// The number at a place of a record.
pub fn number(record: &[u8], at: usize) -> u64 {
    record[at..].first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bucket_comes_from_all_pieces_and_damage_is_noticed() -> Result<()> {
        let dir = tempfile::tempdir().map_err(Error::io("create", "temp"))?;
        for team in [None, Some(Team::join(dir.path(), "f", [1, 1])?)] {
            let at = (team.as_ref(), dir.path());
            let shuffle = Shuffle::<16>::new(at, ("link", "edges"), 3)?;
            for piece in 0..3_u64 {
                let records = (0..1000).rev().map(|i| ((i * 7 % 4) as u32, pair(i, piece)));
                shuffle.write(piece as usize, 5, records.filter(|(bucket, _)| *bucket != 2).collect())?;
            }
            let expected = |bucket: u64| -> Vec<[u8; 16]> {
                let numbers = (0..1000).filter(|i| i * 7 % 4 == bucket);
                numbers.flat_map(|i| (0..3).map(move |piece| pair(i, piece))).collect()
            };
            for bucket in [0, 1, 3] {
                assert_eq!(shuffle.read(bucket)?, expected(bucket as u64));
            }
            assert!(shuffle.read(2)?.is_empty() && shuffle.read(4)?.is_empty());
            let first = shuffle.read_of(1, 3)?;
            assert_eq!((first.len(), number(&first[0], 0), number(&first[0], 8)), (250, 1, 1));

            let (path, of) = (shuffle.path(1), shuffle.path(1).with_extension("json"));
            let whole = fs::read(&path).map_err(Error::io("read", &path))?;
            for damage in [3, 20, whole.len() - 1] {
                let mut bytes = whole.clone();
                bytes[damage] ^= 0x40;
                fs::write(&path, &bytes).map_err(Error::io("write", &path))?;
                fs::write(&of, "made").map_err(Error::io("write", &of))?;
                let said = (0..5).filter_map(|bucket| shuffle.read(bucket).err()).map(|e| e.to_string());
                let said: Vec<String> = said.collect();
                assert!(
                    !said.is_empty() && said.iter().all(|said| said.contains("00001.edges: is not what was written"))
                );
                assert!(!of.exists(), "the piece is made anew");
            }
            fs::write(&path, &whole[..whole.len() - 4]).map_err(Error::io("write", &path))?;
            assert!(shuffle.read(3).is_err());
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            assert!(shuffle.read(0).is_err_and(|e| e.to_string().contains("is not what was written")));
            shuffle.done()?;
            assert_eq!(atomic::exists(&path.with_file_name("00000.edges")), team.is_some());
        }
        Ok(())
    }
}
