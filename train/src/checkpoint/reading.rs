//! Finding out whether a checkpoint is whole. What is wrong is said in words: it becomes a warning.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use candle_core::{Device, Tensor, safetensors::load_buffer};
use serde::de::DeserializeOwned;
use setaccio_filters::hash::sha256;

use super::{
    State,
    writing::{FORMAT, MANIFEST, Manifest, STATE, TENSORS},
};
use crate::report::lock;

/// A checkpoint of which every byte is what was written.
pub struct Whole {
    pub path: PathBuf,
    pub tensors: BTreeMap<String, Tensor>,
    pub state: State,
    /// Text of the lock it was made under.
    pub lock: String,
}

type Checked<T> = std::result::Result<T, String>;

/// Check sizes only, without reading the tensors.
pub fn glance(path: &Path, step: u64) -> Checked<Manifest> {
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
pub fn read(path: &Path, step: u64) -> Checked<Whole> {
    let manifest = glance(path, step)?;
    let checked = |name: &str| {
        let expected = manifest.files.iter().find(|f| f.file == name);
        let expected = expected.ok_or_else(|| format!("{MANIFEST} names no {name}"))?;
        let found = bytes(path, name)?;
        if sha256(&found) == expected.sha256 { Ok(found) } else { Err(format!("{name} is not what was written")) }
    };
    let lock = String::from_utf8(checked(lock::NAME)?).map_err(|e| format!("{}: {e}", lock::NAME))?;
    let state = parse(STATE, &checked(STATE)?)?;
    let tensors = load_buffer(&checked(TENSORS)?, &Device::Cpu).map_err(|e| format!("{TENSORS}: {e}"))?;
    let tensors = tensors.into_iter().collect();
    Ok(Whole { path: path.to_owned(), tensors, state, lock })
}

fn bytes(folder: &Path, name: &str) -> Checked<Vec<u8>> {
    fs::read(folder.join(name)).map_err(|e| format!("{name}: {e}"))
}

fn parse<T: DeserializeOwned>(name: &str, text: &[u8]) -> Checked<T> {
    toml::from_slice(text).map_err(|e| format!("{name} cannot be understood: {}", e.message()))
}
