//! What a run of `setaccio train` says about its base and about what it made.

use std::path::{Path, PathBuf};

use crate::{
    artifacts::merge::Precision,
    error::{Error, Result},
    formats::model_files::ModelFiles,
    recipe::{Method, Quantization, TINY_FOLDER},
    report::lock::{self, FileHash, RunLock},
};

/// A finished run.
#[derive(Clone, Debug)]
pub struct FinishedRun {
    /// What its recipe is called.
    pub name: String,
    /// Where its merged model is, unless somebody names another place.
    pub merged: PathBuf,
    /// Where what is exported of it is.
    pub exports: PathBuf,
    /// Its base model.
    pub base: PathBuf,
    /// Its adapter, or the model that was trained whole.
    pub made: PathBuf,
    /// Which of the two.
    pub method: Method,
    /// How training held the base.
    pub saw: Precision,
    /// What it was trained upon, file by file.
    hashes: Vec<FileHash>,
}

impl FinishedRun {
    /// Read the lock of the run in `folder`, and check that what it made is as the run left it.
    ///
    /// # Errors
    /// There is no run, it is not finished, or what it made was changed since.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(lock::NAME);
        if !path.is_file() {
            let why = format!("is not a run: `setaccio train` leaves {} in one", lock::NAME);
            return Err(Error::model(folder, format!("{why}; or name --model and --adapter")));
        }
        let lock = RunLock::read(&path)?;
        let method = lock.recipe.method;
        let made = folder.join(method.folder());
        if lock.made.is_empty() {
            let message = "this run is not finished: go on with it by `setaccio train ... --resume`";
            return Err(Error::damaged(path, message));
        }
        for file in &lock.made {
            let path = made.join(&file.file);
            if FileHash::of(&path, &file.file, &|| false)? != *file {
                let message = "is not what the run wrote; train again with --force, or name an adapter with --adapter";
                return Err(Error::damaged(path, message));
            }
        }
        let model = &lock.recipe.model;
        let saw = match model.quantization {
            Quantization::None => Precision::Stored,
            Quantization::Nf4 => Precision::Nf4 { double_quant: model.double_quant },
        };
        let base = if model.is_tiny() { folder.join(TINY_FOLDER) } else { PathBuf::from(&model.path) };
        let [merged, exports] = ["merged", "export"].map(|name| folder.join(name));
        Ok(Self { name: lock.recipe.name, merged, exports, base, made, method, saw, hashes: lock.base })
    }

    /// Whether a folder holds a run, finished or not.
    pub fn is_in(folder: &Path) -> bool {
        folder.join(lock::NAME).is_file()
    }

    /// Check that `files` are those that it was trained upon. Reads all of them.
    ///
    /// # Errors
    /// They are not, reading fails, or it was stopped.
    pub fn same_base(&self, files: &ModelFiles, cancelled: &dyn Fn() -> bool) -> Result<()> {
        let found = files.hashes(cancelled).map_err(|e| match e {
            Error::Interrupted => Error::Stopped,
            other => other,
        })?;
        match lock::differing(&found, &self.hashes) {
            None => Ok(()),
            Some(name) => Err(Error::model(
                files.path(),
                format!(
                    "is not the base that the run was trained upon: {name} differs from what {} says; name that one \
                     with --model, or, if this is the same model in another format, add --same-base",
                    lock::NAME
                ),
            )),
        }
    }
}
