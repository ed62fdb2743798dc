//! Files to objects. A large one goes in parts; which of them have arrived stands in a journal beside the file, so that an upload
//! that was cut short goes on from there. One that nobody goes on with, because the file is another one, is given up.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
    time::UNIX_EPOCH,
};

use object_store::{Error, ObjectStoreExt, PutPayload, multipart::PartId, path::Path as Key};
use serde::{Deserialize, Serialize};
use setaccio_base::{
    atomic,
    objects::{Result, StoreError, Why},
    progress::Progress,
};

use crate::{bucket::Bucket, sentence, wait::Waiter};

/// Bytes of a part at least, and of what is written in one: a part that is cut is sent again whole.
const PART: u64 = 16 << 20;

/// Parts of an object at most: all stores take 10,000.
const PARTS: u64 = 9_000;

/// Where a file goes.
pub struct Target<'a> {
    /// Its address.
    pub address: &'a str,
    /// Its key.
    pub path: &'a Key,
    /// Its bucket.
    pub bucket: &'a Bucket,
    /// Who waits for it.
    pub waiter: Waiter,
}

/// An upload that was begun.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Journal {
    address: String,
    bytes: u64,
    /// When the file was changed last, in nanoseconds since 1970.
    modified: u128,
    /// Bytes of a part.
    part: u64,
    /// What the store calls the upload.
    id: String,
    /// What it calls the parts that have arrived, in order.
    parts: Vec<String>,
}

