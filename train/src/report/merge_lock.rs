//! `merge.lock.toml`: what a merged model was made from, and its weights. The same merge gives the same bytes.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};
use setaccio_base::{atomic, run_lock::FileHash};

use crate::error::{Error, Result};

/// Name of the file.
pub const NAME: &str = "merge.lock.toml";

/// A merge's inputs and outputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MergeLock {
    /// Program and version of the arithmetic.
    pub engine: String,
    /// Type of the merged weights.
    pub dtype: String,
    /// What of the base was added to: `stored` or `nf4`.
    pub base_precision: String,
    /// Every file of the base; of a model that was trained whole, what its run says of it.
    #[serde(default)]
    pub base: Vec<FileHash>,
    /// The files of the adapter, or those of the model that was trained whole.
    pub adapter: Vec<FileHash>,
    /// The weights that were written.
    pub made: Vec<FileHash>,
}

impl MergeLock {
    /// Read that of the model in `folder`; none if it has none.
    ///
    /// # Errors
    /// It cannot be read, or is of another version.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(NAME);
        if !path.is_file() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let read = toml::from_str(&text).map_err(|e| {
            Error::damaged(&path, format!("is not of this version of setaccio ({}): merge again", e.message()))
        });
        read.map(Some)
    }

    /// Write it into a model's folder.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let text = toml::to_string(self).map_err(|e| Error::Other(format!("{NAME}: {e}")))?;
        let text = format!("# Written by `setaccio merge`. Do not edit.\n{text}");
        Ok(atomic::write(&folder.join(NAME), text.as_bytes())?)
    }

    /// Whether both were made from the same: the files that went in, and how.
    pub fn is_of(&self, (dtype, base_precision): (&str, &str), base: &[FileHash], adapter: &[FileHash]) -> bool {
        let how = self.dtype == dtype && self.base_precision == base_precision;
        how && self.base == base && self.adapter == adapter
    }

    /// Whether the weights in `folder` are those that were written.
    ///
    /// # Errors
    /// They cannot be read, or it was stopped.
    pub fn whole(&self, folder: &Path, cancelled: &dyn Fn() -> bool) -> Result<bool> {
        for file in &self.made {
            let path = folder.join(&file.file);
            if !path.is_file() || FileHash::of(&path, &file.file, cancelled)? != *file {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
