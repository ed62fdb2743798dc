//! Files and folders that are put in place whole or not at all: written beside the place under a hidden name, flushed,
//! renamed. One lock beside the place, from the look at it to the rename, keeps a second writer out. What an attempt left
//! behind when it was killed is [swept away](sweep) by the next one.

use std::{
    ffi::OsStr,
    fs,
    io::{self, BufWriter, ErrorKind, Write},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use crate::{
    aside::{self, AsideFolder, PREFIX, PlaceLock},
    error::{Error, Result},
};

/// How the hidden names of folders begin that are about to be replaced.
const REPLACED: &str = ".replaced-";
/// Bytes that are written at a time.
const BUFFER: usize = 1 << 20;

/// A file that takes its name when it is [committed](Self::commit), and vanishes when it is dropped before.
#[derive(Debug)]
pub struct AtomicFile {
    file: BufWriter<NamedTempFile>,
    path: PathBuf,
}

impl AtomicFile {
    /// Begin what will be `path`, whose folder is there.
    pub fn create(path: &Path) -> Result<Self> {
        let file = BufWriter::with_capacity(BUFFER, aside::file(parent(path))?);
        Ok(Self { file, path: path.to_owned() })
    }

    /// Where it lies until then, for whoever flushes it and reads it back.
    pub fn aside(&self) -> &Path {
        self.file.get_ref().path()
    }

    /// Flush it and give it its name, in place of a file that has it.
    pub fn commit(self) -> Result<()> {
        let (file, path) = self.flushed()?;
        check_replaceable(&path)?;
        // It is held until it has its name.
        let (_held, aside) = file.into_parts();
        fs::rename(&aside, &path).map_err(Error::io("write", &path))?;
        let _ = aside.keep();
        Ok(())
    }

    fn flushed(self) -> Result<(NamedTempFile, PathBuf)> {
        let Self { file, path } = self;
        let failed = |error| Error::io("write", &path)(error);
        let file = file.into_inner().map_err(|e| failed(e.into_error()))?;
        file.as_file().sync_all().map_err(failed)?;
        Ok((file, path))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.file.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Write a small file whole.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    filled(path, bytes)?.commit()
}

/// Write a small file whole where there is none.
///
/// # Errors
/// One is there: an I/O error of the kind `AlreadyExists`.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let (file, path) = filled(path, bytes)?.flushed()?;
    file.persist_noclobber(&path).map_err(|e| Error::io("create", &path)(e.error)).map(drop)
}

fn filled(path: &Path, bytes: &[u8]) -> Result<AtomicFile> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes).map_err(Error::io("write", path))?;
    Ok(file)
}

/// Put files into a folder so that a reader sees all of one writing or none: all are written and flushed aside, and the last,
/// which is the one that readers ask for, is taken away first and put in place last. What an attempt left there when it was
/// killed is swept away.
pub fn write_together(folder: &Path, files: &[(&str, Vec<u8>)]) -> Result<()> {
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    sweep(folder)?;
    let aside = AsideFolder::create(folder)?;
    for (name, bytes) in files {
        write(&aside.path().join(name), bytes)?;
    }
    if let Some((last, _)) = files.last() {
        remove(&folder.join(last))?;
        sync_dir(folder)?;
    }
    for (name, _) in files {
        let place = folder.join(name);
        fs::rename(aside.path().join(name), &place).map_err(Error::io("put in place", &place))?;
        sync_dir(folder)?;
    }
    Ok(())
}

/// Make `path` a link to `target`, in place of what has the name.
pub fn link(target: &str, path: &Path) -> Result<()> {
    let aside = tempfile::Builder::new().prefix(PREFIX).make_in(parent(path), |aside| symlink(target, aside));
    let aside = aside.map_err(Error::io("link", path))?;
    aside.into_temp_path().persist(path).map_err(|e| Error::io("link", path)(e.error))
}

