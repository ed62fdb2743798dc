//! Files of shingles: a process writes one, and reads those of all that decide with it.

use std::path::{Path, PathBuf};

use crate::{
    error::{Error, Result},
    pipeline::scratch::Places,
};

/// Bits of a place that say where in its file it is; those above say in which file.
const WITHIN: u32 = 48;

/// The number of the file that a place is in.
pub fn file_of(at: u64) -> usize {
    usize::try_from(at >> WITHIN).unwrap_or(usize::MAX)
}

fn path(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("shingles-{number}"))
}

/// The file that this process writes.
pub struct OwnShingles {
    number: u64,
    /// The file.
    pub file: Places,
}

impl OwnShingles {
    /// A new one, of the first number that none has.
    pub fn create(folder: &Path) -> Result<Self> {
        for number in 0..1 << (64 - WITHIN) {
            match Places::create_new(&path(folder, number)) {
                Err(Error::Base(setaccio_base::Error::Io { error, .. }))
                    if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                file => return Ok(Self { number: number as u64, file: file? }),
            }
        }
        Err(Error::damaged(folder, "holds more files of shingles than there are numbers: remove it, and join anew"))
    }

    /// Append bytes; says where they begin.
    pub fn append(&mut self, bytes: &[u8]) -> Result<u64> {
        Ok(self.file.append(bytes)? | self.number << WITHIN)
    }
}

/// The files of all.
pub struct AllShingles(Vec<Places>);

impl AllShingles {
    /// So many of them.
    pub fn open(folder: &Path, files: usize) -> Result<Self> {
        (0..files).map(|number| Places::open(&path(folder, number))).collect::<Result<_>>().map(Self)
    }

    /// Fill `bytes` from a place.
    pub fn read(&self, at: u64, bytes: &mut [u8]) -> Result<()> {
        let file = self.0.get(file_of(at)).ok_or_else(|| Error::spoilt("shingles of no file".into()))?;
        file.read(at & ((1 << WITHIN) - 1), bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_process_has_a_file_and_reads_all() -> Result<()> {
        let dir = tempfile::tempdir().map_err(Error::io("create", "temp"))?;
        let [mut one, mut other] = [OwnShingles::create(dir.path())?, OwnShingles::create(dir.path())?];
        let places = [one.append(b"uno")?, other.append(b"due")?, one.append(b"tre")?];
        assert_eq!(places.map(file_of), [0, 1, 0]);
        let all = AllShingles::open(dir.path(), 2)?;
        for (at, text) in places.into_iter().zip([b"uno", b"due", b"tre"]) {
            let mut bytes = [0; 3];
            all.read(at, &mut bytes)?;
            assert_eq!(&bytes, text);
        }
        assert!(all.read(5 << WITHIN, &mut [0]).is_err());
        Ok(())
    }
}
