//! Where the blocks of many files lie, by bucket: in files of their own, of which the part of a range of buckets is read when it is
//! asked for. In memory is how many there are of each bucket.

use std::{
    fs::File,
    io::{ErrorKind, Write},
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use setaccio_base::atomic::AtomicFile;
use xxhash_rust::xxh3::xxh3_64;

use super::piece_file::{Commons, lost_of};
use crate::error::{Error, Result};

/// Where a block lies and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Bucket of its rows.
    pub bucket: u32,
    /// First byte in the file.
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
    /// xxh3 of these bytes.
    pub hash: u64,
    /// Bytes of content in its rows.
    pub content: u64,
    /// Its rows.
    pub rows: u32,
}

/// A block, and the number of the file that it is in.
pub type Place = (u32, Block);

/// Bytes of one: its bucket, its file, offset, length, hash, content, rows, and the hash of all these.
const BYTES: usize = 48;

fn to_bytes((file, block): &Place) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    for (at, number) in [(0, block.bucket), (4, *file), (40, block.rows)] {
        bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
    }
    for (at, number) in [(8, block.offset), (16, block.length), (24, block.hash), (32, block.content)] {
        bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
    }
    let hash = short(&bytes[..BYTES - 4]);
    bytes[BYTES - 4..].copy_from_slice(&hash);
    bytes
}

fn of_bytes(bytes: &[u8; BYTES]) -> Option<Place> {
    let (all, hash) = bytes.split_last_chunk::<4>()?;
    if short(all) != *hash {
        return None;
    }
    let narrow = |from: usize| all[from..].first_chunk().map_or(0, |b| u32::from_le_bytes(*b));
    let wide = |from: usize| all[from..].first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
    let block = Block {
        bucket: narrow(0),
        offset: wide(8),
        length: wide(16),
        hash: wide(24),
        content: wide(32),
        rows: narrow(40),
    };
    Some((narrow(4), block))
}

fn short(bytes: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = xxh3_64(bytes).to_le_bytes();
    [a, b, c, d]
}

/// Blocks of some files, as they lie in a file: bucket after bucket, in the order of the files.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IndexPart {
    /// Where the first begins.
    first: u64,
    /// How many come before those of each bucket, and how many there are in all.
    starts: Vec<u32>,
    /// Bytes of content in each bucket.
    content: Vec<u64>,
}

/// Writes a file of such parts, one after the other.
pub struct IndexWriter {
    file: AtomicFile,
    path: PathBuf,
    end: u64,
}

impl IndexWriter {
    /// A writer of what will be `path`.
    pub fn create(path: &Path) -> Result<Self> {
        Ok(Self { file: AtomicFile::create(path)?, path: path.to_owned(), end: 0 })
    }

    /// Append blocks that are in `spilled` buckets as blocks of `buckets` buckets; both are powers of two, and there are no more of
    /// these. Those of a bucket stay in their order.
    pub fn part(&mut self, mut blocks: Vec<Place>, [spilled, buckets]: [u32; 2]) -> Result<IndexPart> {
        let joined = (spilled / buckets).max(1);
        for (_, block) in &mut blocks {
            block.bucket /= joined;
        }
        blocks.sort_by_key(|(_, block)| block.bucket);
        let (mut starts, mut content) = (vec![0; buckets as usize + 1], vec![0; buckets as usize]);
        for place in &blocks {
            let bucket = place.1.bucket as usize;
            starts[bucket + 1] += 1;
            content[bucket] += place.1.content;
            self.file.write_all(&to_bytes(place)).map_err(Error::io("write", &self.path))?;
        }
        for bucket in 0..buckets as usize {
            starts[bucket + 1] += starts[bucket];
        }
        let first = self.end;
        self.end += (blocks.len() * BYTES) as u64;
        Ok(IndexPart { first, starts, content })
    }

    /// Flush to disk and give the file its name.
    pub fn finish(self) -> Result<()> {
        Ok(self.file.commit()?)
    }
}

/// Blocks of all files.
pub struct BlockIndex {
    parts: Vec<(PathBuf, u64, Vec<u32>)>,
    content: Vec<u64>,
    /// Where other processes read these files, if any does.
    commons: Option<Arc<Commons>>,
}

impl BlockIndex {
    /// None yet, of so many buckets.
    pub fn new(buckets: u32, commons: Option<Arc<Commons>>) -> Self {
        Self { parts: Vec::new(), content: vec![0; buckets as usize], commons }
    }

