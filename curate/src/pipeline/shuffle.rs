//! Records on their way from the pieces of one stage to those of a later one: each piece writes a file in which those of each bucket
//! lie together, and whoever makes a piece of the later stage reads its bucket from all of these files. So any number of processes
//! move any number of records, and each holds a bucket.
//!
//! A file is one run or several, each of what was held when it was written: an entry a bucket (where its records begin, their hash),
//! where the last ends, and the records. Behind them stands where each run begins, how many there are, and the hash of that.

use std::{
    fs, io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use setaccio_base::atomic;
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

use super::{
    piece_file::{Commons, PieceFile, lost_of, open},
    team::Team,
};
use crate::error::{Error, Result};

/// Bytes that say where the records of a bucket begin in the file, and what their hash is.
const ENTRY: usize = 16;

/// Bytes at the end of a file: how many runs there are, and the hash of that and of where they begin.
const BEHIND: u64 = 16;

/// A record and its bucket.
pub type Sent<const N: usize> = (u32, [u8; N]);

/// The files that the pieces of a stage write, of records of `N` bytes.
pub struct Shuffle<const N: usize> {
    folder: PathBuf,
    kind: &'static str,
    pieces: usize,
    /// Where other processes read them, if any does.
    commons: Option<Arc<Commons>>,
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
        Ok(Self { folder, kind, pieces, commons: team.map(Team::commons) })
    }

    /// Beside the piece's own file: without that it counts as not made.
    fn path(&self, piece: usize) -> PathBuf {
        self.folder.join(format!("{piece:05}.{}", self.kind))
    }

    /// Write what a piece has for each of so many buckets, in any order.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn write(&self, piece: usize, buckets: usize, records: Vec<Sent<N>>) -> Result<()> {
        let mut writer = self.writer(piece, buckets)?;
        writer.held = records;
        writer.finish()
    }

    /// A writer of what a piece has for each of so many buckets.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn writer(&self, piece: usize, buckets: usize) -> Result<ShuffleWriter<N>> {
        let file = PieceFile::create(&self.path(piece), self.commons.as_deref())?;
        Ok(ShuffleWriter { file, buckets, held: Vec::new(), runs: Vec::new() })
    }

    /// The records of a bucket that all pieces wrote, ascending.
    ///
    /// # Errors
    /// A file is not what was written, or cannot be read.
    pub fn read(&self, bucket: usize) -> Result<Vec<[u8; N]>> {
        let mut records = Vec::new();
        self.each(bucket, |run| {
            records.extend_from_slice(run);
            Ok(())
        })?;
        records.sort_unstable();
        Ok(records)
    }

    /// The records of a bucket that one piece wrote, ascending.
    ///
    /// # Errors
    /// The file is not what was written, or cannot be read.
    pub fn read_of(&self, piece: usize, bucket: usize) -> Result<Vec<[u8; N]>> {
        let mut records = Vec::new();
        self.each_run(piece, bucket, &mut |run| {
            records.extend_from_slice(run);
            Ok(())
        })?;
        records.sort_unstable();
        Ok(records)
    }

    /// Give the records of a bucket to `each`, some at a time, each time ascending.
    ///
    /// # Errors
    /// A file is not what was written, or cannot be read; as `each`.
    pub fn each(&self, bucket: usize, mut each: impl FnMut(&[[u8; N]]) -> Result<()>) -> Result<()> {
        (0..self.pieces).try_for_each(|piece| self.each_run(piece, bucket, &mut each))
    }

    fn each_run(&self, piece: usize, bucket: usize, each: &mut dyn FnMut(&[[u8; N]]) -> Result<()>) -> Result<()> {
        let path = self.path(piece);
        let lost = || lost_of(&path, self.commons.as_deref());
        let file = open(&path, self.commons.as_deref())?;
        let there = file.metadata().map_err(Error::io("read", &path))?.len();
        let fill = |bytes: &mut [u8], at: Option<u64>| {
            file.read_exact_at(bytes, at.ok_or_else(lost)?).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => lost(),
                _ => Error::io("read", &path)(error),
            })
        };
        let read = |at: Option<u64>, length: u64| {
            let at = at.filter(|_| length <= there);
            let mut bytes = vec![0; at.map_or(0, |_| usize::try_from(length).unwrap_or(0))];
            fill(&mut bytes, at).map(|()| bytes)
        };
        let numbers = |bytes: &[u8]| bytes.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        let of = |at, length| read(at, length).map(|bytes| -> Vec<u64> { numbers(&bytes) });
        let behind = of(there.checked_sub(BEHIND), BEHIND)?;
        let runs = behind[0].checked_mul(8).filter(|bytes| *bytes <= there).ok_or_else(lost)?;
        let begin = read(there.checked_sub(BEHIND + runs), runs + 8)?;
        if xxh3_64(&begin) != behind[1] {
            return Err(lost());
        }
        let begin: Vec<u64> = numbers(&begin);
        for run in begin.iter().take(begin.len() - 1) {
            let entry = of(run.checked_add((bucket * ENTRY) as u64), ENTRY as u64 + 8)?;
            let [start, hash, end] = [entry[0], entry[1], entry[2]];
            let bytes = read(Some(start), end.checked_sub(start).ok_or_else(lost)?)?;
            let (found, rest) = bytes.as_chunks();
            if xxh3_64(&bytes) != hash || !rest.is_empty() {
                return Err(lost());
            }
            each(found)?;
        }
        Ok(())
    }

    /// Make room for others, unless another process may read them still.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn done(self) -> Result<()> {
        if self.commons.is_some() {
            return Ok(());
        }
        (0..self.pieces).try_for_each(|piece| Ok(atomic::remove(&self.path(piece))?))
    }
}

