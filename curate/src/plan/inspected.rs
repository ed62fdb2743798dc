//! What inspecting the inputs found, kept beside a build that several processes do: each file is read through by one of them, once. A
//! process begins with other files than the next, and finds that those which it comes to later were inspected meanwhile.

use std::{
    fs,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use setaccio_base::{
    atomic,
    lock_file::{LockFile, Mode},
    sha256,
};
use setaccio_dataset::recipe::Source;

use super::{ENGINE, identity::Identity};
use crate::{
    error::{Error, Result},
    source::{Inspection, Limits},
};

/// How often it is looked whether another process is done with a file.
const PATIENCE: Duration = Duration::from_millis(50);

/// Where it is kept, and which of the processes this one is.
#[derive(Debug)]
pub struct Inspected {
    /// The folder.
    pub folder: PathBuf,
    /// The number of this process, from 1, and how many there are.
    pub turn: [usize; 2],
    /// Bytes of files that this process reads through at most, if there is a limit: one more that was not inspected is an error.
    pub most: Option<Mutex<u64>>,
}

/// What is kept of a file.
#[derive(Serialize, Deserialize)]
struct Found {
    /// Tells that it is still the file that was inspected.
    identity: String,
    inspection: Inspection,
}

/// What is to be done about a file.
pub enum Turn {
    /// Nothing: it was inspected.
    Known(Inspection),
    /// Inspect it, and then [`Inspected::keep`] what was found.
    Mine(LockFile),
    /// Another process does.
    Busy,
}

impl Inspected {
    /// In which order this process comes to `n` files.
    pub fn order(&self, n: usize) -> Vec<usize> {
        let [number, of] = self.turn;
        let first = n * (number - 1) / of.max(1);
        (first..n).chain(0..first).collect()
    }

    /// The name of what is kept of a file: of all that decides what is found, beside the file itself.
    pub fn key(name: &str, source: &Source, limits: &Limits) -> Result<String> {
        let Limits { slice_bytes, max_row_bytes, count_compressed, window_log } = limits;
        let limits = (slice_bytes, max_row_bytes, count_compressed, window_log);
        Ok(sha256::hex_digest(&serde_json::to_vec(&(ENGINE, name, source, limits)).map_err(Error::encode(name))?))
    }

    /// What is to be done about the file of this name and identity. Whoever waits gets an answer that is not [`Turn::Busy`].
    ///
    /// # Errors
    /// [`Error::Uninspected`], Ctrl-C, or the file system refuses.
    pub fn turn(&self, key: &str, identity: &Identity, wait: bool, cancelled: &dyn Fn() -> bool) -> Result<Turn> {
        loop {
            if let Some(inspection) = self.find(key, identity) {
                return Ok(Turn::Known(inspection));
            }
            if let Some(most) = &self.most {
                let mut left = most.lock().unwrap_or_else(PoisonError::into_inner);
                *left = left.checked_sub(identity.bytes()).ok_or(Error::Uninspected)?;
            }
            fs::create_dir_all(&self.folder).map_err(Error::io("create", &self.folder))?;
            match LockFile::acquire(&self.folder.join(format!("{key}.lock")), Mode::Exclusive) {
                // Whoever had it may have been done between the two looks.
                Ok(lock) => match self.find(key, identity) {
                    Some(inspection) => {
                        lock.remove()?;
                        return Ok(Turn::Known(inspection));
                    }
                    None => return Ok(Turn::Mine(lock)),
                },
                Err(setaccio_base::Error::Busy(_)) if wait => thread::sleep(PATIENCE),
                Err(setaccio_base::Error::Busy(_)) => return Ok(Turn::Busy),
                Err(error) => return Err(error.into()),
            }
            if cancelled() {
                return Err(Error::Interrupted);
            }
        }
    }

    /// Keep what was found of a file.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn keep(&self, lock: LockFile, key: &str, identity: &Identity, inspection: &Inspection) -> Result<()> {
        let found = Found { identity: identity.anywhere(), inspection: inspection.clone() };
        let json = serde_json::to_vec(&found).map_err(Error::encode(key))?;
        atomic::write(&self.path(key), &json)?;
        Ok(lock.remove()?)
    }

    /// What was found, if the file is still the same. What is torn counts as nothing.
    fn find(&self, key: &str, identity: &Identity) -> Option<Inspection> {
        let found: Found = serde_json::from_slice(&fs::read(self.path(key)).ok()?).ok()?;
        (found.identity == identity.anywhere()).then_some(found.inspection)
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.join(format!("{key}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Slice;

    #[test]
    fn a_file_is_inspected_by_one_and_anew_when_it_changes() -> Result<()> {
        let dir = tempfile::tempdir().map_err(Error::io("create", "temp"))?;
        let file = dir.path().join("rows.jsonl");
        let write = |text: &str| fs::write(&file, text).and_then(|()| Identity::of(&file));
        let before = write("{}").map_err(Error::io("write", &file))?;
        let shared = |most: Option<u64>| Inspected {
            folder: dir.path().join("inspected"),
            turn: [1, 2],
            most: most.map(Mutex::new),
        };
        let turn = |identity: &Identity, most| shared(most).turn("key", identity, false, &|| false);
        let inspection = Inspection { sha256: "ab".into(), rows: Some(1), slices: vec![Slice::Whole], text_bytes: 2 };

        assert!(matches!(turn(&before, Some(1)), Err(Error::Uninspected)));
        let Turn::Mine(lock) = turn(&before, Some(2))? else { panic!("nobody has it") };
        assert!(matches!(turn(&before, None)?, Turn::Busy));
        shared(None).keep(lock, "key", &before, &inspection)?;
        assert!(matches!(turn(&before, Some(0))?, Turn::Known(found) if found == inspection));
        let after = write("{\"a\": 1}").map_err(Error::io("write", &file))?;
        assert!(matches!(turn(&after, None)?, Turn::Mine(_)));
        Ok(())
    }

    #[test]
    fn processes_begin_with_other_files() {
        let order = |turn| Inspected { folder: PathBuf::new(), turn, most: None }.order(5);
        assert_eq!(order([1, 2]), [0, 1, 2, 3, 4]);
        assert_eq!(order([2, 2]), [2, 3, 4, 0, 1]);
        assert_eq!(order([9, 9]), [4, 0, 1, 2, 3]);
    }
}
