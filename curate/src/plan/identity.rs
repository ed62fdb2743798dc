//! Which file a path leads to, so that another one in its place is noticed, even of the same size and time.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path, time::SystemTime};

/// What tells a file, as it is, from any other one and from itself after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    bytes: u64,
    modified: Option<SystemTime>,
    /// What no program can set: where the file lies, and when it was last changed in any way.
    system: [i64; 4],
}

impl Identity {
    /// That of the file at `path`.
    ///
    /// # Errors
    /// It is not there, or not to be looked at.
    pub fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        let system =
            [metadata.dev().cast_signed(), metadata.ino().cast_signed(), metadata.ctime(), metadata.ctime_nsec()];
        Ok(Self { bytes: metadata.len(), modified: metadata.modified().ok(), system })
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What tells it on every machine that sees the file: all but the number of the device, which each machine gives.
    pub fn anywhere(&self) -> String {
        let Self { bytes, modified, system: [_, inode, changed, nanoseconds] } = self;
        let since = modified.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        let modified = since.map_or(0, |since| since.as_nanos());
        format!("{bytes} {modified} {inode} {changed}.{nanoseconds:09}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_same_size_and_time_in_its_place_is_another() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let [path, other] = ["rows.jsonl", "other"].map(|name| dir.path().join(name));
        fs::write(&path, "{\"text\": \"uno\"}")?;
        let (before, time) = (Identity::of(&path)?, fs::metadata(&path)?.modified()?);
        assert_eq!(Identity::of(&path)?, before, "looking changes nothing");
        fs::write(&other, "{\"text\": \"due\"}")?;
        fs::File::options().write(true).open(&other)?.set_modified(time)?;
        fs::rename(&other, &path)?;
        let after = Identity::of(&path)?;
        assert_eq!((after.bytes, after.modified), (before.bytes, before.modified));
        assert_ne!(after, before);
        assert_ne!(after.anywhere(), before.anywhere());
        assert_eq!(
            Identity { system: [-1, after.system[1], after.system[2], after.system[3]], ..after }.anywhere(),
            after.anywhere()
        );
        Ok(())
    }
}
