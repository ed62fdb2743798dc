//! Where a model is put: in a place that is free, or whose model may be replaced. It is there whole or not at all.

use std::{fs, io::Read, path::Path};

use setaccio_base::{
    atomic::{self, AtomicFile},
    gguf_header::MAGIC,
};

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
        let fill = |aside: &Path| fill(aside).map_err(|error| error.in_place(aside, self.path));
        atomic::folder(self.path, || self.check_folder(), fill)
    }

    /// Let `fill` write what becomes the file.
    ///
    /// # Errors
    /// As [`Self::check_file`], or what `fill` says; the place is as it was then.
    pub(crate) fn file<T>(self, fill: impl FnOnce(&mut AtomicFile) -> Result<T>) -> Result<T> {
        let fill = |file: &mut AtomicFile| {
            let aside = file.aside().to_owned();
            fill(file).map_err(|error| error.in_place(&aside, self.path))
        };
        atomic::file(self.path, || self.check_file(), fill)
    }

    /// Check that it may become a model's folder; worth asking before hours of work.
    ///
    /// # Errors
    /// It is a file, or a folder with something in it that may not be replaced.
    pub(crate) fn check_folder(self) -> Result<()> {
        let Self { path, force } = self;
        // What a killed command left is cleared even where this one has nothing to do.
        atomic::sweep(atomic::parent(path))?;
        if path.is_file() {
            return Err(Error::model(path, "is a file; name a folder that is not there yet"));
        }
        if !atomic::exists(path) {
            return Ok(());
        }
        if !path.is_dir() {
            return Err(Error::model(path, "is there and is no folder; name one that is not there yet"));
        }
        let mut entries = fs::read_dir(path).map_err(Error::io("list", path))?;
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
        atomic::sweep(atomic::parent(path))?;
        if path.is_dir() {
            return Err(Error::model(
                path,
                "is a folder; name the file to write, for instance with `.gguf` at its end",
            ));
        }
        if !atomic::exists(path) {
            return Ok(());
        }
        if !force {
            return Err(Error::model(path, "is there already; name another file, or replace it with --force"));
        }
        if !path.is_file() || !is_gguf(path)? {
            return Err(Error::model(
                path,
                "is there and is no GGUF file, which --force would replace; name another file",
            ));
        }
        Ok(())
    }
}

/// Whether a file begins as GGUF does.
fn is_gguf(path: &Path) -> Result<bool> {
    let mut magic = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(4).read_to_end(&mut magic));
    read.map_err(Error::io("read", path))?;
    Ok(magic == MAGIC)
}

/// Check that a model is not written over while it is read.
///
/// # Errors
/// `place` is `source`.
pub(crate) fn check_apart(source: &Path, place: &Path) -> Result<()> {
    match (source.canonicalize(), place.canonicalize()) {
        (Ok(from), Ok(to)) if from == to => {
            Err(Error::model(place, "would be written over while it is read; name another place"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

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
    fn what_is_no_folder_never_becomes_one() {
        let dir = tempfile::tempdir().unwrap();
        let [link, pipe] = ["link", "pipe"].map(|name| dir.path().join(name));
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [&link, &pipe, Path::new("/dev/null")] {
            let place = Destination { path, force: true };
            assert!(place.check_folder().unwrap_err().to_string().contains("is no folder"), "{}", path.display());
            assert!(place.check_file().unwrap_err().to_string().contains("is no GGUF file"), "{}", path.display());
        }
    }

    #[test]
    fn a_file_is_replaced_only_if_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.gguf");
        // As one leaves it that is killed after its file has its name.
        fs::write(dir.path().join(".writing-m.gguf.lock"), "").unwrap();
        let [keep, force] = [false, true].map(|force| Destination { path: &path, force });
        let write = |file: &mut AtomicFile| file.write_all(b"GGUF").map_err(Error::io("write", "m.gguf"));
        keep.file(write).unwrap();
        let error = keep.file(|_| Ok(())).unwrap_err().to_string();
        assert!(error.contains("is there already"), "{error}");
        fs::write(dir.path().join(".writing-m.gguf.lock"), "").unwrap();
        keep.check_file().unwrap_err();
        assert!(!dir.path().join(".writing-m.gguf.lock").exists(), "it is cleared though nothing is written");
        force.file(write).unwrap();
        // Weights of another kind may be those that are read.
        let weights = dir.path().join("model.safetensors");
        fs::write(&weights, "12345678{}").unwrap();
        let weights = Destination { path: &weights, force: true };
        assert!(weights.file(write).unwrap_err().to_string().contains("is no GGUF file"));
        let folder = Destination { path: dir.path(), force: true };
        assert!(folder.file(|_| Ok(())).unwrap_err().to_string().contains("is a folder"));
    }
}
