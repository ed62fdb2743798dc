//! Files and folders that are put in place whole or not at all: written beside the place under a hidden name, flushed,
//! renamed. What an attempt to write a folder or a large file left behind when it was killed is cleared by the next one; a small
//! file's temporary name begins with `.writing-`, too, and may be removed.

use std::{
    fs::{self, File, Permissions, TryLockError},
    io::{self, BufWriter, ErrorKind, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// How hidden names begin.
const PREFIX: &str = ".writing-";
/// And those of folders that are about to be replaced.
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
        let folder = parent(path);
        // As an ordinary file has it, less the umask, where `tempfile` would let only its owner read.
        let file =
            tempfile::Builder::new().prefix(PREFIX).permissions(Permissions::from_mode(0o666)).tempfile_in(folder);
        let file = BufWriter::with_capacity(BUFFER, file.map_err(Error::io("create a file in", folder))?);
        Ok(Self { file, path: path.to_owned() })
    }

    /// Flush it and give it its name, in place of a file that has it.
    pub fn commit(self) -> Result<()> {
        let failed = |error| Error::io("write", &self.path)(error);
        let file = self.file.into_inner().map_err(|e| failed(e.into_error()))?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(&self.path).map_err(|e| failed(e.error)).map(drop)
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
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes).map_err(Error::io("write", path))?;
    file.commit()
}

