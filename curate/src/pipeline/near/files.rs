//! Files of shingles: each piece that looks at rows writes one, and whoever decides reads those of all.

use std::{
    collections::VecDeque,
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    error::{Error, Result},
    pipeline::{
        piece_file::{Commons, PieceFile, lost_of, open},
        team::Team,
    },
};

/// Bits of a place that say where in its file it is; those above say in which file.
const WITHIN: u32 = 40;

/// Files that are open at a time: a process may have about a thousand.
const OPEN: usize = 128;

/// Where they lie: the folders of the stages that write some, and how many pieces each has.
pub struct ShingleFiles {
    commons: Option<Arc<Commons>>,
    folders: [(PathBuf, usize); 2],
    open: Mutex<VecDeque<(usize, Arc<File>)>>,
}

impl ShingleFiles {
    /// Those of two stages of so many pieces; of a process alone they lie in the folder `scratch`.
    pub fn new((team, scratch): (Option<&Team>, &Path), stages: [(&str, usize); 2]) -> Self {
        let folder = team.map_or(scratch, Team::folder);
        let folders = stages.map(|(stage, pieces)| (folder.join(stage), pieces));
        Self { commons: team.map(Team::commons), folders, open: Mutex::default() }
    }

    fn path(&self, number: usize) -> PathBuf {
        let [(first, pieces), (second, _)] = &self.folders;
        let (folder, piece) = if number < *pieces { (first, number) } else { (second, number - pieces) };
        folder.join(format!("{piece:05}.shingles"))
    }

    /// A new one, of a piece of the first stage or of the second.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn create(&self, stage: usize, piece: usize) -> Result<ShingleWriter> {
        let number = if stage == 0 { piece } else { self.folders[0].1 + piece };
        let file = PieceFile::create(&self.path(number), self.commons.as_deref())?;
        Ok(ShingleWriter { file, number: number as u64 })
    }

    /// Fill `bytes` from a place.
    ///
    /// # Errors
    /// The file is not what was written, or cannot be read.
    pub fn read(&self, at: u64, bytes: &mut [u8]) -> Result<()> {
        let number = usize::try_from(at >> WITHIN).unwrap_or(usize::MAX);
        let path = self.path(number);
        let file = self.file(number, &path)?;
        file.read_exact_at(bytes, at & ((1 << WITHIN) - 1)).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => self.lost(at),
            _ => Error::io("read", &path)(error),
        })
    }

    /// What is said of a place whose bytes are others than were written.
    pub fn lost(&self, at: u64) -> Error {
        lost_of(&self.path(usize::try_from(at >> WITHIN).unwrap_or(usize::MAX)), self.commons.as_deref())
    }

    fn file(&self, number: usize, path: &Path) -> Result<Arc<File>> {
        let held = || self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, file)) = held().iter().find(|(of, _)| *of == number) {
            return Ok(file.clone());
        }
        let file = Arc::new(open(path, self.commons.as_deref())?);
        let mut held = held();
        held.push_back((number, file.clone()));
        if held.len() > OPEN {
            held.pop_front();
        }
        Ok(file)
    }
}

/// Writes the shingles of a piece.
pub struct ShingleWriter {
    file: PieceFile,
    number: u64,
}

impl ShingleWriter {
    /// Append bytes; says where they begin.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn append(&mut self, bytes: &[u8]) -> Result<u64> {
        let at = self.file.end | self.number << WITHIN;
        self.file.append(bytes).map(|()| at)
    }

    /// Give the file its name.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn finish(self) -> Result<()> {
        self.file.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_piece_has_a_file_and_whoever_decides_reads_all() -> Result<()> {
        let dir = tempfile::tempdir().map_err(Error::io("create", "temp"))?;
        for stage in ["near", "against"] {
            std::fs::create_dir(dir.path().join(stage)).map_err(Error::io("create", "temp"))?;
        }
        let files = ShingleFiles::new((None, dir.path()), [("near", 200), ("against", 2)]);
        let pieces = (0..200).map(|piece| (0, piece)).chain([(1, 0), (1, 1)]);
        let mut places = Vec::new();
        for (stage, piece) in pieces {
            let mut writer = files.create(stage, piece)?;
            for part in ["uno", "due"] {
                let text = format!("{stage}.{piece:03} {part}");
                places.push((writer.append(text.as_bytes())?, text));
            }
            writer.finish()?;
        }
        for (at, text) in places.iter().rev() {
            let mut bytes = vec![0; text.len()];
            files.read(*at, &mut bytes)?;
            assert_eq!(bytes, text.as_bytes());
        }
        assert!(files.read(places[0].0 + 12, &mut [0; 9]).is_err_and(|e| e.to_string().contains("is not what")));
        assert!(files.read(205 << WITHIN, &mut [0]).is_err());
        Ok(())
    }
}
