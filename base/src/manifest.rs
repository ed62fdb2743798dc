//! `manifest.json`: the hash of every file that a run or a chain left in its folder, sealed. It is written before the lock that
//! says that the work is finished.

use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    path::{Component, Path},
};

use serde::{Deserialize, Serialize};

use crate::{
    atomic,
    error::{Error, Result},
    fault::Fault,
    run_lock::FileHash,
    seal,
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
    let Some(text) = text(folder)? else { return Ok(Vec::new()) };
    let manifest = serde_json::from_str::<Manifest>(&text).ok().filter(|manifest| seal::holds(&text, &manifest.digest));
    Ok(manifest.map_or_else(Vec::new, |manifest| manifest.files))
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
}
