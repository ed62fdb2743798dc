//! Work of the last pass that several processes share. A stage is cut into pieces; each is made by one process and kept in a file, and
//! every process takes all of them in order, so that all know the same after each stage. Whoever is there makes what nobody has made: one
//! process alone makes all, one that comes later or again finds what was made, and none waits for one that is not there.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use rayon::ThreadPool;
use serde::{Serialize, de::DeserializeOwned};
use setaccio_base::{
    atomic,
    lock_file::{LockFile, Mode},
    parallel::ordered_map,
    progress::Progress,
};
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    alone::Alone,
    piece_file::{Board, Commons},
    stage,
};
use crate::error::{Error, Result};

/// How often it is looked whether another process is done with a piece.
const PATIENCE: Duration = Duration::from_millis(50);

/// What a piece is as it lies in a file.
pub trait Kept: Sized {
    /// Its bytes.
    fn bytes(&self) -> Result<Vec<u8>>;
    /// What has these bytes; nothing if they are not what [`Self::bytes`] gives.
    fn of(bytes: &[u8]) -> Option<Self>;
}

/// A stage: by what name it is shown, and the folder of its pieces.
#[derive(Clone, Copy)]
pub struct Stage<'a> {
    /// What a person sees.
    pub shown: &'static str,
    /// What tells it from others of that name.
    pub folder: &'a str,
}

impl From<&'static str> for Stage<'_> {
    fn from(name: &'static str) -> Self {
        Self { shown: name, folder: name }
    }
}

/// A small piece.
pub struct Json<T>(pub T);

impl<T: Serialize + DeserializeOwned> Kept for Json<T> {
    fn bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(&self.0).map_err(Error::encode("piece"))
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().map(Self)
    }
}

/// The processes that do the last pass of one build together.
pub struct Team {
    /// The folder of what they made, and where those that do not see it find that.
    commons: Arc<Commons>,
    /// The folder of this process alone, which goes with it.
    own: TempDir,
    /// The number of this process, from 1, and how many there are, which say where it begins. More or fewer may come.
    turn: [usize; 2],
    /// How many of its threads make a piece.
    making: AtomicUsize,
}

impl Team {
    /// The folder of that of the build of this fingerprint.
    pub fn place(work: &Path, fingerprint: &str) -> PathBuf {
        work.join(format!("finish-{}", fingerprint.get(..16).unwrap_or(fingerprint)))
    }