/// Let `fill` write what becomes the file `place`, if it is `vacant`, which is asked before and after. Only one process at
/// a time does.
///
/// # Errors
/// [`Error::Busy`], or what `vacant` and `fill` say; `place` is as it was then.
pub fn file<T, E: From<Error>>(
    place: &Path,
    vacant: impl Fn() -> std::result::Result<(), E>,
    fill: impl FnOnce(&mut AtomicFile) -> std::result::Result<T, E>,
) -> std::result::Result<T, E> {
    let (parent, name) = (create_parent(place)?, file_name(place)?);
    let _lock = PlaceLock::take(parent, &name)?;
    sweep(parent)?;
    vacant()?;
    let mut aside = AtomicFile::create(place)?;
    let filled = fill(&mut aside)?;
    vacant()?;
    aside.commit()?;
    sync_dir(parent)?;
    Ok(filled)
}

/// Let `fill` write what becomes the folder `place`, in place of one that is there, if it is `vacant`, which is asked before
/// and after. Only one process at a time does.
///
/// # Errors
/// [`Error::Busy`], or what `vacant` and `fill` say; `place` is as it was then.
pub fn folder<T, E: From<Error>>(
    place: &Path,
    vacant: impl Fn() -> std::result::Result<(), E>,
    fill: impl FnOnce(&Path) -> std::result::Result<T, E>,
) -> std::result::Result<T, E> {
    let (parent, name) = (create_parent(place)?, file_name(place)?);
    let _lock = PlaceLock::take(parent, &name)?;
    sweep(parent)?;
    let replaced = parent.join(format!("{REPLACED}{name}"));
    if exists(&replaced) && !exists(place) {
        // As a crash between the two renames below leaves it.
        fs::rename(&replaced, place).map_err(Error::io("put back", place))?;
    }
    remove(&replaced)?;
    vacant()?;
    let aside = AsideFolder::create(parent)?;
    let filled = fill(aside.path())?;
    sync_dir(aside.path())?;
    vacant()?;
    check_replaceable(place)?;
    // Removing a large folder takes a while: what is there steps aside first, so that a crash meanwhile costs neither.
    let stepped = exists(place);
    if stepped {
        fs::rename(place, &replaced).map_err(Error::io("replace", place))?;
    }
    aside.put(place).map_err(|error| {
        if stepped {
            // The error counts; what cannot be put back now is put back by the next attempt.
            let _ = fs::rename(&replaced, place);
        }
        Error::io("put in place", place)(error)
    })?;
    sync_dir(parent)?;
    remove(&replaced)?;
    Ok(filled)
}

/// Refuse a place where a device, a pipe or a socket is: root may put a file there, and `/dev/null` would be one.
fn check_replaceable(place: &Path) -> Result<()> {
    match fs::symlink_metadata(place).map(|there| there.file_type()) {
        Ok(kind) if !(kind.is_file() || kind.is_dir() || kind.is_symlink()) => {
            Err(Error::damaged(place, "is a device, a pipe or a socket, which nothing replaces; name another place"))
        }
        _ => Ok(()),
    }
}

/// Remove what processes that are no more left of what they were writing into `folder`, if it is there.
///
/// # Errors
/// The file system refuses.
pub fn sweep(folder: &Path) -> Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(Error::io("list", folder))?,
    };
    for entry in entries {
        let entry = entry.map_err(Error::io("list", folder))?;
        if entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes())
            && let Some(_held) = aside::abandoned(&entry.path())
        {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Remove a file, folder or link, if it is there.
pub fn remove(path: &Path) -> Result<()> {
    let is_dir = fs::symlink_metadata(path).is_ok_and(|m| m.is_dir());
    let removed = if is_dir { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io("remove", path)(e)),
        _ => Ok(()),
    }
}

/// Make renames inside `path` durable.
pub fn sync_dir(path: &Path) -> Result<()> {
    fs::File::open(path).and_then(|d| d.sync_all()).map_err(Error::io("flush", path))
}

/// Whether there is anything of this name, be it a link to nowhere.
pub fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// The folder that `path` lies in.
pub fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The folder that `path` lies in, which is made if it is not there.
pub fn create_parent(path: &Path) -> Result<&Path> {
    let parent = parent(path);
    fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    Ok(parent)
}

fn file_name(place: &Path) -> Result<String> {
    let name = place.file_name().map(OsStr::to_string_lossy);
    let name = name.ok_or_else(|| Error::damaged(place, "cannot be written to; name a folder or file"))?;
    Ok(name.into_owned())
}

#[cfg(test)]
mod tests;
