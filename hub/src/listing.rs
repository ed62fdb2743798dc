//! What a repository holds at a revision: one commit, and the files of the folders that are asked for.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use ureq::http::HeaderMap;

use setaccio_base::progress::Progress;

use crate::{
    client::Client,
    error::{Error, Result},
    oid::Oid,
    repo::{Repo, is_commit, is_relative_path, percent_encode},
    request::{ApiRequest, RequestContext},
    url::join_url,
};

/// Pages of one listing, at most: the Hub puts a thousand files on each.
const MOST_PAGES: usize = 10_000;

/// A file of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its path.
    pub path: String,
    /// Size of its content in bytes.
    pub size: u64,
    /// git's hash of the file in the tree: of its content, or of the pointer to large file storage.
    pub git: String,
    /// SHA-256 of its content, where it is in large file storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

impl Entry {
    /// The hash of its content.
    pub fn oid(&self) -> Oid {
        self.sha256.clone().map_or_else(|| Oid::Git(self.git.clone()), Oid::Sha256)
    }
}

/// How far below a folder a listing goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What lies in the folder itself.
    Children,
    /// All files below it.
    Recursive,
}

/// One item of a listing, as the interface has it.
#[derive(Deserialize)]
struct TreeItem {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    oid: String,
    #[serde(default)]
    size: u64,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    oid: String,
    size: u64,
}

/// What the interface says of a revision.
#[derive(Clone, Debug, Deserialize)]
pub struct RevisionInfo {
    /// The commit.
    pub sha: String,
    /// When it was last changed, as the Hub writes it.
    #[serde(default, rename = "lastModified")]
    pub modified: Option<String>,
    /// Whether only some may see it.
    #[serde(default)]
    pub private: Option<bool>,
}

impl Client {
    /// The commit that a revision stands for now.
    pub fn revision_info(&self, repo: &Repo, revision: &str, progress: &dyn Progress) -> Result<RevisionInfo> {
        let context = RequestContext { repo: Some(repo), revision: Some(revision), ..RequestContext::default() };
        let url = repo.api(self.endpoint(), &format!("revision/{}", percent_encode(revision)));
        let info: RevisionInfo = self.json(&ApiRequest::get(url.clone(), context), progress)?;
        if is_commit(&info.sha) {
            return Ok(info);
        }
        Err(Error::invalid_response(&url, format!("{:?} is no commit", info.sha)))
    }

    /// The files below `folder` (the whole repository if it is empty), and its folders unless the depth is all of it.
    /// A folder that is not there holds nothing.
    pub fn list_tree(
        &self,
        repo: &Repo,
        revision: &str,
        folder: &str,
        depth: Depth,
        progress: &dyn Progress,
    ) -> Result<(Vec<Entry>, Vec<String>)> {
        let context = RequestContext { repo: Some(repo), revision: Some(revision), file: Some(folder), writes: false };
        let below = folder.split('/').filter(|p| !p.is_empty()).map(percent_encode);
        let path: Vec<String> = std::iter::once(percent_encode(revision)).chain(below).collect();
        let recursive = depth == Depth::Recursive;
        let what = format!("tree/{}?recursive={recursive}&expand=false", path.join("/"));
        let mut url = repo.api(self.endpoint(), &what);
        let (mut files, mut folders) = (Vec::new(), Vec::new());
        let mut pages = HashSet::from([url.clone()]);
        loop {
            let page = self.json_with_head::<Vec<TreeItem>>(&ApiRequest::get(url.clone(), context), progress);
            let (head, page) = match page {
                Err(Error::EntryNotFound { .. }) => return Ok((files, folders)),
                page => page?,
            };
            for item in page {
                if !is_relative_path(&item.path) {
                    let message = format!("{:?} is no path of a repository", item.path);
                    return Err(Error::invalid_response(&url, message));
                }
                match item.kind.as_str() {
                    "file" => {
                        let entry = entry(item);
                        // It becomes the name of a file in the cache.
                        if !entry.oid().is_valid() {
                            let message = format!("{:?} is no hash of {}", entry.oid().hex(), entry.path);
                            return Err(Error::invalid_response(&url, message));
                        }
                        files.push(entry);
                    }
                    "directory" => folders.push(item.path),
                    _ => {}
                }
            }
            let Some(more) = next(&head) else { return Ok((files, folders)) };
            let before = url.clone();
            url = join_url(&before, &more);
            // Each page names the next: one that was read before would be read for ever.
            if pages.len() == MOST_PAGES || !pages.insert(url.clone()) {
                let message =
                    format!("its page {} is followed by one that was read before, or by too many", pages.len());
                return Err(Error::invalid_response(&before, message));
            }
        }
    }

