//! Which commit a branch stood for when a build first asked: the same build in the same folder, on this
//! machine or another, keeps to it.

use std::{collections::BTreeMap, path::Path};

use setaccio_base::{atomic, hidden::HIDDEN};
use setaccio_dataset::{folder::RECIPE_LOCK, lock::RecipeLock};

use crate::error::{Error, Result};

/// Commits by `repository@revision`.
pub type Pins = BTreeMap<String, String>;

/// The key of a repository at a revision.
pub fn key(repo: &str, revision: &str) -> String {
    format!("{repo}@{revision}")
}

/// The commits that a build in `out` has settled on: one that is under way, or else the one that is there.
pub fn of(out: &Path) -> Pins {
    let work = std::fs::read(path(&out.join(HIDDEN).join("work")));
    if let Some(pins) = work.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
        return pins;
    }
    let lock = std::fs::read_to_string(out.join(RECIPE_LOCK)).ok();
    let lock: Option<RecipeLock> = lock.and_then(|text| toml::from_str(&text).ok());
    lock.as_ref().map(of_lock).unwrap_or_default()
}

/// The commits that a lock names.
pub fn of_lock(lock: &RecipeLock) -> Pins {
    lock.input
        .iter()
        .chain(&lock.evaluation)
        .filter_map(|i| Some((key(&i.repo, &i.revision), i.commit.clone()?)))
        .collect()
}

/// Write down what a plan has settled on, for slices that start later.
pub fn write(pins: &Pins, work: &Path) -> Result<()> {
    if pins.is_empty() {
        return Ok(());
    }
    let json = serde_json::to_vec_pretty(pins).map_err(Error::encode("pins.json"))?;
    Ok(atomic::write(&path(work), &json)?)
}

fn path(work: &Path) -> std::path::PathBuf {
    work.join("pins.json")
}
