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
        Ok(())
    }
}
