//! A finished build in an object store. `FOLDER/current.json` names the build that counts, and `FOLDER/builds/ID/` holds it, as a
//! folder of a disk would: a store renames nothing, so a new build is written beside the earlier one, and counts from the moment
//! that `current.json` is put, on the condition that it is still the one that was there before.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use setaccio_base::{
    atomic,
    hidden::hidden_folder,
    lock_file::Mode,
    objects::{self, Condition, Object, ObjectReader, StoreError, Stores, Why, join},
    parallel::{ordered_map, thread_pool},
    progress::Progress,
    sha256::hex_digest,
};
use setaccio_dataset::{
    folder::{self, CARD, DATA, LEDGER, PUBLISHED, RECIPE_LOCK, REJECTS, WATERFALL},
    ledger::{FileEntry, Ledger},
};

use crate::{
    error::{Error, Result},
    folder::OutputFolder,
    plan::Plan,
    report::verify::{Held, Shelf},
};

/// Names the build that counts.
const CURRENT: &str = "current.json";

/// Folder of the builds.
const BUILDS: &str = "builds";

/// Folder, within what an output folder hides, of what is known of uploads.
const UPLOADS: &str = "uploads";

/// Files that are uploaded at a time.
const AT_ONCE: usize = 4;

/// What `current.json` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Current {
    /// That of the build's ledger and lock.
    fingerprint: String,
    /// Where it lies, below the folder.
    folder: String,
    /// SHA-256 of its ledger, which has the hash of every other file.
    ledger_sha256: String,
}

/// What was put into a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Where the build lies.
    pub address: String,
    /// Whether it was there before, whole.
    pub before: bool,
    /// An earlier build that could not be removed.
    pub left: Option<String>,
}

/// Check that no input lies where the build goes: the next build would read what this one writes.
///
/// # Errors
/// One does.
pub fn check_apart(plan: &Plan, out: &str) -> Result<()> {
    let below = join(out, "");
    match plan.files.iter().map(|file| file.input.place.path()).find(|path| path.to_string_lossy().starts_with(&below))
    {
        Some(path) => {
            let message = format!("is where {} is read from: name another place with --out", path.display());
            Err(Error::damaged(out, message))
        }
        None => Ok(()),
    }
}

/// Check that a build can be put at `out`, before it is made.
///
/// # Errors
/// The store cannot be asked, or what is there was written by no build.
pub fn check_place(out: &str) -> Result<()> {
    if out.starts_with("http") {
        let message = "is on a web server, which is read and not written to: name a place in a bucket, or a folder";
        return Err(Error::damaged(out, message));
    }
    let stores = objects::stores(out)?;
    // A look at an object alone does not tell whether there is such a bucket.
    stores.list(&join(out, BUILDS))?;
    current(out).map(drop)
}

/// The build that counts, and the object that says so.
fn current(out: &str) -> Result<Option<(Current, Object)>> {
    let address = join(out, CURRENT);
    let stores = objects::stores(out)?;
    let Some(object) = stores.look(&address)? else { return Ok(None) };
    let bytes = object.whole()?;
    let known: Current = serde_json::from_slice(&bytes).map_err(|e| {
        Error::damaged(
            &address,
            format!("was written by no build ({e}): move it away, or name another place with --out"),
        )
    })?;
    // What it names is removed one day, and it may have been written by anybody.
    let plain = known.folder.strip_prefix(BUILDS).and_then(|rest| rest.strip_prefix('/'));
    if !plain.is_some_and(|id| id.len() == ID && id.bytes().all(|b| b.is_ascii_hexdigit())) {
        let message = "names a folder that no build writes: move it away, or name another place with --out";
        return Err(Error::damaged(&address, message));
    }
    Ok(Some((known, object)))
}

/// What is built at `out`, if a build counts there.
///
/// # Errors
/// The store refuses.
pub fn fingerprint(out: &str) -> Result<Option<String>> {
    Ok(current(out)?.map(|(known, _)| known.fingerprint))
}

