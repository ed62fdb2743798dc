//! `manifest.json`: the hash of every file that a run or a chain left in its folder, sealed. It is written before the lock that
//! says that the work is finished.

use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    path::{Component, Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    atomic,
    error::{Error, Result},
    fault::Fault,
    run_lock::FileHash,
    seal,
    sha256::hex_digest,
};

/// Name of the file.
pub const NAME: &str = "manifest.json";

/// Version of the format.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    /// Version of this format.
    format: u32,
    /// SHA-256 of this file with 64 zeros here, hex.
    digest: String,
    /// Every file, by its path below the folder.
    files: Vec<FileHash>,
}

/// What is said of a file that is not what its manifest says.
const CHANGED: &str = "was changed after it was written; `setaccio verify` lists all that was changed";

/// A folder of which each file is as the manifest says, or is not read. Without a manifest, as of a run that goes on, it is read as it is.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// The folder.
    pub folder: PathBuf,
    /// The files that the manifest names; `None`: there is no manifest.
    pub files: Option<Vec<FileHash>>,
}

impl Sealed {
    /// What lies in `folder`.
    ///
    /// # Errors
    /// Its manifest cannot be read, or is not as it was written.
    pub fn open(folder: &Path) -> Result<Self> {
        let changed = || Error::damaged(folder.join(NAME), CHANGED);
        let files = text(folder)?.map(|text| named(&text).ok_or_else(changed)).transpose()?;
        Ok(Self { folder: folder.to_owned(), files })
    }

    /// Whether the manifest names a file.
    pub fn knows(&self, name: &str) -> bool {
        self.files.iter().flatten().any(|file| file.file == name)
    }

    /// A file, which is what the manifest says of it, if there is one.
    ///
    /// # Errors
    /// It cannot be read, or is not as it was written.
    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.folder.join(name);
        let bytes = match fs::read(&path) {
            // What the manifest names was there.
            Err(error) if error.kind() == ErrorKind::NotFound && self.knows(name) => {
                return Err(Error::damaged(path, CHANGED));
            }
            bytes => bytes.map_err(Error::io("read", &path))?,
        };
        let is = |file: &FileHash| file.file == name && file.sha256 == hex_digest(&bytes);
        match &self.files {
            Some(files) if !files.iter().any(is) => Err(Error::damaged(path, CHANGED)),
            _ => Ok(bytes),
        }
    }

    /// Hold all that the manifest names in the folder `part` against it.
    ///
    /// # Errors
    /// A file cannot be read, or is not as it was written.
    pub fn check(&self, part: &str) -> Result<()> {
        let mut files = self.files.iter().flatten().filter(|file| Path::new(&file.file).starts_with(part));
        files.try_for_each(|file| self.read(&file.file).map(drop))
    }
}

/// What was checked and found.
#[derive(Debug, Default)]
pub struct Checked {
    /// The files that the manifest names.
    pub files: BTreeSet<String>,
    /// What is wrong.
    pub faults: Vec<Fault>,
}

/// Write that of `folder`: of its files `names`, and of those that are `given`, which are not there yet.
///
/// # Errors
/// A file cannot be read, or the manifest not be written.
pub fn write(folder: &Path, names: &[String], given: Vec<FileHash>) -> Result<()> {
    let mut files = given;
    for name in names {
        files.push(FileHash::of(&folder.join(name), name, &|| false)?);
    }
    files.sort_by(|a, b| a.file.cmp(&b.file));
    files.dedup_by(|a, b| a.file == b.file);
    let manifest = Manifest { format: FORMAT, digest: seal::BLANK.to_owned(), files };
    let json = serde_json::to_string_pretty(&manifest).map_err(|e| Error::damaged(NAME, e.to_string()))?;
    atomic::write(&folder.join(NAME), seal::seal(&(json + "\n")).0.as_bytes())
}

/// The files that the manifest of `folder` names, if it has one that is as it was written.
///
/// # Errors
/// It cannot be read.
pub fn files(folder: &Path) -> Result<Vec<FileHash>> {
    Ok(text(folder)?.and_then(|text| named(&text)).unwrap_or_default())
}

/// The files that a manifest of this text names, if it is as it was written.
fn named(text: &str) -> Option<Vec<FileHash>> {
    let manifest: Manifest = serde_json::from_str(text).ok()?;
    seal::holds(text, &manifest.digest).then_some(manifest.files)
}

fn text(folder: &Path) -> Result<Option<String>> {
    let path = folder.join(NAME);
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        text => text.map(Some).map_err(Error::io("read", &path)),
    }
}