/// Records that a writer holds before it writes a run, in bytes.
const HELD_BYTES: usize = 32 << 20;

/// Writes what a piece has for later ones.
pub struct ShuffleWriter<const N: usize> {
    file: PieceFile,
    buckets: usize,
    held: Vec<Sent<N>>,
    /// Where each run begins.
    runs: Vec<u64>,
}

impl<const N: usize> ShuffleWriter<N> {
    /// Send a record to a bucket.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn send(&mut self, bucket: u32, record: [u8; N]) -> Result<()> {
        self.held.push((bucket, record));
        if self.held.len() * size_of::<Sent<N>>() < HELD_BYTES { Ok(()) } else { self.write_run() }
    }

    fn write_run(&mut self) -> Result<()> {
        let mut records = std::mem::take(&mut self.held);
        records.sort_unstable();
        self.runs.push(self.file.end);
        let mut start = self.file.end + (self.buckets * ENTRY + 8) as u64;
        let mut rest = records.as_slice();
        for bucket in 0..self.buckets {
            let (mine, others) = rest.split_at(rest.partition_point(|(of, _)| *of as usize <= bucket));
            let mut hash = Xxh3Default::new();
            for (_, record) in mine {
                hash.update(record);
            }
            self.file.append(&start.to_le_bytes())?;
            self.file.append(&hash.digest().to_le_bytes())?;
            start += (mine.len() * N) as u64;
            rest = others;
        }
        self.file.append(&start.to_le_bytes())?;
        records.iter().try_for_each(|(_, record)| self.file.append(record))
    }

    /// Write the rest, and flush it to disk where others read it.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn finish(mut self) -> Result<()> {
        if self.runs.is_empty() || !self.held.is_empty() {
            self.write_run()?;
        }
        let runs = std::mem::take(&mut self.runs);
        let begin: Vec<u8> = runs.iter().copied().chain([runs.len() as u64]).flat_map(u64::to_le_bytes).collect();
        self.file.append(&begin)?;
        self.file.append(&xxh3_64(&begin).to_le_bytes())?;
        self.file.finish()
    }
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
        for team in [None, Some(Team::join(dir.path(), "f", [1, 1], None)?)] {
            let at = (team.as_ref(), dir.path());
            let shuffle = Shuffle::<16>::new(at, ("link", "edges"), 3)?;
            for (place, piece) in (0..3_u64).enumerate() {
                let records = (0..1000).rev().map(|i| ((i * 7 % 4) as u32, pair(i, piece)));
                shuffle.write(place, 5, records.filter(|(bucket, _)| *bucket != 2).collect())?;
            }
            let expected = |bucket: u64| -> Vec<[u8; 16]> {
                let numbers = (0..1000).filter(|i| i * 7 % 4 == bucket);
                numbers.flat_map(|i| (0..3).map(move |piece| pair(i, piece))).collect()
            };
            for bucket in [0, 1, 3] {
                assert_eq!(shuffle.read(bucket)?, expected(bucket as u64));
            }
            assert!(shuffle.read(2)?.is_empty() && shuffle.read(4)?.is_empty());
            // One that is written in two runs is read as one.
            let mut writer = shuffle.writer(1, 5)?;
            for i in (0..1000).rev().filter(|i| i * 7 % 4 != 2) {
                writer.send((i * 7 % 4) as u32, pair(i, 1))?;
                if i == 500 {
                    writer.write_run()?;
                }
            }
            writer.finish()?;
            assert_eq!(shuffle.read(3)?, expected(3));
            let first = shuffle.read_of(1, 3)?;
            assert_eq!((first.len(), number(&first[0], 0), number(&first[0], 8)), (250, 1, 1));

            let (path, of) = (shuffle.path(1), shuffle.path(1).with_extension("json"));
            let whole = fs::read(&path).map_err(Error::io("read", &path))?;
            for damage in [3, 20, whole.len() - 40, whole.len() - 20, whole.len() - 16, whole.len() - 1] {
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
            assert!(!path.exists(), "nor is what is left of it read again");
            assert!(shuffle.read(0).is_err_and(|e| e.to_string().contains("is not what was written")));
            shuffle.done()?;
            assert_eq!(atomic::exists(&path.with_file_name("00000.edges")), team.is_some());
        }
        Ok(())
    }
}