/// The ledger of the build that counts at `out` and where it lies, if it is the one of `plan` and all of it is there.
///
/// # Errors
/// The store refuses.
pub fn holds(plan: &Plan, out: &str) -> Result<Option<(Ledger, String)>> {
    let Some((known, _)) = current(out)?.filter(|(known, _)| known.fingerprint == plan.lock.fingerprint) else {
        return Ok(None);
    };
    let address = join(out, &known.folder);
    let there = sizes(objects::stores(out)?, &address)?;
    let ledger = there.get(LEDGER).map(Object::whole).transpose()?.unwrap_or_default();
    if hex_digest(&ledger) != known.ledger_sha256 {
        return Ok(None);
    }
    let ledger: Option<Ledger> = serde_json::from_slice(&ledger).ok();
    Ok(ledger.filter(|ledger| whole(ledger, &[RECIPE_LOCK, CARD], &there)).map(|ledger| (ledger, address)))
}

/// Digits of a fingerprint that a build's folder is called by.
const ID: usize = 16;

/// Put the build in the folder `local` into the store, at `out`. What was there stays whole and counts until the new one does.
///
/// # Errors
/// `local` holds no build; the store refuses; somebody else put a build there meanwhile; whoever follows it says stop. What has
/// arrived is not sent again by the same command.
pub fn publish(local: &Path, out: &str, progress: &dyn Progress) -> Result<Published> {
    let _held = OutputFolder::open(local, Mode::Shared)?;
    let (ledger, lock) = folder::read(local)?;
    let stores = objects::stores(out)?;
    let before = current(out)?;
    let id = format!("{BUILDS}/{}", lock.fingerprint.get(..ID).unwrap_or(&lock.fingerprint));
    let address = join(out, &id);
    let texts: Vec<&str> =
        [RECIPE_LOCK, WATERFALL, CARD, LEDGER].into_iter().filter(|name| local.join(name).is_file()).collect();
    let read = |name: &str| fs::read(local.join(name)).map_err(Error::io("read", local.join(name)));
    let now = Current { fingerprint: lock.fingerprint.clone(), folder: id, ledger_sha256: hex_digest(&read(LEDGER)?) };
    let there = sizes(stores, &address)?;
    if before.as_ref().is_some_and(|(known, _)| *known == now) && whole(&ledger, &texts, &there) {
        return Ok(Published { address, before: true, left: None });
    }
    let journals = hidden_folder(local)?.join(UPLOADS);
    let mine = journals.join(&hex_digest(address.as_bytes())[..ID]);
    forget_others(stores, &journals, &mine)?;
    let pool = thread_pool(AT_ONCE)?;
    ordered_map(
        &pool,
        ledger.files.len(),
        |i| {
            let entry = &ledger.files[i];
            if progress.cancelled() {
                return Err(Error::Interrupted);
            }
            upload(stores, local, &address, entry, &mine, there.get(entry.path.as_str()), progress)
        },
        |()| Ok::<_, Error>(()),
    )?;
    for name in &texts {
        put(stores, &join(&address, name), read(name)?, &Condition::Always)?;
    }
    if !whole(&ledger, &texts, &sizes(stores, &address)?) {
        return Err(Error::damaged(
            &address,
            "does not hold what was put there: is anybody else writing? Run the same command again",
        ));
    }
    if progress.cancelled() {
        return Err(Error::Interrupted);
    }
    let condition = before.as_ref().map_or(Condition::Absent, |(_, object)| Condition::Unchanged(object.clone()));
    let json = serde_json::to_vec_pretty(&now).map_err(Error::encode(CURRENT))?;
    match put(stores, &join(out, CURRENT), json, &condition) {
        Err(Error::Base(setaccio_base::Error::Store(StoreError { address, why: Why::Changed, .. }))) => {
            // An answer may be lost on its way, and what was asked for again is done already.
            if current(out)?.is_none_or(|(known, _)| known != now) {
                let message = "was written by another build meanwhile, which counts: run the same command again to put this one in its place";
                return Err(Error::damaged(address, message));
            }
        }
        put => put?,
    }
    let left = match before {
        Some((known, _)) if known.folder != now.folder => {
            let earlier = join(out, &known.folder);
            remove(stores, &earlier).is_err().then_some(earlier)
        }
        _ => None,
    };
    atomic::remove(&journals)?;
    Ok(Published { address, before: false, left })
}

/// Sizes of what lies below an address, by name.
fn sizes(stores: &dyn Stores, address: &str) -> Result<BTreeMap<String, Object>> {
    let listed = stores.list(address)?;
    let start = join(address, "").len();
    Ok(listed.into_iter().map(|object| (object.address[start..].to_owned(), object)).collect())
}