/// Hold the files of `folder` against its manifest; `None` if it has none, as folders of before.
///
/// # Errors
/// It cannot be read, or is no manifest; `cancelled` said so.
pub fn check(folder: &Path, cancelled: &dyn Fn() -> bool) -> Result<Option<Checked>> {
    let Some(text) = text(folder)? else { return Ok(None) };
    let manifest: Manifest =
        serde_json::from_str(&text).map_err(|e| Error::damaged(folder.join(NAME), format!("is no manifest: {e}")))?;
    let mut checked = Checked::default();
    if manifest.format != FORMAT || !seal::holds(&text, &manifest.digest) {
        checked.faults.push(Fault::of(NAME, "it was changed after it was written"));
    }
    for entry in manifest.files {
        let below = Path::new(&entry.file).components().all(|part| matches!(part, Component::Normal(_)));
        if !below {
            checked.faults.push(Fault::of(NAME, format!("it names {}, which is no file of this folder", entry.file)));
            continue;
        }
        match FileHash::of(&folder.join(&entry.file), &entry.file, cancelled) {
            Ok(found) if found == entry => {}
            Ok(_) => checked.faults.push(Fault::of(&entry.file, "its bytes are not those written")),
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Err(error) => checked.faults.push(Fault::of(&entry.file, error.to_string())),
        }
        checked.files.insert(entry.file);
    }
    Ok(Some(checked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bit_of_a_folder_changes_unseen() {
        let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        let put = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap_or_else(|e| panic!("{e}"));
        fs::create_dir(dir.path().join("adapter")).unwrap_or_else(|e| panic!("{e}"));
        put("adapter/a", b"weights");
        put("card", b"# A card\n");
        let lock = FileHash { file: "lock".into(), bytes: 4, sha256: crate::sha256::hex_digest(b"lock") };
        write(dir.path(), &["adapter/a".into(), "card".into()], vec![lock]).unwrap_or_else(|e| panic!("{e}"));
        let faults = || check(dir.path(), &|| false).map(|checked| checked.map_or(0, |checked| checked.faults.len()));
        assert!(faults().is_ok_and(|n| n == 1), "the lock is not there yet");
        put("lock", b"lock");
        assert!(faults().is_ok_and(|n| n == 0));
        for name in ["adapter/a", "card", "lock", NAME] {
            let whole = fs::read(dir.path().join(name)).unwrap_or_else(|e| panic!("{e}"));
            for bit in 0..whole.len() * 8 {
                let mut flipped = whole.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                put(name, &flipped);
                assert!(!faults().is_ok_and(|n| n == 0), "{name}, bit {bit}");
            }
            put(name, &whole);
        }
        fs::remove_file(dir.path().join("card")).unwrap_or_else(|e| panic!("{e}"));
        assert!(faults().is_ok_and(|n| n == 1));
    }

    #[test]
    fn what_is_not_as_it_was_written_is_not_read() {
        let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        let put = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap_or_else(|e| panic!("{e}"));
        let open = || Sealed::open(dir.path());
        let read = |name: &str| open().and_then(|sealed| sealed.read(name)).map_err(|e| e.to_string());
        let changed = |read: std::result::Result<Vec<u8>, String>| read.is_err_and(|said| said.contains(CHANGED));
        fs::create_dir(dir.path().join("eval")).unwrap_or_else(|e| panic!("{e}"));
        put("metrics", b"{}\n");
        put("eval/results", b"1");
        // Of what goes on nothing is known yet.
        assert_eq!(read("metrics"), Ok(b"{}\n".to_vec()));
        write(dir.path(), &["metrics".into(), "eval/results".into()], Vec::new()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(read("metrics"), Ok(b"{}\n".to_vec()));
        for bytes in [&b"{}"[..], b""] {
            put("metrics", bytes);
            assert!(changed(read("metrics")));
        }
        fs::remove_file(dir.path().join("metrics")).unwrap_or_else(|e| panic!("{e}"));
        assert!(changed(read("metrics")));
        put("other", b"x");
        assert!(changed(read("other")), "nothing is said of it");
        assert!(!changed(read("nowhere")));
        let check = || open().and_then(|sealed| sealed.check("eval"));
        assert!(check().is_ok());
        put("eval/results", b"2");
        assert!(check().is_err());
        let manifest = fs::read_to_string(dir.path().join(NAME)).unwrap_or_else(|e| panic!("{e}"));
        put(NAME, manifest.replace("metrics", "metrica").as_bytes());
        assert!(open().is_err());
    }
}
