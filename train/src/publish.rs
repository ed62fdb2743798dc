//! Models that are put in place whole or not at all: written beside the place under a hidden name, flushed, renamed.
//! What an attempt that was killed left behind is cleared by the next one.

use std::{
    fs::{self, File, TryLockError},
    io::BufWriter,
    path::{Path, PathBuf},
};

use setaccio_base::atomic::{remove, sync_dir};

use crate::{
    error::{Error, Result},
    model::files::CONFIG,
};

/// Let `write` fill a folder that becomes `place`. If `place` is a model's folder already, `force` replaces it.
///
/// # Errors
/// `place` is taken, or what `write` says, or the file system refuses; `place` is as it was then.
pub(crate) fn folder<T>(place: &Path, force: bool, write: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    vacant_folder(place, force)?;
    let (parent, aside) = beside(place)?;
    alone(&aside, place)?;
    remove(&aside)?;
    fs::create_dir(&aside).map_err(Error::io("create", &aside))?;
    let Some(_held) = alone(&aside, place)? else { return Err(taken(place)) };
    let written = cleared(&aside, write(&aside))?;
    sync_dir(&aside)?;
    remove(place)?;
    fs::rename(&aside, place).map_err(Error::io("put in place", place))?;
    sync_dir(&parent)?;
    Ok(written)
}

/// Let `write` fill a file that becomes `place`; `force` replaces the one that is there.
///
/// # Errors
/// `place` is taken, or what `write` says, or the file system refuses; `place` is as it was then.
pub(crate) fn file<T>(place: &Path, force: bool, write: impl FnOnce(&mut BufWriter<File>) -> Result<T>) -> Result<T> {
    vacant_file(place, force)?;
    let (parent, aside) = beside(place)?;
    let created = File::options().create(true).truncate(false).write(true).open(&aside);
    let created = created.map_err(Error::io("create", &aside))?;
    let Some(_held) = alone(&aside, place)? else { return Err(taken(place)) };
    let whole = || {
        created.set_len(0).map_err(Error::io("create", &aside))?;
        let mut out = BufWriter::with_capacity(1 << 20, created);
        let written = write(&mut out)?;
        let out = out.into_inner().map_err(|e| Error::io("write", place)(e.into_error()))?;
        out.sync_all().map_err(Error::io("flush", place))?;
        Ok(written)
    };
    let written = cleared(&aside, whole())?;
    fs::rename(&aside, place).map_err(Error::io("put in place", place))?;
    sync_dir(&parent)?;
    Ok(written)
}

/// Check that a model is not written over while it is read.
///
/// # Errors
/// `place` is `source`.
pub(crate) fn apart(source: &Path, place: &Path) -> Result<()> {
    match (source.canonicalize(), place.canonicalize()) {
        (Ok(from), Ok(to)) if from == to => {
            Err(Error::model(place, "would be written over while it is read; name another folder"))
        }
        _ => Ok(()),
    }
}

/// Check that `place` may become a model's folder; worth asking before hours of work.
///
/// # Errors
/// It is a file, or a folder with something in it that `force` may not replace.
pub(crate) fn vacant_folder(place: &Path, force: bool) -> Result<()> {
    if place.is_file() {
        return Err(Error::model(place, "is a file; name a folder that is not there yet"));
    }
    let Ok(mut entries) = fs::read_dir(place) else { return Ok(()) };
    if entries.next().is_none() {
        return Ok(());
    }
    match (force, place.join(CONFIG).is_file()) {
        (true, true) => Ok(()),
        (false, true) => {
            Err(Error::model(place, "holds a model already; name another folder, or replace it with --force"))
        }
        (_, false) => Err(Error::model(place, "is not empty and holds no model; name a folder that is not there yet")),
    }
}

/// Check that `place` may become a file.
///
/// # Errors
/// It is a folder, or there and not to be replaced.
pub(crate) fn vacant_file(place: &Path, force: bool) -> Result<()> {
    if place.is_dir() {
        return Err(Error::model(place, "is a folder; name the file to write, for instance with `.gguf` at its end"));
    }
    if place.exists() && !force {
        return Err(Error::model(place, "is there already; name another file, or replace it with --force"));
    }
    Ok(())
}