/// Whether all files of a build are there, at their sizes.
fn whole(ledger: &Ledger, texts: &[&str], there: &BTreeMap<String, Object>) -> bool {
    ledger.files.iter().all(|entry| there.get(&entry.path).is_some_and(|object| object.bytes == entry.bytes))
        && texts.iter().all(|name| there.contains_key(*name))
}

/// What is known of a file that has arrived.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Arrived {
    sha256: String,
    etag: Option<String>,
}

/// Upload one file, unless it is there by what was noted of it.
fn upload(
    stores: &dyn Stores,
    local: &Path,
    address: &str,
    entry: &FileEntry,
    journals: &Path,
    there: Option<&Object>,
    progress: &dyn Progress,
) -> Result<()> {
    let note = journals.join(format!("{}.arrived.json", entry.path));
    let state = |object: &Object| Arrived { sha256: entry.sha256.clone(), etag: object.etag.clone() };
    let noted = fs::read(&note).ok().and_then(|bytes| serde_json::from_slice::<Arrived>(&bytes).ok());
    if let (Some(noted), Some(object)) = (noted, there)
        && object.bytes == entry.bytes
        && object.etag.is_some()
        && noted == state(object)
    {
        progress.bytes(entry.bytes);
        return Ok(());
    }
    let to = join(address, &entry.path);
    let journal = journals.join(format!("{}.parts.json", entry.path));
    stores.upload(&to, &local.join(&entry.path), &journal, progress)?;
    if let Some(object) = stores.look(&to)? {
        atomic::create_parent(&note)?;
        atomic::write(&note, &serde_json::to_vec(&state(&object)).map_err(Error::encode(&note))?)?;
    }
    progress.detail(&format!("{}: uploaded", entry.path));
    Ok(())
}

/// Give up what was begun of other builds, which nobody goes on with.
fn forget_others(stores: &dyn Stores, journals: &Path, mine: &Path) -> Result<()> {
    let entries = fs::read_dir(journals).into_iter().flatten().flatten().map(|entry| entry.path());
    for other in entries.filter(|path| path != mine) {
        for sub in [DATA, REJECTS] {
            for journal in fs::read_dir(other.join(sub)).into_iter().flatten().flatten().map(|entry| entry.path()) {
                if journal.to_string_lossy().ends_with(".parts.json") {
                    // What cannot be given up costs room in the store, and no build.
                    let _ = stores.forget(&journal);
                }
            }
        }
        atomic::remove(&other)?;
    }
    Ok(())
}

fn put(stores: &dyn Stores, address: &str, bytes: Vec<u8>, condition: &Condition) -> Result<()> {
    Ok(stores.put(address, bytes, condition).map(drop)?)
}

/// Remove a build. The ledger goes first: what has none is no build.
fn remove(stores: &dyn Stores, address: &str) -> objects::Result<()> {
    stores.delete(&join(address, LEDGER))?;
    stores.list(address)?.iter().try_for_each(|object| stores.delete(&object.address))
}

/// A build in a store, for whoever checks it: its texts lie in a folder of this machine, and its shards come one at a time.
pub struct StoredBuild {
    address: String,
    texts: tempfile::TempDir,
    there: BTreeMap<String, Object>,
    /// Other builds beside it, by address.
    pub others: Vec<String>,
}

impl StoredBuild {
    /// The one that counts at `out`, or the one that lies there.
    ///
    /// # Errors
    /// There is none, or the store refuses.
    pub fn open(out: &str) -> Result<Self> {
        let stores = objects::stores(out)?;
        let known = current(out)?;
        let address =
            known.as_ref().map_or_else(|| out.trim_end_matches('/').to_owned(), |(known, _)| join(out, &known.folder));
        let there = sizes(stores, &address)?;
        let Some(ledger) = there.get(LEDGER) else {
            return Err(Error::damaged(out, "holds no build: there is neither current.json nor ledger.json in it"));
        };
        if let Some((known, object)) = &known
            && hex_digest(&ledger.whole()?) != known.ledger_sha256
        {
            let message = "names a ledger of other bytes: the build was changed after it was put there; build it again";
            return Err(Error::damaged(&object.address, message));
        }
        let texts = tempfile::tempdir().map_err(Error::io("create a folder in", std::env::temp_dir()))?;
        for name in [RECIPE_LOCK, WATERFALL, CARD, LEDGER] {
            if let Some(object) = there.get(name) {
                let bytes = object.whole()?;
                atomic::write(&texts.path().join(name), &bytes)?;
            }
        }
        let mut others = Vec::new();
        if known.is_some() {
            let below = join(&join(out, BUILDS), "");
            let own = join(&address, "");
            let all = stores.list(&join(out, BUILDS))?;
            let folders = all.iter().filter(|object| !object.address.starts_with(&own));
            others = folders
                .filter_map(|object| object.address[below.len()..].split('/').next())
                .map(|id| format!("{below}{id}"))
                .collect();
            others.dedup();
        }
        Ok(Self { address, texts, there, others })
    }

