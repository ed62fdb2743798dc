//! The hidden folder in every folder that this program writes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    atomic,
    error::{Error, Result},
};

/// Its name.
pub const HIDDEN: &str = ".setaccio";

/// Make the hidden folder of `root`, which git ignores: what is in it is nobody's to commit or push.
pub fn hidden_folder(root: &Path) -> Result<PathBuf> {
    let hidden = root.join(HIDDEN);
    fs::create_dir_all(&hidden).map_err(Error::io("create", &hidden))?;
    let ignore = hidden.join(".gitignore");
    if !ignore.exists() {
        atomic::write(&ignore, b"*\n")?;
    }
    Ok(hidden)
}