    /// The files that `patterns` (globs, or names of folders) can match: only the folders that they name are
    /// listed, as a repository may hold a hundred thousand files beside them. Sorted by path.
    ///
    /// # Errors
    /// As [`Client::list_tree`], or a pattern that is no glob.
    pub fn list_files(
        &self,
        repo: &Repo,
        commit: &str,
        patterns: &[String],
        progress: &dyn Progress,
    ) -> Result<Vec<Entry>> {
        let mut found = BTreeMap::new();
        for pattern in patterns {
            let (folder, rest) = literal_folder(pattern);
            let deep = rest.contains('/') || rest.contains("**");
            let depth = if deep { Depth::Recursive } else { Depth::Children };
            let (files, folders) = self.list_tree(repo, commit, folder, depth, progress)?;
            found.extend(files.into_iter().map(|f| (f.path.clone(), f)));
            let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
            let glob = glob::Pattern::new(rest).map_err(|e| Error::Invalid(format!("{pattern} is no glob: {e}")))?;
            for folder in folders.iter().filter(|path| glob.matches(&name(path))) {
                let (files, _) = self.list_tree(repo, commit, folder, Depth::Recursive, progress)?;
                found.extend(files.into_iter().map(|f| (f.path.clone(), f)));
            }
        }
        Ok(found.into_values().collect())
    }
}

/// A glob as the folder that it certainly lies in, and the rest.
fn literal_folder(pattern: &str) -> (&str, &str) {
    let wild = pattern.find(['*', '?', '[']).unwrap_or(pattern.len());
    match pattern[..wild].rfind('/') {
        Some(slash) => (&pattern[..slash], &pattern[slash + 1..]),
        None => ("", pattern),
    }
}

fn entry(item: TreeItem) -> Entry {
    let (size, sha256) = match item.lfs {
        Some(lfs) => (lfs.size, Some(lfs.oid)),
        None => (item.size, None),
    };
    Entry { path: item.path, size, git: item.oid, sha256 }
}

/// The address of the next page: `Link: <...>; rel="next"`.
fn next(head: &HeaderMap) -> Option<String> {
    let links = head.get("link")?.to_str().ok()?;
    let link = links.split(',').find(|l| l.contains("rel=\"next\""))?;
    Some(link.split_once('<')?.1.split_once('>')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_folders_of_a_glob_are_listed() {
        for (pattern, folder, rest) in [
            ("*.json", "", "*.json"),
            ("multilingual/c4-it.*.json.gz", "multilingual", "c4-it.*.json.gz"),
            ("a/b/**/*.json", "a/b", "**/*.json"),
            ("data", "", "data"),
            ("a/*/c", "a", "*/c"),
        ] {
            assert_eq!(literal_folder(pattern), (folder, rest), "{pattern}");
        }
    }

    #[test]
    fn the_next_page_is_in_a_header() {
        let mut head = HeaderMap::new();
        assert_eq!(next(&head), None);
        let link = "<https://h/first>; rel=\"first\", <https://h/api?cursor=x>; rel=\"next\"";
        head.insert("link", link.parse().unwrap_or_else(|_| panic!("{link}")));
        assert_eq!(next(&head).as_deref(), Some("https://h/api?cursor=x"));
    }
}