    /// Add those of files that come after these.
    pub fn add(&mut self, path: &Path, part: IndexPart) {
        self.content.iter_mut().zip(&part.content).for_each(|(sum, bytes)| *sum += bytes);
        self.parts.push((path.to_owned(), part.first, part.starts));
    }

    /// Bytes of content in each bucket.
    pub fn content(&self) -> &[u64] {
        &self.content
    }

    /// The blocks of a range of buckets: bucket after bucket, in the order of the files.
    pub fn blocks(&self, range: &Range<u32>) -> Result<Vec<Place>> {
        let mut found = Vec::new();
        for (path, first, starts) in &self.parts {
            let [from, to] = [range.start, range.end].map(|bucket| starts.get(bucket as usize).copied().unwrap_or(0));
            if from >= to {
                continue;
            }
            let lost = || lost_of(path, self.commons.as_deref());
            let mut bytes = vec![0; (to - from) as usize * BYTES];
            let file = match File::open(path) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Err(lost()),
                file => file.map_err(Error::io("open", path))?,
            };
            match file.read_exact_at(&mut bytes, first + u64::from(from) * BYTES as u64) {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(lost()),
                read => read.map_err(Error::io("read", path))?,
            }
            let places: Option<Vec<Place>> = bytes.as_chunks().0.iter().map(of_bytes).collect();
            found.extend(places.ok_or_else(lost)?);
        }
        if self.parts.len() > 1 {
            found.sort_by_key(|(_, block)| block.bucket);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(bucket: u32, offset: u64) -> Block {
        Block { bucket, offset, length: 7, hash: u64::MAX - offset, content: 100 + offset, rows: 3 }
    }

    #[test]
    fn blocks_come_by_bucket_in_the_order_of_files_and_damage_is_noticed() -> Result<()> {
        let dir = tempfile::tempdir().map_err(Error::io("create", "temp"))?;
        let mut index = BlockIndex::new(4, None);
        for (piece, first) in [("a", 0), ("b", 2)] {
            let path = dir.path().join(format!("{piece}.index"));
            let mut writer = IndexWriter::create(&path)?;
            // Of another index, which lies before it.
            writer.part(vec![(9, block(0, 9))], [1, 1])?;
            let blocks =
                vec![(first, block(5, 1)), (first, block(0, 2)), (first + 1, block(4, 3)), (first + 1, block(1, 4))];
            let part = writer.part(blocks, [8, 4])?;
            writer.finish()?;
            index.add(&path, part);
        }
        let places = |range: Range<u32>| -> Result<Vec<(u32, u32, u64)>> {
            Ok(index.blocks(&range)?.iter().map(|(file, block)| (block.bucket, *file, block.offset)).collect())
        };
        assert_eq!(places(0..1)?, [(0, 0, 2), (0, 1, 4), (0, 2, 2), (0, 3, 4)]);
        assert_eq!(places(1..2)?, []);
        assert_eq!(places(0..4)?[3..], [(0, 3, 4), (2, 0, 1), (2, 1, 3), (2, 2, 1), (2, 3, 3)]);
        assert_eq!(index.content(), [2 * 206, 0, 2 * 204, 0]);
        assert_eq!(index.blocks(&(2..3))?[0], (0, Block { bucket: 2, ..block(5, 1) }));

        let path = dir.path().join("a.index");
        std::fs::write(dir.path().join("a.json"), "").map_err(Error::io("write", &path))?;
        let mut bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
        bytes[BYTES * 3 + 20] ^= 1;
        std::fs::write(&path, &bytes).map_err(Error::io("write", &path))?;
        assert_eq!(places(0..2)?.len(), 4, "what is not read is not looked at");
        assert!(places(2..3).is_err_and(|error| error.to_string().contains("a.index: is not what was written")));
        assert!(!dir.path().join("a.json").exists(), "its piece is made anew");
        std::fs::write(&path, &bytes[..BYTES * 4]).map_err(Error::io("write", &path))?;
        assert!(places(2..3).is_err());
        std::fs::write(dir.path().join("a.json"), "").map_err(Error::io("write", &path))?;
        assert!(!path.exists(), "nor is what is left of it read again");
        assert!(places(2..3).is_err_and(|error| error.to_string().contains("a.index: is not what was written")));
        assert!(!dir.path().join("a.json").exists(), "its piece is made anew");
        Ok(())
    }
}
