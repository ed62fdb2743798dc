//! What is pushed: content read through for its hashes, and which way the Hub wants each file.

use std::{collections::BTreeSet, fs::File, io::Read, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};

use setaccio_base::{progress::Progress, sha256::hex_digest};

use crate::{
    client::Client,
    error::{Error, Result},
    oid::{Oid, OidHasher},
    repo::{Repo, percent_encode},
    request::{ApiRequest, RequestContext},
};

/// Files asked about at a time, as Python's tools do it.
const PREUPLOAD: usize = 256;
/// Bytes from which the Hub judges whether a file is text.
const SAMPLE: usize = 512;

/// Where content comes from.
#[derive(Clone, Debug)]
pub enum Content {
    /// A file on this machine.
    File(PathBuf),
    /// Text that was written for the Hub.
    Bytes(Vec<u8>),
}

/// A file to push.
#[derive(Clone, Debug)]
pub struct LocalFile {
    /// Its path in the repository.
    pub path: String,
    /// What it holds.
    pub content: Content,
}

/// A file to push, read through once.
#[derive(Clone, Debug)]
pub struct UploadFile {
    /// Its path in the repository.
    pub path: String,
    /// What it holds.
    pub content: Content,
    /// Bytes.
    pub size: u64,
    /// SHA-256, hex.
    pub sha256: String,
    /// git's hash, hex.
    pub git: String,
    sample: Vec<u8>,
}

impl UploadFile {
    /// Read a file through.
    pub fn new(local: &LocalFile, progress: &dyn Progress) -> Result<Self> {
        let open = |path: &PathBuf| File::open(path).map_err(Error::io("open", path));
        let (mut reader, size): (Box<dyn Read>, u64) = match &local.content {
            Content::Bytes(bytes) => (Box::new(bytes.as_slice()), bytes.len() as u64),
            Content::File(path) => {
                let file = open(path)?;
                let size = file.metadata().map_err(Error::io("read", path))?.len();
                (Box::new(file), size)
            }
        };
        let unread = |error| match &local.content {
            Content::File(path) => Error::io("read", path)(error),
            Content::Bytes(_) => Error::io("read", &local.path)(error),
        };
        let mut hashes = [Oid::Sha256(String::new()), Oid::Git(String::new())].map(|oid| OidHasher::new(&oid, size));
        let (mut sample, mut block) = (Vec::new(), vec![0; 256 << 10]);
        loop {
            if progress.cancelled() {
                return Err(Error::Interrupted);
            }
            let n = reader.read(&mut block).map_err(unread)?;
            if n == 0 {
                break;
            }
            sample.extend_from_slice(&block[..n.min(SAMPLE - sample.len().min(SAMPLE))]);
            for hash in &mut hashes {
                hash.update(&block[..n]);
            }
        }
        let [sha256, git] = hashes.map(|h| h.finish().hex().to_owned());
        let (path, content) = (local.path.clone(), local.content.clone());
        Ok(Self { path, content, size, sha256, git, sample })
    }

    /// All of it, for files small enough to be sent within a commit.
    ///
    /// # Errors
    /// It cannot be read, or was changed meanwhile.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let bytes = match &self.content {
            Content::Bytes(bytes) => bytes.clone(),
            Content::File(path) => std::fs::read(path).map_err(Error::io("read", path))?,
        };
        if hex_digest(&bytes) == self.sha256 {
            return Ok(bytes);
        }
        Err(Error::Invalid(format!("{} was changed while it was pushed; run the same command again", self.path)))
    }
}

#[derive(Deserialize)]
struct Modes {
    files: Vec<Mode>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mode {
    path: String,
    upload_mode: String,
}

/// Where a push goes.
#[derive(Clone, Copy)]
pub struct CommitTarget<'a> {
    /// The repository.
    pub repo: &'a Repo,
    /// The branch.
    pub branch: &'a str,
    /// Whether the commit becomes a pull request.
    pub pull_request: bool,
}

impl<'a> CommitTarget<'a> {
    /// For messages.
    pub fn context(&self) -> RequestContext<'a> {
        RequestContext { repo: Some(self.repo), revision: Some(self.branch), file: None, writes: true }
    }

    /// What comes behind an address that a pull request is asked of.
    pub fn query(&self) -> &'static str {
        if self.pull_request { "?create_pr=1" } else { "" }
    }
}

impl Client {
    /// Paths of the files that go to large file storage. The Hub decides: by size, by name, or because a file is
    /// no text; an empty file is always a small one.
    pub fn preupload(
        &self,
        target: CommitTarget<'_>,
        files: &[&UploadFile],
        progress: &dyn Progress,
    ) -> Result<BTreeSet<String>> {
        let mut large = BTreeSet::new();
        let url = target.repo.api(self.endpoint(), &format!("preupload/{}", percent_encode(target.branch)));
        for some in files.chunks(PREUPLOAD) {
            let told =
                some.iter().map(|f| json!({ "path": f.path, "size": f.size, "sample": STANDARD.encode(&f.sample) }));
            let body = json!({ "files": told.collect::<Value>() });
            let request = ApiRequest::post(format!("{url}{}", target.query()), &body, target.context())?;
            let modes: Modes = self.json(&request, progress)?;
            let empty = |path: &str| some.iter().any(|f| f.path == path && f.size == 0);
            large.extend(modes.files.into_iter().filter(|m| m.upload_mode == "lfs" && !empty(&m.path)).map(|m| m.path));
        }
        Ok(large)
    }
}
