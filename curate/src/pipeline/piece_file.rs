//! Files that pieces leave beside their own: put in place whole where other processes read them, and brought here where these processes
//! share no disk.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use setaccio_base::{
    atomic::{self, AtomicFile},
    progress::Progress,
};

use crate::error::{Error, Result};

/// Where processes that share no disk find what others made, by its name below the folder of all.
pub trait Board: Send + Sync {
    /// Say that a piece is being made; says whether nobody said so before.
    ///
    /// # Errors
    /// The store refuses.
    fn claim(&self, name: &str) -> Result<bool>;

    /// Put a file there.
    ///
    /// # Errors
    /// The store refuses; whoever follows it says stop.
    fn put(&self, name: &str, file: &Path, progress: &dyn Progress) -> Result<()>;

    /// Bring a file, if it is there; says whether it is.
    ///
    /// # Errors
    /// The store refuses, the disk is full.
    fn fetch(&self, name: &str, to: &Path) -> Result<bool>;

    /// Remove a file.
    ///
    /// # Errors
    /// The store refuses.
    fn remove(&self, name: &str) -> Result<()>;
}

/// The folder in which processes leave what they made, and where those that do not see it find it.
pub struct Commons {
    folder: PathBuf,
    board: Option<Arc<dyn Board>>,
    /// Files that threads of this process bring, one of them each.
    coming: Mutex<HashMap<PathBuf, Arc<Mutex<()>>>>,
}

impl Commons {
    /// Those of this folder.
    pub fn new(folder: PathBuf, board: Option<Arc<dyn Board>>) -> Self {
        Self { folder, board, coming: Mutex::default() }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where those that do not see the folder look, and by which name.
    pub fn beyond(&self, path: &Path) -> Option<(&dyn Board, String)> {
        let name = path.strip_prefix(&self.folder).ok()?.to_string_lossy().into_owned();
        Some((self.board.as_deref()?, name))
    }

    /// Put a file where those look for it that do not see the folder.
    ///
    /// # Errors
    /// The store refuses; whoever follows it says stop.
    pub fn put(&self, path: &Path, progress: &dyn Progress) -> Result<()> {
        self.beyond(path).map_or(Ok(()), |(board, name)| board.put(&name, path, progress))
    }

    /// Bring a file that another process made, unless it is here.
    ///
    /// # Errors
    /// It is nowhere, though its piece is; the store refuses; the disk is full.
    pub fn bring(&self, path: &Path) -> Result<()> {
        let Some((board, name)) = self.beyond(path).filter(|_| !path.exists()) else { return Ok(()) };
        let coming = |()| self.coming.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = coming(()).entry(path.to_owned()).or_default().clone();
        let held = mine.lock().unwrap_or_else(PoisonError::into_inner);
        let there = path.exists() || board.fetch(&name, path)?;
        drop(held);
        coming(()).remove(path);
        if there { Ok(()) } else { Err(self.lost(path)) }
    }

    /// What is said of a file of a piece that is not what was written. Wherever its own file and this one are, they are removed: the piece
    /// counts as not made, and is.
    pub fn lost(&self, path: &Path) -> Error {
        if let Some((board, name)) = self.beyond(path) {
            for name in [Path::new(&name).with_extension("json").to_string_lossy().into_owned(), name] {
                if let Err(error) = board.remove(&name) {
                    return error;
                }
            }
        }
        lost(path)
    }
}

/// The same, of a team or of a process alone.
pub fn lost_of(path: &Path, commons: Option<&Commons>) -> Error {
    commons.map_or_else(|| lost(path), |commons| commons.lost(path))
}

/// What is said of a file of a piece that is not what was written, which this process alone wrote or all see.
fn lost(path: &Path) -> Error {
    for path in [path.with_extension("json"), path.to_owned()] {
        let _ = atomic::remove(&path);
    }
    Error::damaged(
        path,
        "is not what was written: the disk lost some of it; run the same command again, which makes it anew",
    )
}

/// A file that a piece leaves.
pub struct PieceFile {
    path: PathBuf,
    target: Target,
    /// Bytes that were written.
    pub end: u64,
}

/// Others see it once it is whole, or this process alone reads it.
enum Target {
    Whole(AtomicFile),
    Plain(BufWriter<File>),
}

impl PieceFile {
    /// A new one, which others read or not.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn create(path: &Path, commons: Option<&Commons>) -> Result<Self> {
        let target = if commons.is_some() {
            Target::Whole(AtomicFile::create(path)?)
        } else {
            let file = File::create(path).map_err(Error::io("create", path))?;
            Target::Plain(BufWriter::with_capacity(1 << 16, file))
        };
        Ok(Self { path: path.to_owned(), target, end: 0 })
    }

    /// Append bytes.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let written = match &mut self.target {
            Target::Whole(file) => file.write_all(bytes),
            Target::Plain(file) => file.write_all(bytes),
        };
        self.end += bytes.len() as u64;
        written.map_err(Error::io("write", &self.path))
    }

    /// Give it its name.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn finish(self) -> Result<()> {
        match self.target {
            Target::Whole(file) => Ok(file.commit()?),
            Target::Plain(mut file) => file.flush().map_err(Error::io("write", &self.path)),
        }
    }
}

/// Open a file of a piece that is to be there.
///
/// # Errors
/// It is lost, or the file system refuses.
pub fn open(path: &Path, commons: Option<&Commons>) -> Result<File> {
    commons.map_or(Ok(()), |commons| commons.bring(path))?;
    File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => lost_of(path, commons),
        _ => Error::io("open", path)(error),
    })
}
