//! The cache that Python's tools share: content by its hash in `blobs/`, a commit as a folder of links in
//! `snapshots/`, the commit of a branch in `refs/`.
//!
//! Beside them, in `setaccio/`, lies the list of files that each commit was seen to have: without it, a
//! machine without a network could not tell a whole copy from a torn one.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use setaccio_base::{
    atomic,
    lock_file::{LockFile, Mode},
    progress::Progress,
    sha256::hex_digest,
};

use crate::{
    error::{Error, Result},
    listing::Entry,
    repo::{Repo, is_commit, is_relative_path},
};

/// One repository's part of the cache.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
    folder: String,
}

/// A list of files as it is kept: which globs it was made for, and what they matched.
#[derive(Debug, Serialize, Deserialize)]
struct ListingRecord {
    patterns: Vec<String>,
    files: Vec<Entry>,
}

impl Cache {
    /// The part of `repo` in the cache at `root`.
    pub fn new(root: &Path, repo: &Repo) -> Self {
        Self { root: root.to_owned(), folder: repo.folder() }
    }

    fn repo_dir(&self) -> PathBuf {
        self.root.join(&self.folder)
    }

    /// Where content of this hash lies.
    pub fn blob(&self, hash: &str) -> PathBuf {
        self.repo_dir().join("blobs").join(hash)
    }

    /// Where a commit's files lie.
    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.repo_dir().join("snapshots").join(commit)
    }

    /// Where a file of a commit lies, if its content is there whole.
    pub fn cached_file(&self, commit: &str, entry: &Entry) -> Option<PathBuf> {
        let path = self.snapshot(commit).join(&entry.path);
        let there = fs::metadata(&path).ok()?;
        (there.is_file() && there.len() == entry.size).then_some(path)
    }

    /// The commit that a revision stood for when it was last asked for; a commit stands for itself.
    pub fn read_ref(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let path = is_relative_path(revision).then(|| self.repo_dir().join("refs").join(revision))?;
        fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|text| is_commit(text))
    }

    /// Remember what a revision stands for.
    pub fn write_ref(&self, revision: &str, commit: &str) -> Result<()> {
        if revision == commit || !is_relative_path(revision) || self.read_ref(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        write(&self.repo_dir().join("refs").join(revision), commit.as_bytes())
    }

    fn listing_path(&self, commit: &str, patterns: &[String]) -> PathBuf {
        let name = hex_digest(patterns.join("\n").as_bytes());
        self.repo_dir().join("setaccio").join(format!("{commit}-{}.json", &name[..16]))
    }

    /// The files that `patterns` matched at a commit, when it was listed.
    pub fn read_listing(&self, commit: &str, patterns: &[String]) -> Option<Vec<Entry>> {
        let seen: ListingRecord = serde_json::from_slice(&fs::read(self.listing_path(commit, patterns)).ok()?).ok()?;
        (seen.patterns == patterns && seen.files.iter().all(|f| is_relative_path(&f.path) && f.oid().is_valid()))
            .then_some(seen.files)
    }

    /// Remember a list of files.
    pub fn write_listing(&self, commit: &str, patterns: &[String], files: &[Entry]) -> Result<()> {
        let seen = ListingRecord { patterns: patterns.to_vec(), files: files.to_vec() };
        let json = serde_json::to_vec_pretty(&seen).map_err(|e| Error::Invalid(format!("a list of files: {e}")))?;
        write(&self.listing_path(commit, patterns), &json)
    }

    /// The files of a commit that another program has put here, as `path` and size; their hashes are not known.
    pub fn scan_snapshot(&self, commit: &str) -> Vec<Entry> {
        fn walk(folder: &Path, prefix: &str, found: &mut Vec<Entry>) {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
                match fs::metadata(entry.path()) {
                    Ok(there) if there.is_dir() => walk(&entry.path(), &format!("{path}/"), found),
                    Ok(there) => found.push(Entry { path, size: there.len(), git: String::new(), sha256: None }),
                    Err(_) => {}
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.snapshot(commit), "", &mut found);
        found.sort_by(|a, b| a.path.cmp(&b.path));
        found
    }

    /// Take the lock of one content, which Python's tools respect too; wait for it if another process has it.
    ///
    /// # Errors
    /// The file system refuses, or Ctrl-C while another process holds it.
    pub fn lock(&self, hash: &str, progress: &dyn Progress) -> Result<LockFile> {
        let path = self.root.join(".locks").join(&self.folder).join(format!("{hash}.lock"));
        atomic::create_parent(&path)?;
        loop {
            match LockFile::acquire(&path, Mode::Exclusive) {
                Err(setaccio_base::Error::Busy(_)) if progress.cancelled() => return Err(Error::Interrupted),
                Err(setaccio_base::Error::Busy(_)) => std::thread::sleep(Duration::from_millis(50)),
                lock => return Ok(lock?),
            }
        }
    }

    /// Give content that is there its place in a commit.
    pub fn link(&self, commit: &str, entry: &Entry, hash: &str) -> Result<PathBuf> {
        let path = self.snapshot(commit).join(&entry.path);
        atomic::create_parent(&path)?;
        let up = "../".repeat(2 + entry.path.matches('/').count());
        let target = format!("{up}blobs/{hash}");
        atomic::link(&target, &path)?;
        Ok(path)
    }
}

/// Write a file of the cache whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    atomic::sweep(atomic::create_parent(path)?)?;
    Ok(atomic::write(path, bytes)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::repo::RepoType;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn content_is_found_through_its_commit() -> Result<()> {
        let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        let cache = Cache::new(dir.path(), &Repo::new(RepoType::Dataset, "lab/web")?);
        let git = crate::oid::git_blob_hex(b"ciao");
        let entry = Entry { path: "a/b/c.json".into(), size: 4, git, sha256: None };
        assert_eq!(cache.cached_file(COMMIT, &entry), None);
        let blob = cache.blob("abcd");
        atomic::create_parent(&blob)?;
        fs::write(&blob, "ciao").map_err(Error::io("write", &blob))?;
        let path = cache.link(COMMIT, &entry, "abcd")?;
        assert_eq!(cache.cached_file(COMMIT, &entry), Some(path.clone()));
        assert_eq!(fs::read_link(&path).ok(), Some(PathBuf::from("../../../../blobs/abcd")));
        assert_eq!(cache.cached_file(COMMIT, &Entry { size: 5, ..entry.clone() }), None, "torn");
        assert_eq!(cache.scan_snapshot(COMMIT).len(), 1);
        assert_eq!(cache.read_ref("main"), None);
        cache.write_ref("main", COMMIT)?;
        cache.write_ref("../../outside", COMMIT)?;
        assert!(!dir.path().join("outside").exists());
        assert_eq!(cache.read_ref("main").as_deref(), Some(COMMIT));
        let patterns = ["*.json".to_owned()];
        cache.write_listing(COMMIT, &patterns, std::slice::from_ref(&entry))?;
        assert_eq!(cache.read_listing(COMMIT, &patterns), Some(vec![entry]));
        assert_eq!(cache.read_listing(COMMIT, &[]), None);
        // Files of a group are as readable as others that it makes.
        let mode = |path: PathBuf| fs::metadata(path).map(|m| m.permissions().mode() & 0o777).ok();
        assert_eq!(mode(cache.repo_dir().join("refs/main")), mode(cache.blob("abcd")));
        Ok(())
    }
}
