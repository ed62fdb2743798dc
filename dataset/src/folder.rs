//! The folder of a built data set: what it holds, under which names.

use std::path::Path;

use setaccio_base::{Error, Result};

use crate::{ledger::Ledger, lock::RecipeLock};

/// Folder of the shards.
pub const DATA: &str = "data";
/// Folder of the rows that were dropped.
pub const REJECTS: &str = "rejects";
/// The recipe as it was resolved.
pub const RECIPE_LOCK: &str = "recipe.lock.toml";
/// Picture of the rows kept and dropped.
pub const WATERFALL: &str = "waterfall.svg";
/// The dataset card.
pub const CARD: &str = "README.md";
/// Rows and bytes in and out of every stage.
pub const LEDGER: &str = "ledger.json";

/// Everything that a build publishes, in the order it is put in place; the ledger last, because it is
/// what says that a build is there.
pub const PUBLISHED: [&str; 6] = [DATA, REJECTS, RECIPE_LOCK, WATERFALL, CARD, LEDGER];

/// The ledger and the lock of a finished build.
///
/// # Errors
/// One is missing or not what a build writes.
pub fn read(out: &Path) -> Result<(Ledger, RecipeLock)> {
    let path = out.join(LEDGER);
    let damaged = |path: &Path, message: String| Error::Damaged { path: path.to_owned(), message };
    let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
    let ledger = serde_json::from_slice(&bytes).map_err(|e| damaged(&path, format!("is no ledger: {e}")))?;
    let path = out.join(RECIPE_LOCK);
    let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    let lock = toml::from_str(&text).map_err(|e| damaged(&path, format!("is no lock: {e}")))?;
    Ok((ledger, lock))
}
