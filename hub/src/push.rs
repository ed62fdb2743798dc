//! A folder into a repository: what differs is uploaded, then one commit, and nothing where nothing differs.

use std::{collections::BTreeMap, time::Duration};

use similar::TextDiff;

use setaccio_base::progress::Progress;

use crate::{
    account::Visibility,
    client::Client,
    commit::{CommitInfo, CommitRequest, same_content},
    error::{Error, Result},
    listing::{Depth, Entry},
    repo::{self, Repo, percent_encode},
    upload::{CommitTarget, Content, LocalFile, UploadFile},
};

/// The card of a repository.
pub const CARD: &str = "README.md";
/// From here on, a rougher comparison of two cards is good enough.
const DIFF_TIMEOUT: Duration = Duration::from_secs(1);
/// Before git's hash of the card, in the message of each commit: how the next push knows a card that somebody
/// has edited from one that this program wrote, on whatever machine it runs.
const TRAILER: &str = "setaccio-card:";

/// What to push, and how.
pub struct Push<'a> {
    /// The repository, created if it is not there.
    pub repo: &'a Repo,
    /// Who may see a repository that is created.
    pub visibility: Visibility,
    /// The branch, created if it is not there.
    pub branch: &'a str,
    /// Make a pull request of it.
    pub pull_request: bool,
    /// First line of the commit's message.
    pub title: &'a str,
    /// Every file that the repository shall have.
    pub files: Vec<LocalFile>,
    /// Whether a file of the repository that is not among `files` is an earlier push's, to be deleted.
    pub stale: &'a (dyn Fn(&str) -> bool + Sync),
    /// Write over a card that was edited on the Hub.
    pub force: bool,
    /// Look, and change nothing.
    pub dry_run: bool,
    /// Told the size of what is about to be uploaded.
    pub begin: &'a (dyn Fn(u64) + Sync),
}

/// What a push did, or would do.
#[derive(Debug, Default)]
pub struct PushOutcome {
    /// The repository was created.
    pub created: bool,
    /// Files that are new or changed, and their bytes.
    pub changed: Vec<(String, u64)>,
    /// Files that were deleted.
    pub deleted: Vec<String>,
    /// Files that are there as they are here.
    pub unchanged: usize,
    /// The commit, if one was made, or an earlier pull request has all of it.
    pub commit: Option<String>,
    /// The page to look at.
    pub url: String,
}

impl Client {
    /// Push.
    ///
    /// # Errors
    /// No token that may write, a card that was edited on the Hub, a Hub that refuses or cannot be reached,
    /// Ctrl-C. Until the one commit nothing is to be seen on the Hub but an empty repository.
    pub fn push(&self, push: &Push<'_>, progress: &dyn Progress) -> Result<PushOutcome> {
        let repo = push.repo;
        repo::branch(push.branch)?;
        let writer = self.whoami(repo, progress)?;
        let hashed: Vec<UploadFile> = push.files.iter().map(|f| UploadFile::new(f, progress)).collect::<Result<_>>()?;
        let mut done = PushOutcome { url: repo.page(self.endpoint()), ..PushOutcome::default() };
        let head = self.parent_commit(push, &writer, &mut done, progress)?;
        let tree = match &head {
            Some(head) => self.list_tree(repo, head, "", Depth::Recursive, progress)?.0,
            None => Vec::new(),
        };
        let there: BTreeMap<&str, &Entry> = tree.iter().map(|e| (e.path.as_str(), e)).collect();
        let differs = |f: &&UploadFile| !there.get(f.path.as_str()).is_some_and(|e| same_content(f, e));
        let changed: Vec<&UploadFile> = hashed.iter().filter(differs).collect();
        let gone = |e: &&Entry| (push.stale)(&e.path) && hashed.iter().all(|f| f.path != e.path);
        done.deleted = tree.iter().filter(gone).map(|e| e.path.clone()).collect();
        done.changed = changed.iter().map(|f| (f.path.clone(), f.size)).collect();
        done.unchanged = hashed.len() - changed.len();
        if push.branch != "main" {
            done.url = format!("{}/tree/{}", done.url, percent_encode(push.branch));
        }
        if changed.is_empty() && done.deleted.is_empty() {
            return Ok(done);
        }
        let Some(head) = head else { return Ok(done) };
        let card = changed.iter().find(|f| f.path == CARD);
        if let (Some(card), Some(old), false) = (card, there.get(CARD), push.force) {
            self.check_card(push, &head, card, old, progress)?;
        }
        if push.dry_run {
            return Ok(done);
        }
        let target = CommitTarget { repo, branch: push.branch, pull_request: push.pull_request };
        if push.pull_request {
            let whole = |tree: &[Entry]| {
                hashed.iter().all(|f| tree.iter().any(|e| e.path == f.path && same_content(f, e)))
                    && done.deleted.iter().all(|path| tree.iter().all(|e| e.path != *path))
            };
            if let Some(CommitInfo { commit_oid: _, pull_request_url }) =
                self.find_pull_request(repo, push.title, &whole, progress)?
            {
                done.unchanged = hashed.len();
                done.changed.clear();
                done.deleted.clear();
                done.url = pull_request_url.unwrap_or(done.url);
                return Ok(done);
            }
        }
        let large = self.preupload(target, &changed, progress)?;
        let heavy: Vec<&UploadFile> = changed.iter().copied().filter(|f| large.contains(&f.path)).collect();
        (push.begin)(heavy.iter().map(|f| f.size).sum());
        self.upload_lfs(target, &heavy, progress)?;
        let oid = hashed.iter().find(|f| f.path == CARD).map(|f| format!("\n\n{TRAILER} {}", f.git));
        let message = format!("Pushed with setaccio {}.{}", env!("CARGO_PKG_VERSION"), oid.unwrap_or_default());
        let change = CommitRequest {
            title: push.title,
            message: &message,
            parent: &head,
            files: &changed,
            large: &large,
            deleted: &done.deleted,
        };
        let made = self.commit(target, &change, progress)?;
        done.commit = Some(made.commit_oid);
        done.url = made.pull_request_url.unwrap_or(done.url);
        Ok(done)
    }