    /// Join that of the build of this fingerprint. With a board there may be others who do not see the folder.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn join(work: &Path, fingerprint: &str, turn: [usize; 2], board: Option<Arc<dyn Board>>) -> Result<Self> {
        let folder = Self::place(work, fingerprint);
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let own = tempfile::Builder::new().prefix("own-").tempdir_in(&folder);
        let own = own.map_err(Error::io("create", &folder))?;
        Ok(Self { own, commons: Arc::new(Commons::new(folder, board)), turn, making: AtomicUsize::new(0) })
    }

    /// Where this process puts what nobody else reads.
    pub fn own(&self) -> &Path {
        self.own.path()
    }

    /// The folder of what they made, which all of them see.
    pub fn folder(&self) -> &Path {
        self.commons.folder()
    }

    /// The folder, and where those that do not see it find what is in it.
    pub fn commons(&self) -> Arc<Commons> {
        self.commons.clone()
    }

    /// The file of a piece of a stage; what belongs to it may lie beside it.
    pub fn path(&self, stage: &str, piece: usize) -> PathBuf {
        self.folder().join(stage).join(format!("{piece:05}.json"))
    }

    /// Make a piece, unless it is there; says whether it is. Whoever waits gets it.
    fn piece<T: Kept>(
        &self,
        (stage, number): (Stage<'_>, usize),
        wait: bool,
        progress: &dyn Progress,
        make: impl FnOnce() -> Result<T>,
    ) -> Result<bool> {
        let path = self.path(stage.folder, number);
        let mut waits = false;
        let lock = loop {
            if path.exists() {
                return Ok(true);
            }
            if waits {
                progress.waits(stage.shown, self.making.load(Ordering::Relaxed) == 0);
                thread::sleep(PATIENCE);
            }
            match LockFile::acquire(&path.with_extension("lock"), Mode::Exclusive) {
                Ok(lock) => break lock,
                Err(setaccio_base::Error::Busy(_)) if wait => waits = true,
                Err(setaccio_base::Error::Busy(_)) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
            if progress.cancelled() {
                return Err(Error::Interrupted);
            }
        };
        // Whoever had the lock may have been done between the two looks, and others elsewhere.
        let there = path.exists() || self.fetch(&path)?;
        let mine = there || wait || self.commons.beyond(&path).map_or(Ok(true), |(board, name)| board.claim(&name))?;
        if !mine {
            lock.remove()?;
            return Ok(false);
        }
        // What was claimed elsewhere and never came is made by all who are left: they leave the same.
        if !path.exists() {
            self.making.fetch_add(1, Ordering::Relaxed);
            if waits {
                progress.waits(stage.shown, false);
            }
            let made = make();
            self.making.fetch_sub(1, Ordering::Relaxed);
            let bytes = made?.bytes()?;
            let mut file = xxh3_64(&bytes).to_le_bytes().to_vec();
            file.extend(bytes);
            // Whoever made it, too, and was done before, left the same.
            if self.fetch(&path)? {
                lock.remove()?;
                return Ok(true);
            }
            self.put_beside(&path, progress)?;
            atomic::write(&path, &file)?;
            self.commons.put(&path, progress)?;
        }
        lock.remove()?;
        Ok(true)
    }

    /// Bring the file of a piece that was made elsewhere, if it was; says whether it was.
    fn fetch(&self, path: &Path) -> Result<bool> {
        self.commons.beyond(path).map_or(Ok(false), |(board, name)| board.fetch(&name, path))
    }

    /// Put what lies beside the file of a piece where others look for it.
    fn put_beside(&self, path: &Path, progress: &dyn Progress) -> Result<()> {
        if self.commons.beyond(path).is_none() {
            return Ok(());
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let folder = atomic::parent(path);
        for entry in fs::read_dir(folder).map_err(Error::io("read", folder))?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.split_once('.').is_some_and(|(of, kind)| of == stem && !["json", "lock"].contains(&kind)) {
                self.commons.put(&entry.path(), progress)?;
            }
        }
        Ok(())
    }

    fn read<T: Kept>(&self, stage: &str, number: usize) -> Result<T> {
        let path = self.path(stage, number);
        let file = fs::read(&path).map_err(Error::io("read", &path))?;
        let whole = file.split_first_chunk::<8>().filter(|(hash, bytes)| xxh3_64(bytes).to_le_bytes() == **hash);
        whole.and_then(|(_, bytes)| T::of(bytes)).ok_or_else(|| self.commons.lost(&path))
    }

    fn begin(&self, stage: &str) -> Result<()> {
        let folder = self.folder().join(stage);
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))
    }

    /// What the only piece of a stage holds, if it was made.
    pub fn made<T: Kept>(&self, stage: &str) -> Result<Option<T>> {
        let path = self.path(stage, 0);
        if !path.exists() {
            self.begin(stage)?;
            self.fetch(&path)?;
        }
        if path.exists() { self.read(stage, 0).map(Some) } else { Ok(None) }
    }

    fn each<T: Kept>(
        &self,
        stage: Stage<'_>,
        n: usize,
        (pool, progress): (&ThreadPool, &dyn Progress),
        make: impl Fn(usize) -> Result<T> + Sync,
        mut consume: impl FnMut(T) -> Result<()>,
    ) -> Result<()> {
        self.begin(stage.folder)?;
        progress.stage(stage.shown, n as u64);
        let [number, of] = self.turn;
        let first = n * (number - 1).min(of - 1) / of;
        let mut left: Vec<usize> = (first..n).chain(0..first).collect();
        for wait in [false, true] {
            let mut busy = Vec::new();
            ordered_map(
                pool,
                left.len(),
                |at| {
                    if progress.cancelled() {
                        return Err(Error::Interrupted);
                    }
                    let there = self.piece((stage, left[at]), wait, progress, || make(left[at]))?;
                    progress.advance(u64::from(there), "");
                    Ok((left[at], there))
                },
                |(piece, there)| {
                    busy.extend((!there).then_some(piece));
                    Ok::<_, Error>(())
                },
            )?;
            left = busy;
        }
        (0..n).try_for_each(|piece| consume(self.read(stage.folder, piece)?))
    }
}