    /// How many objects it is.
    pub fn files(&self) -> usize {
        self.there.len()
    }

    /// Where it lies.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Bring all of it into the folder `to`, each file by its hash.
    ///
    /// # Errors
    /// Something is there; a file is missing, or another one than the ledger says; whoever follows it says stop.
    pub fn copy_to(&self, to: &Path, progress: &dyn Progress) -> Result<Ledger> {
        let vacant = || {
            let taken = Error::damaged(to, "is there already: name another folder with --out, or move it away");
            if atomic::exists(to) { Err(taken) } else { Ok(()) }
        };
        atomic::folder(to, vacant, |aside| {
            let (ledger, _) = folder::read(self.texts.path())?;
            for entry in &ledger.files {
                let path = aside.join(&entry.path);
                atomic::create_parent(&path)?;
                let file = self.file(&entry.path)?;
                let found = setaccio_base::run_lock::FileHash::of(file.path(), &entry.path, &|| progress.cancelled())?;
                if (found.bytes, &found.sha256) != (entry.bytes, &entry.sha256) {
                    return Err(Error::damaged(
                        join(&self.address, &entry.path),
                        "is not what the ledger says: build it again",
                    ));
                }
                fs::copy(file.path(), &path).map_err(Error::io("write", &path))?;
                progress.advance(1, "");
            }
            for name in [RECIPE_LOCK, WATERFALL, CARD, LEDGER].into_iter().filter(|name| self.there.contains_key(*name))
            {
                fs::copy(self.texts.path().join(name), aside.join(name))
                    .map_err(Error::io("write", aside.join(name)))?;
            }
            Ok(ledger)
        })
    }
}

impl Shelf for StoredBuild {
    fn texts(&self) -> &Path {
        self.texts.path()
    }

    fn unknown(&self, ledger: &Ledger) -> Result<Vec<String>> {
        let data = |name: &&String| [DATA, REJECTS].iter().any(|folder| name.starts_with(&format!("{folder}/")));
        Ok(self
            .there
            .keys()
            .filter(data)
            .filter(|name| ledger.files.iter().all(|file| file.path != **name))
            .cloned()
            .collect())
    }

    fn foreign(&self) -> Result<Vec<String>> {
        let first = |name: &String| name.split('/').next().unwrap_or_default().to_owned();
        let mut names: Vec<String> =
            self.there.keys().map(first).filter(|name| !PUBLISHED.contains(&name.as_str())).collect();
        names.dedup();
        Ok(names)
    }

    fn file(&self, path: &str) -> setaccio_base::Result<Held> {
        let address = join(&self.address, path);
        let missing = || setaccio_base::Error::damaged(&address, "is not there");
        let object = self.there.get(path).ok_or_else(missing)?;
        let mut copy =
            tempfile::NamedTempFile::new().map_err(setaccio_base::Error::io("write to", std::env::temp_dir()))?;
        let mut reader = ObjectReader::new(std::sync::Arc::new(object.clone()));
        std::io::copy(&mut reader, copy.as_file_mut()).map_err(|error| match StoreError::of(&error) {
            Some(said) => said.clone().into(),
            None => setaccio_base::Error::io("write to", PathBuf::from(copy_name(&copy)))(error),
        })?;
        Ok(Held::Copy(copy.into_temp_path()))
    }
}

fn copy_name(copy: &tempfile::NamedTempFile) -> String {
    copy.path().display().to_string()
}
