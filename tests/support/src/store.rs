//! Repositories in memory: commits, branches, pull requests, and the large files that were uploaded.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use axum::body::Bytes;
use setaccio_base::sha256::{hex, hex_digest};
use sha1::{Digest, Sha1};

/// Who may do what.
#[derive(Clone, Debug)]
pub struct User {
    /// Name, and owner of repositories.
    pub name: String,
    /// `read` or `write`.
    pub role: &'static str,
}

/// A file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The bytes.
    pub bytes: Bytes,
    /// git's hash of the content, or of the pointer to it.
    pub git: String,
    /// SHA-256, of large files.
    pub sha256: Option<String>,
}

impl Content {
    /// Content as the Hub would keep it: large or binary files in large file storage.
    pub fn new(path: &str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if is_large(path, bytes.len() as u64, &bytes[..bytes.len().min(512)]) {
            let sha256 = hex_digest(&bytes);
            let pointer =
                format!("version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {}\n", bytes.len());
            return Self { git: git(pointer.as_bytes()), sha256: Some(sha256), bytes };
        }
        Self { git: git(&bytes), sha256: None, bytes }
    }
}

/// Whether a file goes to large file storage: by its extension, its size, or because it is no text.
pub(crate) fn is_large(path: &str, size: u64, sample: &[u8]) -> bool {
    let listed = ["parquet", "gz", "zst", "safetensors", "gguf", "bin", "arrow"];
    let extension = path.rsplit('.').next().unwrap_or_default();
    size > 0 && (listed.contains(&extension) || size > 10_000_000 || sample.contains(&0))
}

/// A commit.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Its hash.
    pub id: String,
    /// First line of its message.
    pub title: String,
    /// The rest.
    pub message: String,
    /// Every file.
    pub files: BTreeMap<String, Content>,
    /// The one before.
    pub parent: Option<String>,
}

/// A repository.
#[derive(Clone, Debug, Default)]
pub struct Repo {
    /// Seen by its owner alone.
    pub private: bool,
    /// Seen by those who accepted its terms: their names.
    pub gated: Option<BTreeSet<String>>,
    /// All commits, by hash.
    pub commits: BTreeMap<String, Commit>,
    /// Heads of branches (`main`), tags and pull requests (`refs/pr/1`).
    pub refs: BTreeMap<String, String>,
    /// Titles of pull requests, the first at 0.
    pub pulls: Vec<String>,
}

impl Repo {
    /// The commit of a revision.
    pub fn at(&self, revision: &str) -> Option<&Commit> {
        self.commits.get(self.refs.get(revision).map_or(revision, String::as_str))
    }

    /// Commit these files on `branch`, over those that are there; `None` deletes.
    pub fn commit(
        &mut self,
        branch: &str,
        title: &str,
        message: &str,
        changes: impl IntoIterator<Item = (String, Option<Content>)>,
    ) -> String {
        let parent = self.refs.get(branch).cloned();
        let mut files = self.at(branch).map_or_else(BTreeMap::new, |c| c.files.clone());
        for (path, content) in changes {
            match content {
                Some(content) => files.insert(path, content),
                None => files.remove(&path),
            };
        }
        let told: Vec<String> = files.iter().map(|(p, c)| format!("{p} {}", c.git)).collect();
        let told = format!("{parent:?}\n{title}\n{message}\n{}\n{}", self.commits.len(), told.join("\n"));
        let id = hex(&Sha1::digest(told.as_bytes()));
        let (title, message) = (title.to_owned(), message.to_owned());
        self.commits.insert(id.clone(), Commit { id: id.clone(), title, message, files, parent });
        self.refs.insert(branch.to_owned(), id.clone());
        id
    }

    /// The commits from a revision back.
    pub fn history(&self, revision: &str) -> Vec<&Commit> {
        std::iter::successors(self.at(revision), |c| self.commits.get(c.parent.as_ref()?)).collect()
    }
}

/// A file that is being uploaded in parts.
pub(crate) type Parts = BTreeMap<u32, Bytes>;

/// All there is.
#[derive(Debug)]
pub struct Store {
    /// By `datasets/owner/name` or `models/owner/name`.
    pub repos: BTreeMap<String, Repo>,
    /// By token.
    pub users: BTreeMap<String, User>,
    /// Uploaded large files, by SHA-256.
    pub large: BTreeMap<String, Bytes>,
    /// Larger files are uploaded in parts of this size.
    pub part_bytes: u64,
    /// Entries of a page of a listing.
    pub page: usize,
    pub(crate) parts: BTreeMap<String, Parts>,
}

impl Default for Store {
    fn default() -> Self {
        let user = |name: &str, role| User { name: name.into(), role };
        let users = [(crate::WRITE.to_owned(), user("anna", "write")), (crate::READ.to_owned(), user("bruno", "read"))];
        Self {
            repos: BTreeMap::new(),
            users: users.into(),
            large: BTreeMap::new(),
            part_bytes: 4_000_000,
            page: 1000,
            parts: BTreeMap::new(),
        }
    }
}

impl Store {
    /// Commit files to `main` of a repository (`datasets/owner/name`), which is made if it is not there.
    pub fn put<B: Into<Bytes>>(&mut self, repo: &str, files: impl IntoIterator<Item = (String, B)>) -> String {
        let files = files.into_iter().map(|(path, bytes)| (path.clone(), Some(Content::new(&path, bytes))));
        let files: Vec<_> = files.collect();
        for content in files.iter().filter_map(|(_, c)| c.as_ref()) {
            if let Some(sha256) = &content.sha256 {
                self.large.insert(sha256.clone(), content.bytes.clone());
            }
        }
        self.repos.entry(repo.to_owned()).or_default().commit("main", "Add files", "", files)
    }

    /// Commit all files of a folder to `main`.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn put_folder(&mut self, repo: &str, folder: &Path) -> std::io::Result<String> {
        fn walk(folder: &Path, prefix: &str, found: &mut Vec<(String, Vec<u8>)>) -> std::io::Result<()> {
            for entry in std::fs::read_dir(folder)? {
                let entry = entry?;
                let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
                if entry.path().is_dir() {
                    walk(&entry.path(), &format!("{path}/"), found)?;
                } else {
                    found.push((path, std::fs::read(entry.path())?));
                }
            }
            Ok(())
        }
        let mut found = Vec::new();
        walk(folder, "", &mut found)?;
        Ok(self.put(repo, found))
    }
}

/// git's hash of a blob.
pub(crate) fn git(bytes: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(format!("blob {}\0", bytes.len()));
    hash.update(bytes);
    hex(&hash.finalize())
}
