//! Finding out whether a checkpoint is whole. What is wrong is said in words: it becomes a warning.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use setaccio_base::sha256::hex_digest;

use super::{
    state::State,
    writing::{FORMAT, MANIFEST, Manifest, STATE, TENSORS},
};
use crate::{
    formats::safetensors::Safetensors,
    report::lock::{self, FileHash},
};

/// A checkpoint of which every byte is what was written.
pub struct CheckpointFiles {
    pub path: PathBuf,
    pub tensors: Safetensors,
    pub state: State,
    /// Text of the lock it was made under.
    pub lock: String,
}

type CheckResult<T> = std::result::Result<T, String>;

/// Check sizes only, without reading the tensors.
pub fn glance(path: &Path, step: u64) -> CheckResult<Manifest> {
    let manifest: Manifest = parse(MANIFEST, &bytes(path, MANIFEST)?)?;
    if manifest.format != FORMAT {
        return Err(format!("{MANIFEST} is of format {}, not {FORMAT}", manifest.format));
    }
    if manifest.step != step || manifest.digest().ok().as_ref() != Some(&manifest.digest) {
        return Err(format!("{MANIFEST} is not what was written"));
    }
    for file in &manifest.files {
        let found = fs::metadata(path.join(&file.file)).map_err(|e| format!("{}: {e}", file.file))?.len();
        if found != file.bytes {
            return Err(format!("{} has {found} bytes of {}", file.file, file.bytes));
        }
    }
    Ok(manifest)
}

/// Read everything and check every hash.
pub fn read(path: &Path, step: u64) -> CheckResult<CheckpointFiles> {
    let manifest = glance(path, step)?;
    let hash_of = |name: &str| {
        let expected = manifest.files.iter().find(|f| f.file == name);
        expected.map(|file| file.sha256.clone()).ok_or_else(|| format!("{MANIFEST} names no {name}"))
    };
    let checked = |name: &str| {
        let found = bytes(path, name)?;
        if hex_digest(&found) == hash_of(name)? { Ok(found) } else { Err(format!("{name} is not what was written")) }
    };
    let lock = String::from_utf8(checked(lock::NAME)?).map_err(|e| format!("{}: {e}", lock::NAME))?;
    let state = parse(STATE, &checked(STATE)?)?;
    // What is trained may fill the memory once already: it is hashed without being held, and read tensor by tensor.
    let values = path.join(TENSORS);
    let found = FileHash::of(&values, TENSORS, &|| false).map_err(|e| e.to_string())?;
    if found.sha256 != hash_of(TENSORS)? {
        return Err(format!("{TENSORS} is not what was written"));
    }
    let tensors = Safetensors::open(&values).map_err(|e| e.to_string())?;
    Ok(CheckpointFiles { path: path.to_owned(), tensors, state, lock })
}

fn bytes(folder: &Path, name: &str) -> CheckResult<Vec<u8>> {
    fs::read(folder.join(name)).map_err(|e| format!("{name}: {e}"))
}

fn parse<T: DeserializeOwned>(name: &str, text: &[u8]) -> CheckResult<T> {
    toml::from_slice(text).map_err(|e| format!("{name} cannot be understood: {}", e.message()))
}
