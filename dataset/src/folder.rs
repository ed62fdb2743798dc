//! The folder of a built data set: what it holds, under which names.

use std::path::Path;

use setaccio_base::{Error, Result};

use crate::{ledger::Ledger, lock::RecipeLock};

pub use crate::names::*;

/// The ledger and the lock of a finished build.
///
/// # Errors
/// One is missing or not what a build writes.
pub fn read(out: &Path) -> Result<(Ledger, RecipeLock)> {
    let missing = |message: &str| Err(Error::Damaged { path: out.to_owned(), message: message.to_owned() });
    if !out.exists() {
        return missing("is not there: there is no such folder");
    }
    let path = out.join(LEDGER);
    if !path.exists() {
        return missing(
            "holds no build: there is no ledger.json in it; `setaccio build` writes to data/out/NAME, or where --out says",
        );
    }
    let damaged = |path: &Path, message: String| Error::Damaged { path: path.to_owned(), message };
    let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
    let ledger = serde_json::from_slice(&bytes).map_err(|e| damaged(&path, format!("is no ledger: {e}")))?;
    let path = out.join(RECIPE_LOCK);
    let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    let lock = toml::from_str(&text).map_err(|e| damaged(&path, format!("is no lock: {e}")))?;
    Ok((ledger, lock))
}
