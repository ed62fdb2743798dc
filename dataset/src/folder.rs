//! The folder of a built data set: what it holds, under which names.

use std::path::Path;

use setaccio_base::{Error, Result, objects::is_address, shell};

use crate::{ledger::Ledger, lock::RecipeLock, seal};

pub use crate::names::*;

/// The ledger and the lock of a finished build.
///
/// # Errors
/// One is missing, or not what a build wrote.
pub fn read(out: &Path) -> Result<(Ledger, RecipeLock)> {
    let (ledger, lock, changed) = read_any(out)?;
    match changed.first() {
        None => Ok((ledger, lock)),
        Some(name) => Err(Error::damaged(out.join(name), "was changed after the build; build the folder again")),
    }
}

/// What is said of a folder that is not there. What reads folders reads no addresses: a person is told how it comes here.
pub fn absent(out: &Path) -> Error {
    let address = out.to_str().filter(|name| is_address(name));
    let message = address.map_or_else(
        || "is not there: there is no such folder".to_owned(),
        |address| {
            let word = shell::word(address);
            format!("is in an object store, and this reads folders: `setaccio pull {word} --out DIR` brings the build here; then name DIR")
        },
    );
    Error::damaged(out, message)
}

/// The ledger and the lock of a build, and the names of those that are not as they were written.
///
/// # Errors
/// One is missing, or is no ledger or no lock.
pub fn read_any(out: &Path) -> Result<(Ledger, RecipeLock, Vec<&'static str>)> {
    if !out.exists() {
        return Err(absent(out));
    }
    let path = out.join(LEDGER);
    if !path.exists() {
        let message = "holds no build: there is no ledger.json in it; `setaccio build` writes to data/out/NAME, or where \
                       --out says";
        return Err(Error::damaged(out, message));
    }
    let [ledger_text, lock_text] = [LEDGER, RECIPE_LOCK].map(|name| {
        let path = out.join(name);
        std::fs::read_to_string(&path).map_err(Error::io("read", &path))
    });
    let (ledger_text, lock_text) = (ledger_text?, lock_text?);
    let ledger = serde_json::from_str(&ledger_text).map_err(|e| Error::damaged(path, format!("is no ledger: {e}")))?;
    let lock =
        toml::from_str(&lock_text).map_err(|e| Error::damaged(out.join(RECIPE_LOCK), format!("is no lock: {e}")))?;
    let changed = seal::changed(&ledger, &ledger_text, &lock_text);
    Ok((ledger, lock, changed))
}
