//! Earlier data sets, whose rows stay: near-duplicates of them, and rows that hold too much of them, go from the one that is built.

use std::path::{Path, PathBuf};

use setaccio_base::{
    progress::Progress,
    row::{Content, Kind},
    sha256,
};
use setaccio_dataset::{
    folder::{self, DATA},
    ledger::FileEntry,
    lock::Asset,
    shard::Shard,
};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::{Error, Result};

/// A data set that was built before.
pub struct Earlier {
    /// As the recipe names it, without the folders of this machine.
    pub name: String,
    /// The key of the recipe that names it.
    pub key: &'static str,
    folder: PathBuf,
    kind: Kind,
    /// Its shards, as its ledger states them.
    shards: Vec<(PathBuf, FileEntry)>,
}

impl Earlier {
    /// The build in `folder`, called `name`, that `key` of the recipe names, whose rows are of `kind` if that is asked.
    ///
    /// # Errors
    /// There is no whole build, or one of another kind.
    pub fn open(name: String, folder: &Path, kind: Option<Kind>, key: &'static str) -> Result<Self> {
        let refuse = |message: String| Error::damaged(folder, format!("{message}; see {key}"));
        let (ledger, _) = folder::read(folder).map_err(|e| refuse(format!("is no data set that was built: {e}")))?;
        let kind = match (ledger.kind, kind) {
            (Some(found), Some(kind)) if found == kind => kind,
            (Some(found), None) => found,
            (found, kind) => {
                let found = found.map_or("another kind", Kind::name);
                let kind = kind.map_or("a known one", Kind::name);
                return Err(refuse(format!("holds rows of kind {found}, and this recipe makes {kind}")));
            }
        };
        let shards = ledger.files.into_iter().filter(|file| file.path.starts_with(&format!("{DATA}/")));
        let shards = shards.map(|file| (folder.join(&file.path), file)).collect();
        Ok(Self { name, key, folder: folder.to_owned(), kind, shards })
    }

    /// Whether it lies in this folder, of which links are resolved.
    pub fn is(&self, folder: &Path) -> bool {
        self.folder.canonicalize().is_ok_and(|own| own == folder)
    }

    /// Its shards.
    pub fn shards(&self) -> impl Iterator<Item = &Path> {
        self.shards.iter().map(|(path, _)| path.as_path())
    }

    /// Its shards, with what its ledger states of them.
    pub fn files(&self) -> impl Iterator<Item = (&Path, &FileEntry)> {
        self.shards.iter().map(|(path, entry)| (path.as_path(), entry))
    }

    /// The name of a row with this id, in the data set of this number.
    pub fn name(set: usize, id: &[u8; 16]) -> u64 {
        xxh3_64_with_seed(id, 0x6561_726c + set as u64)
    }

    /// What its rows depend on, for the lock.
    pub fn asset(&self) -> Asset {
        let hashes: Vec<&str> = self.shards.iter().map(|(_, entry)| entry.sha256.as_str()).collect();
        Asset { key: self.name.clone(), sha256: sha256::hex_digest(hashes.join("\n").as_bytes()) }
    }

    /// Give the content of each row of one of its shards to `each`.
    ///
    /// # Errors
    /// The shard cannot be read or is not the one that the ledger knows, `each` fails, Ctrl-C.
    pub fn each_row(
        &self,
        shard: &Path,
        progress: &dyn Progress,
        mut each: impl FnMut(&Content) -> Result<()>,
    ) -> Result<()> {
        let opened = Shard::open(shard, &|| progress.cancelled())?;
        if self.shards.iter().any(|(path, entry)| path == shard && entry.sha256 != opened.sha256) {
            let message = format!(
                "is not the file that its ledger names: build that data set again, or take it out of {}",
                self.key
            );
            return Err(Error::damaged(shard, message));
        }
        for row in opened.rows(self.kind)? {
            if progress.cancelled() {
                return Err(Error::Interrupted);
            }
            each(&row?.content)?;
        }
        Ok(())
    }
}
