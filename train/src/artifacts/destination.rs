//! Where a model is put: in a place that is free, or whose model may be replaced. It is there whole or not at all.

use std::{fs, path::Path};

use setaccio_base::atomic::{self, AtomicFile};

use crate::{
    error::{Error, Result},
    formats::model_files::CONFIG,
};

/// A place for a model.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'a> {
    /// A folder or a file.
    pub path: &'a Path,
    /// Whether the model that is there may be replaced.
    pub force: bool,
}

impl Destination<'_> {
    /// Let `fill` write what becomes the folder.
    ///
    /// # Errors
    /// As [`Self::check_folder`], or what `fill` says; the place is as it was then.
    pub(crate) fn folder<T>(self, fill: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
        atomic::folder(self.path, || self.check_folder(), fill)
    }

    /// Let `fill` write what becomes the file.
    ///
    /// # Errors
    /// As [`Self::check_file`], or what `fill` says; the place is as it was then.
    pub(crate) fn file<T>(self, fill: impl FnOnce(&mut AtomicFile) -> Result<T>) -> Result<T> {
        atomic::file(self.path, || self.check_file(), fill)
    }

    /// Check that it may become a model's folder; worth asking before hours of work.
    ///
    /// # Errors
    /// It is a file, or a folder with something in it that may not be replaced.
    pub(crate) fn check_folder(self) -> Result<()> {
        let Self { path, force } = self;
        if path.is_file() {
            return Err(Error::model(path, "is a file; name a folder that is not there yet"));
        }
        let Ok(mut entries) = fs::read_dir(path) else { return Ok(()) };
        if entries.next().is_none() {
            return Ok(());
        }
        let why = match (force, path.join(CONFIG).is_file()) {
            (true, true) => return Ok(()),
            (false, true) => "holds a model already; name another folder, or replace it with --force",
            (_, false) => "is not empty and holds no model; name a folder that is not there yet",
        };
        Err(Error::model(path, why))
    }

    /// Check that it may become a file.
    ///
    /// # Errors
    /// It is a folder, or there and may not be replaced.
    pub(crate) fn check_file(self) -> Result<()> {
        let Self { path, force } = self;
        if path.is_dir() {
            return Err(Error::model(
                path,
                "is a folder; name the file to write, for instance with `.gguf` at its end",
            ));
        }
        if path.exists() && !force {
            return Err(Error::model(path, "is there already; name another file, or replace it with --force"));
        }
        Ok(())
    }
}

/// Check that a model is not written over while it is read.
///
/// # Errors
/// `place` is `source`.
pub(crate) fn check_apart(source: &Path, place: &Path) -> Result<()> {
    match (source.canonicalize(), place.canonicalize()) {
        (Ok(from), Ok(to)) if from == to => {
            Err(Error::model(place, "would be written over while it is read; name another folder"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(folder: &Path, name: &str) -> Result<()> {
        fs::write(folder.join(name), name).map_err(Error::io("write", folder))
    }

    #[test]
    fn only_a_models_folder_is_replaced_and_only_if_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/merged");
        let [keep, force] = [false, true].map(|force| Destination { path: &path, force });
        keep.folder(|aside| put(aside, CONFIG)).unwrap();
        let error = keep.folder(|aside| put(aside, CONFIG)).unwrap_err().to_string();
        assert!(error.contains("holds a model already") && error.contains("--force"), "{error}");
        force.folder(|aside| put(aside, "new")).unwrap();
        assert!(path.join("new").exists() && !path.join(CONFIG).exists());
        let error = force.folder(|aside| put(aside, CONFIG)).unwrap_err().to_string();
        assert!(error.contains("holds no model"), "a home folder is not replaced: {error}");
    }

    #[test]
    fn a_file_is_replaced_only_if_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.gguf");
        let [keep, force] = [false, true].map(|force| Destination { path: &path, force });
        keep.file(|_| Ok(())).unwrap();
        let error = keep.file(|_| Ok(())).unwrap_err().to_string();
        assert!(error.contains("is there already"), "{error}");
        force.file(|_| Ok(())).unwrap();
        let folder = Destination { path: dir.path(), force: true };
        assert!(folder.file(|_| Ok(())).unwrap_err().to_string().contains("is a folder"));
    }
}