/// The folder above `place`, made if it is not there, and the hidden name beside it.
fn beside(place: &Path) -> Result<(PathBuf, PathBuf)> {
    let name = place.file_name().ok_or_else(|| Error::model(place, "cannot be written to; name a folder or file"))?;
    let parent = place.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
    fs::create_dir_all(&parent).map_err(Error::io("create", &parent))?;
    let aside = parent.join(format!(".writing-{}", name.to_string_lossy()));
    Ok((parent, aside))
}

/// Hold what is written `aside`, if it is there, until the file that is returned is dropped.
///
/// # Errors
/// Another process holds it.
fn alone(aside: &Path, place: &Path) -> Result<Option<File>> {
    let Ok(file) = File::open(aside) else { return Ok(None) };
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(taken(place)),
        // A file system without locks has none to respect.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(Some(file)),
    }
}

fn taken(place: &Path) -> Error {
    Error::model(place, "is being written by another setaccio: wait for it to end, or name another place")
}

/// Leave nothing behind of what failed.
fn cleared<T>(aside: &Path, written: Result<T>) -> Result<T> {
    if written.is_err() {
        // The error counts; whatever cannot be removed now is removed by the next attempt.
        let _ = remove(aside);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn put(folder: &Path, name: &str) -> Result<()> {
        fs::write(folder.join(name), name).map_err(Error::io("write", folder))
    }

    #[test]
    fn a_folder_is_there_whole_or_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("a/merged");
        let full = |aside: &Path| -> Result<()> {
            put(aside, "torn")?;
            Err(Error::Other("full".into()))
        };
        assert!(folder(&place, false, full).is_err());
        assert_eq!(names(&dir.path().join("a")), [""; 0]);
        // As a crash leaves it.
        fs::create_dir_all(dir.path().join("a/.writing-merged/x")).unwrap();
        folder(&place, false, |aside| put(aside, CONFIG)).unwrap();
        // Two at a time: the second leaves alone what the first writes.
        let twice = dir.path().join("twice");
        folder(&twice, false, |aside| {
            let error = folder(&twice, false, |_| Ok(())).unwrap_err().to_string();
            assert!(error.contains("by another setaccio"), "{error}");
            put(aside, CONFIG)
        })
        .unwrap();
        let error = folder(&place, false, |aside| put(aside, CONFIG)).unwrap_err().to_string();
        assert!(error.contains("holds a model already") && error.contains("--force"), "{error}");
        assert!(folder(&place, true, full).is_err());
        assert_eq!(names(&place), [CONFIG]);
        folder(&place, true, |aside| put(aside, "new")).unwrap();
        assert_eq!(names(&place), ["new"]);
        let error = folder(&place, true, |aside| put(aside, CONFIG)).unwrap_err().to_string();
        assert!(error.contains("holds no model"), "a home folder is not replaced: {error}");
        assert_eq!(names(&dir.path().join("a")), ["merged"]);
    }

    #[test]
    fn a_file_is_there_whole_or_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("m.gguf");
        let write = |text: &'static str, good: bool| {
            move |out: &mut BufWriter<File>| {
                out.write_all(text.as_bytes()).map_err(Error::io("write", "m.gguf"))?;
                if good { Ok(()) } else { Err(Error::Stopped) }
            }
        };
        assert!(file(&place, false, write("torn", false)).is_err());
        assert_eq!(names(dir.path()), [""; 0]);
        file(&place, false, write("one", true)).unwrap();
        file(&dir.path().join("twice"), false, |out| {
            let error = file(&dir.path().join("twice"), true, write("two", true)).unwrap_err().to_string();
            assert!(error.contains("by another setaccio"), "{error}");
            write("one", true)(out)
        })
        .unwrap();
        fs::remove_file(dir.path().join("twice")).unwrap();
        let error = file(&place, false, write("two", true)).unwrap_err().to_string();
        assert!(error.contains("is there already"), "{error}");
        assert!(file(&place, true, write("torn", false)).is_err());
        assert_eq!(fs::read_to_string(&place).unwrap(), "one");
        file(&place, true, write("two", true)).unwrap();
        assert_eq!(fs::read_to_string(&place).unwrap(), "two");
        assert_eq!(names(dir.path()), ["m.gguf"]);
        assert!(file(dir.path(), true, write("x", true)).unwrap_err().to_string().contains("is a folder"));
    }
}