    /// The commit to go upon; repository and branch are created where they are missing, unless nothing shall be
    /// changed.
    fn parent_commit(
        &self,
        push: &Push<'_>,
        writer: &str,
        done: &mut PushOutcome,
        progress: &dyn Progress,
    ) -> Result<Option<String>> {
        let repo = push.repo;
        let main = match self.revision_info(repo, "main", progress) {
            Err(Error::RepoNotFound { .. }) => {
                done.created = true;
                if push.dry_run {
                    return Ok(None);
                }
                self.create_repo(repo, writer, push.visibility, progress)?;
                self.revision_info(repo, "main", progress)?
            }
            info => info?,
        };
        // Before a byte has gone: what was to be private would be for everybody.
        if push.visibility == Visibility::Private && main.private == Some(false) {
            return Err(Error::RepoIsPublic { repo: repo.to_string(), page: repo.page(self.endpoint()) });
        }
        if push.branch == "main" {
            return Ok(Some(main.sha));
        }
        match self.revision_info(repo, push.branch, progress) {
            Err(Error::RevisionNotFound { .. }) if push.dry_run => Ok(Some(main.sha)),
            Err(Error::RevisionNotFound { .. }) => {
                self.create_branch(repo, push.branch, &main.sha, progress)?;
                Ok(Some(self.revision_info(repo, push.branch, progress)?.sha))
            }
            info => Ok(Some(info?.sha)),
        }
    }

    /// Check that the card on the Hub is the one that an earlier push wrote.
    fn check_card(
        &self,
        push: &Push<'_>,
        head: &str,
        card: &UploadFile,
        old: &Entry,
        progress: &dyn Progress,
    ) -> Result<()> {
        let written = self.commit_trailer(push.repo, push.branch, TRAILER, progress)?;
        if written.as_deref() == Some(old.git.as_str()) {
            return Ok(());
        }
        let path = self.download(push.repo, head, old, progress)?;
        let there = std::fs::read(&path).map_err(Error::io("read", &path))?;
        let here = match &card.content {
            Content::Bytes(bytes) => bytes.clone(),
            Content::File(path) => std::fs::read(path).map_err(Error::io("read", path))?,
        };
        let [there, here] = [there, here].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Err(Error::CardEdited { page: push.repo.page(self.endpoint()), difference: unified_diff(&there, &here) })
    }
}

/// What differs between two texts, with two lines around each change.
fn unified_diff(before: &str, after: &str) -> String {
    let diff = TextDiff::configure().timeout(DIFF_TIMEOUT).diff_lines(before, after);
    diff.unified_diff().context_radius(2).missing_newline_hint(false).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_shown() {
        assert_eq!(unified_diff("a\nb\nc\n", "a\nb\nc\n"), "");
        assert_eq!(unified_diff("a\nb\nc", "a\nx\nc"), "@@ -1,3 +1,3 @@\n a\n-b\n+x\n c\n");
        let many: Vec<String> = (0..20).map(|i| i.to_string()).collect();
        let changed = many.join("\n").replace("\n10\n", "\nten\n");
        let diff = unified_diff(&many.join("\n"), &changed);
        assert_eq!(diff, "@@ -9,5 +9,5 @@\n 8\n 9\n-10\n+ten\n 11\n 12\n");
    }
}
