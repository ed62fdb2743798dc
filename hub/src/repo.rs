//! What things on the Hub are called, and their addresses.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::error::{Error, Result};

/// What a repository holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RepoType {
    /// Rows.
    Dataset,
    /// Weights: a whole model or an adapter.
    Model,
}

impl RepoType {
    /// As addresses of the interface and folders of the cache have it.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Dataset => "datasets",
            Self::Model => "models",
        }
    }

    /// As the interface has it when a repository is made.
    pub fn singular(self) -> &'static str {
        match self {
            Self::Dataset => "dataset",
            Self::Model => "model",
        }
    }

    /// What comes before the name in the address of a page.
    fn prefix(self) -> &'static str {
        match self {
            Self::Dataset => "datasets/",
            Self::Model => "",
        }
    }
}

/// A repository of the Hub.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Repo {
    /// What it holds.
    pub kind: RepoType,
    /// `owner/name`.
    pub id: String,
}

impl Repo {
    /// The repository called `id`.
    ///
    /// # Errors
    /// It is no `owner/name` in the Hub's letters.
    pub fn new(kind: RepoType, id: &str) -> Result<Self> {
        let good = |part: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !part.is_empty()
                && part.len() <= 96
                && part.chars().all(plain)
                && !part.starts_with(['-', '.'])
                && !part.ends_with(['-', '.'])
                && !part.contains("--")
                && !part.contains("..")
        };
        match id.split_once('/') {
            Some((owner, name)) if good(owner) && good(name) => Ok(Self { kind, id: id.to_owned() }),
            _ => Err(Error::Invalid(format!(
                "`{id}` is no repository: write owner/name, in letters, digits, `-`, `_` and `.`, for instance \
                 gsarti/clean_mc4_it"
            ))),
        }
    }

    /// Its page on the Hub at `endpoint`.
    pub fn page(&self, endpoint: &str) -> String {
        format!("{endpoint}/{}{}", self.kind.prefix(), self.id)
    }

    /// The address of `what` in the interface: `/api/datasets/owner/name/what`.
    pub fn api(&self, endpoint: &str, what: &str) -> String {
        let slash = if what.is_empty() { "" } else { "/" };
        format!("{endpoint}/api/{}/{}{slash}{what}", self.kind.plural(), self.id)
    }

    /// The address of a file's content.
    pub fn resolve(&self, endpoint: &str, revision: &str, path: &str) -> String {
        let path: Vec<String> = path.split('/').map(percent_encode).collect();
        format!("{}/resolve/{}/{}", self.page(endpoint), percent_encode(revision), path.join("/"))
    }

    /// Its folder in the cache.
    pub fn folder(&self) -> String {
        format!("{}--{}", self.kind.plural(), self.id.replace('/', "--"))
    }
}

impl fmt::Display for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} {}", self.kind.singular(), self.id)
    }
}

/// All but the letters, digits and marks that RFC 3986 leaves as they are.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// One segment of an address's path; `/` within it is encoded too.
pub fn percent_encode(segment: &str) -> String {
    utf8_percent_encode(segment, RESERVED).to_string()
}

/// Whether a revision is a commit, which nobody can move.
pub fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// What git ends the names of its own lock files in.
const LOCK: &str = ".lock";

/// The same branch, if it can be one: what git allows, and no commit, which nothing can be put upon.
pub fn branch(name: &str) -> Result<&str> {
    let good = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with('.');
    let odd = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
    let sound = !name.contains(odd)
        && !name.contains("..")
        && !name.contains("@{")
        && name.split('/').all(good)
        && !name.ends_with(LOCK);
    if is_commit(name) {
        Err(Error::Invalid(format!("`{name}` is a commit, and a push goes upon a branch: name one, for instance main")))
    } else if sound && !name.starts_with('-') {
        Ok(name)
    } else {
        Err(Error::Invalid(format!(
            "`{name}` is no branch: write letters, digits, `-`, `_`, `.` and `/`, for instance next"
        )))
    }
}

/// Whether a path of a repository stays within it when it is written to a disk.
pub fn is_relative_path(path: &str) -> bool {
    !path.is_empty()
        && !path.contains(|c: char| c == '\\' || c.is_control())
        && path.split('/').all(|part| !["", ".", ".."].contains(&part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses() {
        let repo = Repo::new(RepoType::Dataset, "gsarti/clean_mc4_it").unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(repo.page("https://h"), "https://h/datasets/gsarti/clean_mc4_it");
        assert_eq!(repo.api("https://h", "tree/main"), "https://h/api/datasets/gsarti/clean_mc4_it/tree/main");
        assert_eq!(repo.folder(), "datasets--gsarti--clean_mc4_it");
        assert_eq!(
            repo.resolve("", "refs/pr/1", "a b/c.json"),
            "/datasets/gsarti/clean_mc4_it/resolve/refs%2Fpr%2F1/a%20b/c.json"
        );
        let model = Repo::new(RepoType::Model, "a/b").unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(model.page("https://h"), "https://h/a/b");
        for bad in ["", "a", "a/", "/b", "a/b/c", "a b/c", "../b", "a/..", "a/b--c", "a/-b", "perché/b"] {
            assert!(Repo::new(RepoType::Model, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn branches_are_those_of_git() {
        for good in ["main", "v1.0", "anna/next", "refs/pr/3"] {
            assert_eq!(branch(good).ok(), Some(good));
        }
        for bad in ["", "a b", "a/../b", "a..b", "/a", "a/", ".a", "a.lock", "a^", "-a", "x@{1}", "a\n"] {
            assert!(branch(bad).is_err(), "{bad}");
        }
        assert!(branch("0123456789abcdef0123456789abcdef01234567").is_err());
    }

    #[test]
    fn commits_and_paths() {
        assert!(is_commit("0123456789abcdef0123456789abcdef01234567"));
        assert!(!is_commit("main") && !is_commit("0123456789ABCDEF0123456789abcdef01234567"));
        assert!(is_relative_path("data/a..b.json"));
        for bad in ["", "/etc/passwd", "a/../b", "..", "a//b", "./a", "a\\b", "a\0", "a\u{1b}[2J"] {
            assert!(!is_relative_path(bad), "{bad}");
        }
    }
}