/// Who works: the threads and who follows them, and the processes that do it together, if this one is not alone.
#[derive(Clone, Copy)]
pub struct Hands<'a> {
    /// Threads.
    pub pool: &'a ThreadPool,
    /// Who follows it.
    pub progress: &'a dyn Progress,
    /// The processes.
    pub team: Option<&'a Team>,
}

impl<'a> Hands<'a> {
    /// Threads, and who follows it.
    pub fn by(self) -> (&'a ThreadPool, &'a dyn Progress) {
        (self.pool, self.progress)
    }

    /// An empty folder of this process alone.
    pub fn scratch(self, work: &Path, name: &str) -> PathBuf {
        self.team.map_or(work, Team::own).join(name)
    }
}

/// A stage, of a team or of this process alone: `make` each of `n` pieces, and `consume` them in order.
///
/// # Errors
/// As `make` and `consume`, a piece that is not what was written, Ctrl-C.
pub fn each<'a, T: Kept + Send>(
    team: Option<&Team>,
    stage: impl Into<Stage<'a>>,
    n: usize,
    (pool, progress): (&ThreadPool, &dyn Progress),
    make: impl Fn(usize) -> Result<T> + Sync,
    consume: impl FnMut(T) -> Result<()> + Send,
) -> Result<()> {
    let stage = stage.into();
    match team {
        Some(team) => team.each(stage, n, (pool, progress), make, consume),
        None => stage::each(stage.shown, n, pool, progress, make, consume),
    }
}

/// What one process finds out for all of a team, or for itself: [`Alone`] says which of it takes long.
///
/// # Errors
/// As `make`, a piece that is not what was written, Ctrl-C.
pub fn once<T: Kept>(
    team: Option<&Team>,
    stage: &'static str,
    progress: &dyn Progress,
    make: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let Some(team) = team else { return make() };
    team.begin(stage)?;
    let decide = || {
        // Whoever asks sees at once who decides, and the others wait.
        if Alone::at(stage).is_some() {
            progress.stage(stage, 1);
        }
        make()
    };
    team.piece((stage.into(), 0), true, progress, decide)?;
    team.read(stage, 0)
}

#[cfg(test)]
mod tests {
    use setaccio_base::parallel::thread_pool;

    use super::*;

    #[test]
    fn each_piece_is_made_once_and_all_know_all() -> Result<()> {
        let dir = tempfile::tempdir().map_err(Error::io("create", "temp"))?;
        let made = AtomicUsize::new(0);
        let member = |number: usize| -> Result<Vec<usize>> {
            let team = Team::join(dir.path(), "f", [number, 3], None)?;
            let (pool, mut found) = (thread_pool(2)?, Vec::new());
            let make = |piece: usize| {
                made.fetch_add(1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(5));
                Ok(Json(piece * piece))
            };
            each(Some(&team), "squares", 20, (&pool, &()), make, |Json(square)| {
                found.push(square);
                Ok(())
            })?;
            Ok(found)
        };
        let found = thread::scope(|scope| {
            let members = [1, 2, 3].map(|number| scope.spawn(move || member(number)));
            members.map(|member| member.join().unwrap_or_else(|_| panic!("a member panicked")))
        });
        let squares: Vec<usize> = (0..20).map(|i| i * i).collect();
        for found in found {
            assert_eq!(found?, squares);
        }
        assert_eq!(made.load(Ordering::SeqCst), 20);
        // One that comes later finds all, and what the disk lost is made anew by the next.
        assert_eq!(member(7)?, squares);
        let piece = Team::join(dir.path(), "f", [1, 1], None)?.path("squares", 4);
        fs::write(&piece, b"12345678torn").map_err(Error::io("write", &piece))?;
        assert!(member(1).is_err_and(|e| e.to_string().contains("00004.json: is not what was written")));
        assert_eq!((member(1)?, made.load(Ordering::SeqCst)), (squares, 21));
        Ok(())
    }
}
