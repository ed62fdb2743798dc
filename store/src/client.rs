//! What is asked of stores: listings, looks, reads by range, puts on a condition.

use std::{
    collections::HashMap,
    ops::Range,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::{Error, GetOptions, ObjectMeta, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion};
use setaccio_base::{
    objects::{Condition, Object, Result, StoreError, Stores, Why},
    progress::Progress,
};

use crate::{
    address::{Address, Scheme},
    bucket::{Bucket, first_wait},
    sentence::{self, CHANGED},
    upload,
    wait::{Stopped, Waiter},
};

/// Bytes of a request: what is longer is asked for in pieces.
const PIECE: u64 = 8 << 20;

/// Pieces that are on their way at a time.
const AT_ONCE: usize = 4;

/// How often an object is removed whose removal has no answer.
const DELETIONS: u32 = 4;

/// What speaks to stores in this process, until `stopped` says so.
pub fn stores(stopped: Stopped) -> Box<dyn Stores> {
    Box::new(Client { waiter: Waiter(stopped), buckets: Mutex::default() })
}

/// A client of all buckets that were asked.
struct Client {
    waiter: Waiter,
    buckets: Mutex<HashMap<String, Arc<Bucket>>>,
}

impl Client {
    fn bucket(&self, address: &Address) -> Result<Arc<Bucket>> {
        if let Some(bucket) = self.buckets.lock().unwrap_or_else(PoisonError::into_inner).get(&address.root) {
            return Ok(bucket.clone());
        }
        // Without the lock: looking for credentials may take a second.
        let bucket = Arc::new(Bucket::open(address)?);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(buckets.entry(address.root.clone()).or_insert(bucket).clone())
    }
}

impl Stores for Client {
    fn list(&self, folder: &str) -> Result<Vec<Object>> {
        let at = Address::parse(folder)?;
        if at.scheme == Scheme::Web {
            return Err(StoreError::new(
                folder,
                Why::Refused,
                "a web server does not list its files: name each of them",
            ));
        }
        let bucket = self.bucket(&at)?;
        let listed: Vec<ObjectMeta> = self.waiter.wait(folder, async {
            let all = bucket.store.list(Some(&at.path)).try_collect().await;
            all.map_err(|e| sentence::of(folder, &bucket.identity, &e))
        })?;
        let mut objects: Vec<Object> =
            listed.into_iter().map(|meta| object(&format!("{}/{}", at.root, meta.location), meta)).collect();
        objects.sort_by(|a, b| a.address.cmp(&b.address));
        // What stands for a folder where there are none is no file.
        let folders: Vec<bool> = (0..objects.len())
            .map(|i| {
                let below = format!("{}/", objects[i].address);
                objects[i].bytes == 0 && objects[i + 1..].iter().any(|other| other.address.starts_with(&below))
            })
            .collect();
        let mut folders = folders.into_iter();
        objects.retain(|_| !folders.next().unwrap_or(false));
        Ok(objects)
    }

    fn look(&self, address: &str) -> Result<Option<Object>> {
        let at = Address::parse(address)?;
        if at.path.is_root() {
            return Ok(None);
        }
        let bucket = self.bucket(&at)?;
        self.waiter.wait(address, async {
            match bucket.store.get_opts(&at.path, GetOptions::new().with_head(true)).await {
                Ok(found) => Ok(Some(object(address, found.meta))),
                Err(Error::NotFound { .. }) => Ok(None),
                Err(e) => Err(sentence::of(address, &bucket.identity, &e)),
            }
        })
    }

    fn read(&self, object: &Object, range: Range<u64>) -> Result<Vec<u8>> {
        let at = Address::parse(&object.address)?;
        let bucket = self.bucket(&at)?;
        let length = range.end.saturating_sub(range.start);
        self.waiter.wait(&object.address, async {
            if length <= PIECE {
                return Ok(piece(&bucket, &at, object, range).await?.into());
            }
            let starts = (range.start..range.end).step_by(usize::try_from(PIECE).unwrap_or(usize::MAX));
            let pieces = starts.map(|start| piece(&bucket, &at, object, start..range.end.min(start + PIECE)));
            let mut pieces = stream::iter(pieces).buffered(AT_ONCE);
            let mut all = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
            while let Some(piece) = pieces.try_next().await? {
                all.extend_from_slice(&piece);
            }
            Ok(all)
        })
    }

    fn put(&self, address: &str, bytes: Vec<u8>, condition: &Condition) -> Result<Option<String>> {
        let at = writable(address)?;
        let bucket = self.bucket(&at)?;
        let mode = match condition {
            Condition::Absent => PutMode::Create,
            Condition::Always => PutMode::Overwrite,
            Condition::Unchanged(object) => PutMode::Update(UpdateVersion {
                e_tag: object.etag.as_deref().map(quoted),
                version: object.version.clone(),
            }),
        };
        self.waiter.wait(address, async {
            let put = bucket.store.put_opts(&at.path, PutPayload::from(bytes), PutOptions::from(mode)).await;
            put.map(|done| etag(done.e_tag)).map_err(|e| match e {
                Error::Precondition { .. } => StoreError::new(address, Why::Changed, "somebody else wrote it meanwhile"),
                Error::NotImplemented { .. } => {
                    let message = "its store writes nothing on a condition (AWS_CONDITIONAL_PUT): two builds at once could not be told apart";
                    StoreError::new(address, Why::Refused, message)
                }
                e => sentence::of(address, &bucket.identity, &e),
            })
        })
    }

    fn upload(&self, address: &str, file: &Path, journal: &Path, progress: &dyn Progress) -> Result<()> {
        let at = writable(address)?;
        let bucket = self.bucket(&at)?;
        let to = upload::Target { address, path: &at.path, bucket: &bucket, waiter: self.waiter };
        to.upload(file, journal, progress)
    }

    fn forget(&self, journal: &Path) -> Result<()> {
        let Some(address) = upload::address(journal) else { return Ok(()) };
        let at = writable(&address)?;
        let bucket = self.bucket(&at)?;
        upload::Target { address: &address, path: &at.path, bucket: &bucket, waiter: self.waiter }.forget(journal)
    }

    fn delete(&self, address: &str) -> Result<()> {
        let at = writable(address)?;
        let bucket = self.bucket(&at)?;
        self.waiter.wait(address, async {
            let mut left = DELETIONS;
            loop {
                left -= 1;
                match bucket.store.delete(&at.path).await {
                    Ok(()) | Err(Error::NotFound { .. }) => return Ok(()),
                    // S3 is asked by a request of which `object_store` does not know that it may be made again when its answer is lost.
                    Err(Error::Generic { .. }) if left > 0 => tokio::time::sleep(first_wait()).await,
                    Err(e) => return Err(sentence::of(address, &bucket.identity, &e)),
                }
            }
        })
    }
}

/// An address that can be written to.
fn writable(address: &str) -> Result<Address> {
    let at = Address::parse(address)?;
    if at.scheme == Scheme::Web {
        let message = "is on a web server, which is read and not written to: name a place in a bucket, or a folder";
        return Err(StoreError::new(address, Why::Refused, message));
    }
    Ok(at)
}

/// Some bytes of an object, if it is still the same.
async fn piece(bucket: &Bucket, at: &Address, object: &Object, range: Range<u64>) -> Result<Bytes> {
    let changed = |message: &str| StoreError::new(&object.address, Why::Changed, message);
    if range.is_empty() {
        return Ok(Bytes::new());
    }
    let options = GetOptions::new().with_range(Some(range.clone())).with_if_match(object.etag.as_deref().map(quoted));
    let read = async {
        let found = bucket.store.get_opts(&at.path, options).await?;
        let meta = found.meta.clone();
        Ok::<_, Error>((meta, found.bytes().await?))
    };
    let (meta, bytes) = read.await.map_err(|e| match e {
        Error::NotFound { .. } => changed("was removed while it was read: put it back, and run the same command again"),
        e => sentence::of(&object.address, &bucket.identity, &e),
    })?;
    // A server may overlook the condition.
    let (tag, time) = (etag(meta.e_tag), meta.last_modified.timestamp());
    let same = match (&object.etag, object.modified) {
        (Some(known), _) => tag.as_ref() == Some(known),
        (None, Some(known)) => time == known,
        (None, None) => true,
    };
    if !same || meta.size != object.bytes {
        return Err(changed(CHANGED));
    }
    if bytes.len() as u64 != range.end - range.start {
        return Err(StoreError::new(
            &object.address,
            Why::Refused,
            "its server sends fewer bytes than it was asked for: bring it here first",
        ));
    }
    Ok(bytes)
}

fn object(address: &str, meta: ObjectMeta) -> Object {
    let modified = Some(meta.last_modified.timestamp()).filter(|seconds| *seconds > 0);
    Object { address: address.to_owned(), bytes: meta.size, etag: etag(meta.e_tag), modified, version: meta.version }
}

/// An ETag without its quotes, which not all listings have. A weak one stands for what a page says, and not for its bytes.
fn etag(stated: Option<String>) -> Option<String> {
    stated
        .filter(|tag| !tag.starts_with("W/"))
        .map(|tag| tag.trim_matches('"').to_owned())
        .filter(|tag| !tag.is_empty())
}

fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}
