//! Content to the Hub: which way each file goes, and the large ones into its storage.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::Read,
    path::PathBuf,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    client::{About, Call, Client, Payload, Trouble, absolute, shown},
    digest::{Oid, Running},
    error::{Error, Result},
    names::{Repo, encoded},
    pull::several,
    watch::Watch,
};

/// Files asked about at a time, as Python's tools do it.
const PREUPLOAD: usize = 256;
/// Large files announced at a time.
const BATCH: usize = 100;
/// Files uploaded at a time.
const AT_A_TIME: usize = 4;
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
pub struct Local {
    /// Its path in the repository.
    pub path: String,
    /// What it holds.
    pub content: Content,
}

/// A file to push, read through once.
#[derive(Clone, Debug)]
pub struct Hashed {
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

impl Hashed {
    /// Read a file through.
    ///
    /// # Errors
    /// It cannot be read, or Ctrl-C.
    pub fn new(local: &Local, watch: &dyn Watch) -> Result<Self> {
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
        let mut hashes = [Oid::Sha256(String::new()), Oid::Git(String::new())].map(|oid| Running::like(&oid, size));
        let (mut sample, mut block) = (Vec::new(), vec![0; 256 << 10]);
        loop {
            if watch.cancelled() {
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
        if crate::digest::sha256(&bytes) == self.sha256 {
            return Ok(bytes);
        }
        Err(Error::Name(format!("{} was changed while it was pushed; run the same command again", self.path)))
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

#[derive(Deserialize)]
struct Batch {
    objects: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    oid: String,
    actions: Option<Actions>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Actions {
    upload: Option<Action>,
    verify: Option<Action>,
}

#[derive(Clone, Deserialize)]
struct Action {
    href: String,
    #[serde(default)]
    header: BTreeMap<String, Value>,
}

/// Where a push goes.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// The repository.
    pub repo: &'a Repo,
    /// The branch.
    pub branch: &'a str,
    /// Whether the commit becomes a pull request.
    pub pull: bool,
}

impl<'a> Target<'a> {
    /// For messages.
    pub fn about(&self) -> About<'a> {
        About { repo: Some(self.repo), revision: Some(self.branch), file: None, writes: true }
    }

    /// What comes behind an address that a pull request is asked of.
    pub fn query(&self) -> &'static str {
        if self.pull { "?create_pr=1" } else { "" }
    }
}

impl Client {
    /// Paths of the files that go to large file storage. The Hub decides: by size, by name, or because a file is
    /// no text; an empty file is always a small one.
    ///
    /// # Errors
    /// The Hub refuses or cannot be reached.
    pub fn large(&self, target: Target<'_>, files: &[&Hashed], watch: &dyn Watch) -> Result<BTreeSet<String>> {
        let mut large = BTreeSet::new();
        let url = target.repo.api(self.endpoint(), &format!("preupload/{}", encoded(target.branch)));
        for some in files.chunks(PREUPLOAD) {
            let told =
                some.iter().map(|f| json!({ "path": f.path, "size": f.size, "sample": STANDARD.encode(&f.sample) }));
            let body = json!({ "files": told.collect::<Value>() });
            let call = Call::post(format!("{url}{}", target.query()), &body, target.about())?;
            let modes: Modes = self.json(&call, watch)?;
            let empty = |path: &str| some.iter().any(|f| f.path == path && f.size == 0);
            large.extend(modes.files.into_iter().filter(|m| m.upload_mode == "lfs" && !empty(&m.path)).map(|m| m.path));
        }
        Ok(large)
    }

    /// Upload large files; what the storage has is not sent again. They belong to no commit yet.
    ///
    /// # Errors
    /// The Hub or its storage refuses or cannot be reached, a file changed meanwhile, Ctrl-C. What has arrived
    /// stays, and is not sent again by the next try.
    pub fn upload(&self, target: Target<'_>, files: &[&Hashed], watch: &dyn Watch) -> Result<()> {
        let url = format!("{}.git/info/lfs/objects/batch", target.repo.page(self.endpoint()));
        for some in files.chunks(BATCH) {
            let objects: Value = some.iter().map(|f| json!({ "oid": f.sha256, "size": f.size })).collect();
            let mut body = json!({
                "operation": "upload", "transfers": ["basic", "multipart"], "hash_algo": "sha256", "objects": objects
            });
            if !target.pull {
                body["ref"] = json!({ "name": target.branch });
            }
            let mut call = Call::post(url.clone(), &body, target.about())?;
            let kind = "application/vnd.git-lfs+json";
            call.headers.push(("accept".into(), kind.into()));
            if let Payload::Bytes(_, media) = &mut call.payload {
                *media = kind;
            }
            let batch: Batch = self.json(&call, watch)?;
            let mut todo = Vec::new();
            for object in batch.objects {
                if let Some(error) = object.error {
                    let message = error.get("message").and_then(Value::as_str).unwrap_or("no reason given");
                    return Err(Error::Forbidden {
                        said: self.cleaned(message),
                        page: target.repo.page(self.endpoint()),
                    });
                }
                let Some(file) = some.iter().find(|f| f.sha256 == object.oid) else { continue };
                match object.actions {
                    Some(Actions { upload: Some(upload), verify }) => todo.push((*file, upload, verify)),
                    _ => watch.bytes(file.size),
                }
            }
            several(todo.len(), AT_A_TIME, watch, |i, watch| {
                let (file, upload, verify) = &todo[i];
                self.one_large(target, file, upload, watch)?;
                let Some(verify) = verify else { return Ok(()) };
                let body = json!({ "oid": file.sha256, "size": file.size });
                let mut call = Call::post(absolute(self.endpoint(), &verify.href), &body, target.about())?;
                call.headers.extend(texts(&verify.header));
                self.text(&call, watch).map(drop)
            })?;
        }
        Ok(())
    }

    fn one_large(&self, target: Target<'_>, file: &Hashed, action: &Action, watch: &dyn Watch) -> Result<()> {
        let url = absolute(self.endpoint(), &action.href);
        let number = |v: &Value| v.as_u64().or_else(|| v.as_str()?.parse().ok());
        let Some(part) = action.header.get("chunk_size").and_then(number).filter(|n| *n > 0) else {
            let headers = texts(&action.header).collect();
            self.put(target, file, (url, headers), (0, file.size), watch)?;
            return Ok(());
        };
        // Parts are named by their numbers among the headers.
        let mut parts: Vec<(u64, String)> = action
            .header
            .iter()
            .filter_map(|(name, url)| Some((name.parse().ok()?, url.as_str()?.to_owned())))
            .collect();
        parts.sort();
        if parts.len() as u64 != file.size.div_ceil(part) {
            let message = format!("{} parts of {part} bytes for a file of {} bytes", parts.len(), file.size);
            return Err(Error::Answer { url: shown(&url), message });
        }
        let mut done = Vec::new();
        for ((number, url), offset) in parts.into_iter().zip((0..).map(|i| i * part)) {
            let length = part.min(file.size - offset);
            let etag = self.put(target, file, (url, Vec::new()), (offset, length), watch)?;
            done.push(json!({ "partNumber": number, "etag": etag }));
        }
        let body = json!({ "oid": file.sha256, "parts": done });
        self.text(&Call::post(url, &body, target.about())?, watch).map(drop)
    }

    /// Send a part of a file; the storage's tag for it.
    fn put(
        &self,
        target: Target<'_>,
        file: &Hashed,
        (url, headers): (String, Vec<(String, String)>),
        (offset, length): (u64, u64),
        watch: &dyn Watch,
    ) -> Result<String> {
        let payload = match &file.content {
            Content::File(path) => Payload::Part { path: path.clone(), offset, length },
            Content::Bytes(bytes) => {
                let cut = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(bytes.len());
                Payload::Bytes(bytes[cut(offset)..cut(offset + length)].to_vec(), "application/octet-stream")
            }
        };
        // A storage knows neither the token nor the repository: its refusals are its own.
        let about = About { writes: false, ..target.about() };
        let call = Call { method: "PUT", url, headers, payload, about };
        let (head, _) = self.patiently(watch, || {
            self.text_once(&call).map_err(|trouble| match trouble {
                // A storage in trouble answers with any of these.
                Trouble { error: Error::Status { status: 400.., .. }, .. } => Trouble { again: true, ..trouble },
                trouble => trouble,
            })
        })?;
        watch.bytes(length);
        Ok(head.get("etag").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned())
    }
}

fn texts(header: &BTreeMap<String, Value>) -> impl Iterator<Item = (String, String)> {
    header.iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
}