/// Put files into a folder so that a reader sees all of one writing or none: all are written and flushed aside, and the last,
/// which is the one that readers ask for, is taken away first and put in place last.
pub fn write_together(folder: &Path, files: &[(&str, Vec<u8>)]) -> Result<()> {
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let aside = tempfile::Builder::new().prefix(PREFIX).tempdir_in(folder);
    let aside = aside.map_err(Error::io("create a folder in", folder))?;
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

/// Let `fill` write what becomes the file `place`. Only one process at a time does.
///
/// # Errors
/// [`Error::Busy`], or what `fill` says; `place` is as it was then.
pub fn file<T, E: From<Error>>(
    place: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> std::result::Result<T, E>,
) -> std::result::Result<T, E> {
    let aside = beside(place)?;
    let created = File::options().create(true).truncate(false).write(true).open(&aside);
    let created = created.map_err(Error::io("create", &aside))?;
    let Some(locked) = lock(&aside, place)? else { return Err(Error::Busy(place.to_owned()).into()) };
    // Between opening and locking, another process may have put in place the file that this one opened.
    let inode = |file: &File| file.metadata().map(|m| (m.dev(), m.ino())).map_err(Error::io("read", &aside));
    if inode(&created)? != inode(&locked)? {
        return Err(Error::Busy(place.to_owned()).into());
    }
    let filled = || -> std::result::Result<T, E> {
        created.set_len(0).map_err(Error::io("create", &aside))?;
        let mut out = BufWriter::with_capacity(BUFFER, created);
        let filled = fill(&mut out)?;
        let out = out.into_inner().map_err(|e| Error::io("write", place)(e.into_error()))?;
        out.sync_all().map_err(Error::io("flush", place))?;
        Ok(filled)
    };
    let filled = cleared(&aside, filled())?;
    fs::rename(&aside, place).map_err(Error::io("put in place", place))?;
    sync_dir(parent(place))?;
    Ok(filled)
}

/// Let `fill` write what becomes the folder `place`, in place of one that is there. Only one process at a time does.
///
/// # Errors
/// [`Error::Busy`], or what `fill` says; `place` is as it was then.
pub fn folder<T, E: From<Error>>(
    place: &Path,
    fill: impl FnOnce(&Path) -> std::result::Result<T, E>,
) -> std::result::Result<T, E> {
    let aside = beside(place)?;
    lock(&aside, place)?;
    let replaced = parent(place).join(file_name(place, REPLACED)?);
    if exists(&replaced) && !exists(place) {
        // As a crash between the two renames below leaves it.
        fs::rename(&replaced, place).map_err(Error::io("put back", place))?;
    }
    remove(&replaced)?;
    remove(&aside)?;
    fs::create_dir(&aside).map_err(Error::io("create", &aside))?;
    let Some(_lock) = lock(&aside, place)? else { return Err(Error::Busy(place.to_owned()).into()) };
    let filled = cleared(&aside, fill(&aside))?;
    sync_dir(&aside)?;
    // Removing a large folder takes a while: what is there steps aside first, so that a crash meanwhile costs neither.
    if exists(place) {
        fs::rename(place, &replaced).map_err(Error::io("replace", place))?;
    }
    fs::rename(&aside, place).map_err(Error::io("put in place", place))?;
    sync_dir(parent(place))?;
    remove(&replaced)?;
    Ok(filled)
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
    File::open(path).and_then(|d| d.sync_all()).map_err(Error::io("flush", path))
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

/// The hidden name beside `place`, in the folder above it, which is made if it is not there.
fn beside(place: &Path) -> Result<PathBuf> {
    let name = file_name(place, PREFIX)?;
    Ok(create_parent(place)?.join(name))
}

fn file_name(place: &Path, prefix: &str) -> Result<String> {
    let name = place.file_name().ok_or_else(|| Error::damaged(place, "cannot be written to; name a folder or file"))?;
    Ok(format!("{prefix}{}", name.to_string_lossy()))
}

/// Lock what is written `aside`, if it is there, until the file that is returned is dropped.
fn lock(aside: &Path, place: &Path) -> Result<Option<File>> {
    let Ok(file) = File::open(aside) else { return Ok(None) };
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(Error::Busy(place.to_owned())),
        // A file system without locks has none to respect.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(Some(file)),
    }
}

/// Leave nothing behind of what failed.
fn cleared<T, E>(aside: &Path, filled: std::result::Result<T, E>) -> std::result::Result<T, E> {
    if filled.is_err() {
        // The error counts; whatever cannot be removed now is removed by the next attempt.
        let _ = remove(aside);
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{e}"));
        let mut names: Vec<String> =
            entries.filter_map(|e| Some(e.ok()?.file_name().to_string_lossy().into_owned())).collect();
        names.sort();
        names
    }

    fn temp() -> tempfile::TempDir {
        tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"))
    }

    fn put(folder: &Path, name: &str) -> Result<()> {
        fs::write(folder.join(name), name).map_err(Error::io("write", folder))
    }

    #[test]
    fn a_small_file_is_readable_and_replaced_whole() -> Result<()> {
        let dir = temp();
        let path = dir.path().join("a");
        write(&path, b"one")?;
        write(&path, b"two")?;
        let mut torn = AtomicFile::create(&path)?;
        torn.write_all(b"torn").map_err(Error::io("write", &path))?;
        drop(torn);
        assert_eq!(fs::read(&path).ok().as_deref(), Some(&b"two"[..]));
        assert_eq!(names(dir.path()), ["a"]);
        let ordinary = dir.path().join("b");
        fs::write(&ordinary, "").map_err(Error::io("write", &ordinary))?;
        let mode = |path: &Path| fs::metadata(path).map(|m| m.permissions().mode()).ok();
        assert_eq!(mode(&path), mode(&ordinary));
        Ok(())
    }

    #[test]
    fn files_are_replaced_together() -> Result<()> {
        let dir = temp();
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).ok();
        let put = |text: &str| write_together(dir.path(), &[("weights", text.into()), ("config", text.into())]);
        for text in ["old", "new"] {
            put(text)?;
            assert_eq!((read("weights").as_deref(), read("config").as_deref()), (Some(text), Some(text)));
        }
        // The second cannot be put in place: the reader finds no configuration rather than that of other weights.
        remove(&dir.path().join("weights"))?;
        fs::create_dir_all(dir.path().join("weights/in the way")).map_err(Error::io("create", dir.path()))?;
        assert!(put("later").is_err());
        assert_eq!(names(dir.path()), ["weights"], "nothing is left lying about");
        Ok(())
    }

    #[test]
    fn a_folder_is_there_whole_or_as_it_was() -> Result<()> {
        let dir = temp();
        let place = dir.path().join("a/merged");
        let fails = |aside: &Path| -> Result<()> {
            put(aside, "torn")?;
            Err(Error::Interrupted)
        };
        assert!(folder(&place, fails).is_err());
        assert_eq!(names(&dir.path().join("a")), [""; 0]);
        // As a crash leaves it.
        fs::create_dir_all(dir.path().join("a/.writing-merged/x")).map_err(Error::io("create", &place))?;
        folder(&place, |aside| put(aside, "one"))?;
        let twice = dir.path().join("twice");
        folder(&twice, |aside| {
            let second = folder(&twice, |_| Ok::<_, Error>(()));
            assert!(matches!(second, Err(Error::Busy(_))), "{second:?}");
            put(aside, "one")
        })?;
        assert!(folder(&place, fails).is_err());
        assert_eq!(names(&place), ["one"]);
        fs::rename(&place, dir.path().join("a/.replaced-merged")).map_err(Error::io("rename", &place))?;
        assert!(folder(&place, fails).is_err());
        assert_eq!(names(&place), ["one"], "cut short between the two renames");
        folder(&place, |aside| put(aside, "two"))?;
        assert_eq!(names(&place), ["two"]);
        assert_eq!(names(&dir.path().join("a")), ["merged"]);
        Ok(())
    }

    #[test]
    fn a_file_is_there_whole_or_as_it_was() -> Result<()> {
        let dir = temp();
        let place = dir.path().join("m.gguf");
        let fill = |text: &'static str, whole: bool| {
            move |out: &mut BufWriter<File>| {
                out.write_all(text.as_bytes()).map_err(Error::io("write", "m.gguf"))?;
                if whole { Ok(()) } else { Err(Error::Interrupted) }
            }
        };
        assert!(file(&place, fill("torn", false)).is_err());
        assert_eq!(names(dir.path()), [""; 0]);
        file(&place, |out| {
            let second = file(&place, fill("two", true));
            assert!(matches!(second, Err(Error::Busy(_))), "{second:?}");
            fill("one", true)(out)
        })?;
        assert!(file(&place, fill("torn", false)).is_err());
        assert_eq!(fs::read(&place).ok().as_deref(), Some(&b"one"[..]));
        assert_eq!(names(dir.path()), ["m.gguf"]);
        Ok(())
    }
}
