//! What processes have joined, in an object store, for machines that share no disk: below `FOLDER/finish/ID/`, each piece's own file after
//! what lies beside it. All that make a piece leave the same bytes, so that no object is ever another than it was.

use std::{fs, path::Path, sync::Arc};

use setaccio_base::{
    atomic::{self, AtomicFile},
    objects::{self, Condition, ObjectReader, StoreError, Stores, Why, join},
    parallel::{ordered_map, thread_pool},
    progress::Progress,
};

use crate::{
    error::{Error, Result},
    pipeline::piece_file::Board,
    plan::Plan,
    shared_work::Quiet,
};

/// Folder of what was joined.
const FINISH: &str = "finish";

/// Digits of the fingerprint that a build's folder is called by.
const ID: usize = 16;

/// Bytes of a file that is put only if there is none of its name.
const SMALL: u64 = 8 << 20;

/// How often an object is looked at that changes while it is read.
const LOOKS: usize = 5;

/// Objects that are removed at a time.
const AT_ONCE: usize = 4;

/// The board of the build of a plan that is put into a store.
pub struct SharedFinish {
    stores: &'static dyn Stores,
    address: String,
}

impl SharedFinish {
    /// That of the build of `plan` that is put at `out`.
    ///
    /// # Errors
    /// The program has no stores.
    pub fn new(plan: &Plan, out: &str) -> Result<Self> {
        let fingerprint = &plan.lock.fingerprint;
        let id = fingerprint.get(..ID).unwrap_or(fingerprint);
        Ok(Self { stores: objects::stores(out)?, address: join(&join(out, FINISH), id) })
    }

    /// Whether anybody began to join.
    ///
    /// # Errors
    /// The store refuses.
    pub fn is_begun(&self) -> Result<bool> {
        Ok(!self.stores.list(&self.address)?.is_empty())
    }

    /// Remove all of it: the build is published.
    ///
    /// # Errors
    /// The store refuses.
    pub fn clear(&self) -> Result<()> {
        let listed = self.stores.list(&self.address)?;
        let delete = |i: usize| Ok::<_, Error>(self.stores.delete(&listed[i].address)?);
        ordered_map(&thread_pool(AT_ONCE)?, listed.len(), delete, |()| Ok::<_, Error>(()))
    }

    fn at(&self, name: &str) -> String {
        join(&self.address, name)
    }
}

impl Board for SharedFinish {
    fn claim(&self, name: &str) -> Result<bool> {
        match self.stores.put(&self.at(&format!("{name}.claim")), b"made".to_vec(), &Condition::Absent) {
            Err(StoreError { why: Why::Changed, .. }) => Ok(false),
            put => Ok(put.map(|_| true)?),
        }
    }

    fn put(&self, name: &str, file: &Path, progress: &dyn Progress) -> Result<()> {
        let (to, bytes) = (self.at(name), fs::metadata(file).map_err(Error::io("read", file))?.len());
        if bytes <= SMALL {
            let all = fs::read(file).map_err(Error::io("read", file))?;
            return match self.stores.put(&to, all, &Condition::Absent) {
                Err(StoreError { why: Why::Changed, .. }) => Ok(()),
                put => Ok(put.map(drop)?),
            };
        }
        // Whoever made the piece, too, left the same.
        if self.stores.look(&to)?.is_some_and(|object| object.bytes == bytes) {
            return Ok(());
        }
        let journal = file.with_file_name(format!(".{}.parts", file.file_name().unwrap_or_default().to_string_lossy()));
        Ok(self.stores.upload(&to, file, &journal, &Quiet(progress))?)
    }

    fn fetch(&self, name: &str, to: &Path) -> Result<bool> {
        for left in (0..LOOKS).rev() {
            let Some(object) = self.stores.look(&self.at(name))? else { return Ok(false) };
            atomic::create_parent(to)?;
            let mut copy = AtomicFile::create(to)?;
            match std::io::copy(&mut ObjectReader::new(Arc::new(object)), &mut copy) {
                Ok(_) => {
                    copy.commit()?;
                    return Ok(true);
                }
                Err(error) => match StoreError::of(&error) {
                    // Somebody put the same bytes there meanwhile, and to some stores that is another version.
                    Some(StoreError { why: Why::Changed, .. }) if left > 0 => {}
                    Some(said) => return Err(said.clone().into()),
                    None => return Err(Error::io("write", to)(error)),
                },
            }
        }
        Ok(false)
    }

    fn remove(&self, name: &str) -> Result<()> {
        Ok(self.stores.delete(&self.at(name))?)
    }
}
