//! One commit, and never two: whatever becomes of the answer, the next try first looks what is there.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};

use setaccio_base::progress::Progress;

use crate::{
    client::Client,
    error::{Error, Result},
    listing::{Depth, Entry},
    repo::{Repo, percent_encode},
    request::{ApiRequest, Payload, RequestContext},
    retry::RetryableError,
    upload::{CommitTarget, UploadFile},
};

/// What a commit is called and changes.
pub struct CommitRequest<'a> {
    /// First line of its message.
    pub title: &'a str,
    /// The rest of its message.
    pub message: &'a str,
    /// The commit that it goes upon.
    pub parent: &'a str,
    /// Files that are added or replaced.
    pub files: &'a [&'a UploadFile],
    /// Paths of those in large file storage.
    pub large: &'a BTreeSet<String>,
    /// Paths that are deleted.
    pub deleted: &'a [String],
}

/// A commit that was made.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommitInfo {
    /// Its hash.
    pub commit_oid: String,
    /// The page of the pull request, if it is one.
    pub pull_request_url: Option<String>,
}

#[derive(Deserialize)]
struct Discussions {
    #[serde(default)]
    start: usize,
    #[serde(default)]
    count: usize,
    #[serde(rename = "discussions")]
    found: Vec<Discussion>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Discussion {
    num: u64,
    title: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    is_pull_request: bool,
}

#[derive(Deserialize)]
struct CommitMessage {
    #[serde(default)]
    title: String,
    #[serde(default)]
    message: String,
}

impl Client {
    /// Make a commit.
    ///
    /// # Errors
    /// The Hub refuses or cannot be reached, or somebody else has committed since `parent`.
    pub fn commit(
        &self,
        target: CommitTarget<'_>,
        change: &CommitRequest<'_>,
        progress: &dyn Progress,
    ) -> Result<CommitInfo> {
        let url =
            target.repo.api(self.endpoint(), &format!("commit/{}{}", percent_encode(target.branch), target.query()));
        let payload = Payload::Bytes(body(change)?, "application/x-ndjson");
        let request =
            ApiRequest { method: "POST", url: url.clone(), headers: Vec::new(), payload, context: target.context() };
        let mut doubtful = false;
        self.with_retry(progress, || {
            // The last try may have been heard although its answer was lost.
            if doubtful && let Some(made) = self.find_commit(target, change, progress)? {
                return Ok(made);
            }
            doubtful = true;
            match self.text_once(&request, progress) {
                Ok((_, text)) => serde_json::from_str(&text)
                    .map_err(|e| RetryableError::transient(Error::invalid_response(&url, e.to_string()))),
                Err(RetryableError { error: moved @ Error::ParentMoved { .. }, .. }) => {
                    let made = self.find_commit(target, change, progress)?;
                    made.ok_or_else(|| moved.into())
                }
                Err(failure) => Err(failure),
            }
        })
    }

    /// The commit that has what `change` asks for, if it was made after `parent`.
    fn find_commit(
        &self,
        target: CommitTarget<'_>,
        change: &CommitRequest<'_>,
        progress: &dyn Progress,
    ) -> Result<Option<CommitInfo>> {
        if target.pull_request {
            let whole = |tree: &[Entry]| change.is_in(tree);
            return self.find_pull_request(target.repo, change.title, &whole, progress);
        }
        let head = self.revision_info(target.repo, target.branch, progress)?.sha;
        if head == change.parent {
            return Ok(None);
        }
        let (tree, _) = self.list_tree(target.repo, &head, "", Depth::Recursive, progress)?;
        Ok(change.is_in(&tree).then_some(CommitInfo { commit_oid: head, pull_request_url: None }))
    }

    /// An open pull request with this title whose files are `whole`.
    pub fn find_pull_request(
        &self,
        repo: &Repo,
        title: &str,
        whole: &dyn Fn(&[Entry]) -> bool,
        progress: &dyn Progress,
    ) -> Result<Option<CommitInfo>> {
        let context = RequestContext { repo: Some(repo), ..Default::default() };
        let ours =
            |d: &&Discussion| d.is_pull_request && d.title == title && d.status != "closed" && d.status != "merged";
        for page in 0.. {
            let url = repo.api(self.endpoint(), &format!("discussions?p={page}&type=pull_request&status=open"));
            let open: Discussions = self.json(&ApiRequest::get(url, context), progress)?;
            for discussion in open.found.iter().filter(ours) {
                let revision = format!("refs/pr/{}", discussion.num);
                let head = self.revision_info(repo, &revision, progress)?.sha;
                if whole(&self.list_tree(repo, &head, "", Depth::Recursive, progress)?.0) {
                    let url = format!("{}/discussions/{}", repo.page(self.endpoint()), discussion.num);
                    return Ok(Some(CommitInfo { commit_oid: head, pull_request_url: Some(url) }));
                }
            }
            if open.found.is_empty() || open.start + open.found.len() >= open.count {
                break;
            }
        }
        Ok(None)
    }

    /// What stands behind `key` in the newest commit message that has it.
    pub fn commit_trailer(
        &self,
        repo: &Repo,
        revision: &str,
        key: &str,
        progress: &dyn Progress,
    ) -> Result<Option<String>> {
        let context = RequestContext { repo: Some(repo), revision: Some(revision), ..Default::default() };
        let mut page = 0;
        loop {
            let url = repo.api(self.endpoint(), &format!("commits/{}?p={page}&limit=100", percent_encode(revision)));
            let commits: Vec<CommitMessage> = self.json(&ApiRequest::get(url, context), progress)?;
            let told = commits.iter().flat_map(|c| [&c.title, &c.message]);
            let mut found = told.flat_map(|text| text.lines()).filter_map(|l| l.trim().strip_prefix(key));
            if let Some(value) = found.next() {
                return Ok(Some(value.trim().to_owned()));
            }
            page += 1;
            if commits.len() < 100 || page == 10 {
                return Ok(None);
            }
        }
    }
}

impl CommitRequest<'_> {
    /// Whether a repository with these files has all that this change asks for.
    fn is_in(&self, tree: &[Entry]) -> bool {
        let there: BTreeMap<&str, &Entry> = tree.iter().map(|e| (e.path.as_str(), e)).collect();
        self.files.iter().all(|f| there.get(f.path.as_str()).is_some_and(|e| same_content(f, e)))
            && self.deleted.iter().all(|path| !there.contains_key(path.as_str()))
    }
}

/// Whether a file here has the content of one there.
pub fn same_content(file: &UploadFile, entry: &Entry) -> bool {
    match &entry.sha256 {
        Some(sha256) => *sha256 == file.sha256,
        None => entry.git == file.git,
    }
}

/// One JSON object a line: the message, then the operations.
fn body(change: &CommitRequest<'_>) -> Result<Vec<u8>> {
    let header = json!({ "summary": change.title, "description": change.message, "parentCommit": change.parent });
    let mut lines = vec![json!({ "key": "header", "value": header })];
    for file in change.files {
        lines.push(if change.large.contains(&file.path) {
            let value = json!({ "path": file.path, "algo": "sha256", "oid": file.sha256, "size": file.size });
            json!({ "key": "lfsFile", "value": value })
        } else {
            let content = STANDARD.encode(file.bytes()?);
            json!({ "key": "file", "value": { "path": file.path, "encoding": "base64", "content": content } })
        });
    }
    lines.extend(change.deleted.iter().map(|path| json!({ "key": "deletedFile", "value": { "path": path } })));
    Ok(lines.iter().flat_map(|line: &Value| format!("{line}\n").into_bytes()).collect())
}