impl Target<'_> {
    /// Write `file` there, in parts if it is large.
    ///
    /// # Errors
    /// The store refuses, the file cannot be read, or whoever follows it says stop; the journal then stays.
    pub fn upload(&self, file: &Path, journal: &Path, progress: &dyn Progress) -> Result<()> {
        let unreadable = |e| self.refused(format!("{} cannot be read: {e}", file.display()));
        let mut open = File::open(file).map_err(unreadable)?;
        let found = open.metadata().map_err(unreadable)?;
        let bytes = found.len();
        let modified = found.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let part = PART.max(bytes.div_ceil(PARTS).next_multiple_of(1 << 20));
        let (address, modified) = (self.address.to_owned(), modified.map_or(0, |since| since.as_nanos()));
        let fresh = Journal { address, bytes, modified, part, ..Journal::default() };
        let before = Journal::read(journal);
        let Some(parts) = self.bucket.parts.as_ref().filter(|_| bytes > PART) else {
            if before.is_some() {
                self.forget(journal)?;
            }
            let mut all = Vec::new();
            open.read_to_end(&mut all).map_err(unreadable)?;
            self.said(async { self.bucket.store.put(self.path, PutPayload::from(all)).await.map(drop) })?;
            progress.bytes(bytes);
            return Ok(());
        };
        let (mut going, resumed) = match before {
            Some(before) if before.is_of(&fresh) => (before, true),
            other => {
                if other.is_some() {
                    self.forget(journal)?;
                }
                let id = self.said(parts.create_multipart(self.path))?;
                (Journal { id, ..fresh }, false)
            }
        };
        progress.bytes(bytes.min(going.parts.len() as u64 * part));
        let sent = self.parts(&mut going, &mut open, journal, progress);
        match sent {
            // The store has given it up meanwhile, as a rule of the bucket may say.
            Err(None) => {
                drop(std::fs::remove_file(journal));
                if resumed {
                    return self.upload(file, journal, progress);
                }
                Err(self.refused("its upload was given up by somebody else: run the same command again".into()))
            }
            Err(Some(error)) => Err(error),
            Ok(()) => {
                drop(std::fs::remove_file(journal));
                Ok(())
            }
        }
    }

    /// Send what is left, and make an object of it. No error at all stands for an upload that the store does not know.
    fn parts(
        &self,
        going: &mut Journal,
        file: &mut File,
        journal: &Path,
        progress: &dyn Progress,
    ) -> std::result::Result<(), Option<StoreError>> {
        let Some(parts) = &self.bucket.parts else { return Ok(()) };
        let unreadable = |e| Some(self.refused(format!("its file cannot be read: {e}")));
        going.write(journal).map_err(|e| Some(self.refused(e)))?;
        let at = going.parts.len() as u64 * going.part;
        file.seek(SeekFrom::Start(at)).map_err(unreadable)?;
        let mut left = going.bytes.saturating_sub(at);
        while left > 0 {
            if progress.cancelled() {
                return Err(Some(StoreError::new(self.address, Why::Interrupted, "interrupted")));
            }
            let length = left.min(going.part);
            let mut part = vec![0; usize::try_from(length).unwrap_or(0)];
            file.read_exact(&mut part).map_err(unreadable)?;
            let number = going.parts.len();
            let sent = parts.put_part(self.path, &going.id, number, PutPayload::from(part));
            let PartId { content_id } = self.known(sent)?;
            going.parts.push(content_id);
            going.write(journal).map_err(|e| Some(self.refused(e)))?;
            left -= length;
            progress.bytes(length);
        }
        let all = going.parts.iter().map(|id| PartId { content_id: id.clone() }).collect();
        match self.known(parts.complete_multipart(self.path, &going.id, all)) {
            // An answer may be lost on its way: then the object is there, and the upload is known no more.
            Err(None) if self.is_there(going.bytes).map_err(Some)? => Ok(()),
            done => done.map(drop),
        }
    }

    /// Whether the object is there, at this size.
    fn is_there(&self, bytes: u64) -> Result<bool> {
        let identity = &self.bucket.identity;
        self.waiter.wait(self.address, async {
            match self.bucket.store.head(self.path).await {
                Ok(found) => Ok(found.size == bytes),
                Err(Error::NotFound { .. }) => Ok(false),
                Err(e) => Err(sentence::of(self.address, identity, &e)),
            }
        })
    }

    /// Wait for what the store says of an upload; no error at all if it knows none.
    fn known<T>(
        &self,
        asked: impl Future<Output = object_store::Result<T>>,
    ) -> std::result::Result<T, Option<StoreError>> {
        let waited = self.waiter.wait(self.address, async { Ok(asked.await) });
        match waited.map_err(Some)? {
            Ok(done) => Ok(done),
            Err(Error::NotFound { .. }) => Err(None),
            Err(e) => Err(Some(sentence::of(self.address, &self.bucket.identity, &e))),
        }
    }

    fn said<T>(&self, asked: impl Future<Output = object_store::Result<T>>) -> Result<T> {
        let identity = &self.bucket.identity;
        self.waiter.wait(self.address, async { asked.await.map_err(|e| sentence::of(self.address, identity, &e)) })
    }

    fn refused(&self, message: String) -> StoreError {
        StoreError::new(self.address, Why::Refused, message)
    }

    /// Let the store forget the parts of an upload that nobody goes on with. It may have done so itself.
    ///
    /// # Errors
    /// The store refuses.
    pub fn forget(&self, journal: &Path) -> Result<()> {
        if let (Some(before), Some(parts)) = (Journal::read(journal), &self.bucket.parts) {
            match self.known(parts.abort_multipart(self.path, &before.id)) {
                Ok(()) | Err(None) => {}
                Err(Some(error)) => return Err(error),
            }
        }
        drop(std::fs::remove_file(journal));
        Ok(())
    }
}

/// Where the upload of a journal goes.
pub fn address(journal: &Path) -> Option<String> {
    Journal::read(journal).map(|journal| journal.address)
}

impl Journal {
    fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    fn write(&self, path: &Path) -> std::result::Result<(), String> {
        let json = serde_json::to_vec(self).map_err(|e| e.to_string())?;
        atomic::create_parent(path).and_then(|_| atomic::write(path, &json)).map_err(|e| e.to_string())
    }

    /// Whether it is of the same file, to the same place.
    fn is_of(&self, other: &Self) -> bool {
        let same = |journal: &Self| (journal.address.clone(), journal.bytes, journal.modified, journal.part);
        same(self) == same(other)
    }
}
