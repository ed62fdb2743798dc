//! Large files into the Hub's storage: those that it lacks, whole or in parts, several pieces at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde::Deserialize;
use serde_json::{Value, json};

use setaccio_base::progress::Progress;

use crate::{
    client::Client,
    error::{Error, Result},
    parallel::try_parallel,
    request::{ApiRequest, Payload, RequestContext},
    retry::RetryableError,
    upload::{CommitTarget, Content, UploadFile},
    url::join_url,
};

/// Files announced at a time.
const BATCH: usize = 100;
/// Pieces uploaded at a time.
const AT_A_TIME: usize = 4;
/// The media type of Git LFS.
const MEDIA: &str = "application/vnd.git-lfs+json";

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

/// A file on its way.
struct FileUpload<'a> {
    file: &'a UploadFile,
    upload: Action,
    verify: Option<Action>,
    /// Whether it goes in parts, which have to be put together.
    parted: bool,
    /// Pieces that are still to go.
    left: AtomicUsize,
    /// What the storage calls each part.
    tags: Mutex<BTreeMap<u64, String>>,
}

/// A piece of a file: all of it, or a part.
struct UploadPart {
    /// Which of the files.
    of: usize,
    number: u64,
    url: String,
    headers: Vec<(String, String)>,
    offset: u64,
    length: u64,
}

impl Client {
    /// Upload large files; what the storage has is not sent again. They belong to no commit yet.
    ///
    /// # Errors
    /// The Hub or its storage refuses or cannot be reached, a file changed meanwhile, Ctrl-C. Files that have arrived
    /// stay, and are not sent again by the next try; of a file in parts, the storage keeps nothing until all are there.
    pub(crate) fn upload_lfs(
        &self,
        target: CommitTarget<'_>,
        files: &[&UploadFile],
        progress: &dyn Progress,
    ) -> Result<()> {
        let mut known = BTreeSet::new();
        // What lies under two names goes up once.
        let (once, twice): (Vec<&UploadFile>, Vec<_>) =
            files.iter().copied().partition(|f| known.insert(f.sha256.as_str()));
        progress.bytes(twice.iter().map(|f| f.size).sum());
        for some in once.chunks(BATCH) {
            let (mut sending, mut pieces) = (Vec::new(), Vec::new());
            for object in self.lfs_batch(target, some, progress)? {
                let Some(file) = some.iter().find(|f| f.sha256 == object.oid) else { continue };
                match object.actions {
                    Some(Actions { upload: Some(upload), verify }) => {
                        let cut = self.upload_parts(sending.len(), file, &upload)?;
                        let (parted, left) = (chunk(&upload).is_some(), AtomicUsize::new(cut.len()));
                        pieces.extend(cut);
                        sending.push(FileUpload { file, upload, verify, parted, left, tags: Mutex::default() });
                    }
                    _ => progress.bytes(file.size),
                }
            }
            try_parallel(pieces.len(), AT_A_TIME, progress, |i, progress| {
                let piece = &pieces[i];
                let sent = &sending[piece.of];
                let tag = self.upload_part(target, sent.file, piece, progress)?;
                sent.tags.lock().unwrap_or_else(PoisonError::into_inner).insert(piece.number, tag);
                // Whoever brings the last piece closes the file, so that it stays whatever becomes of the others.
                if sent.left.fetch_sub(1, Ordering::AcqRel) == 1 {
                    self.complete_upload(target, sent, progress)
                } else {
                    Ok(())
                }
            })?;
        }
        Ok(())
    }

    /// What the storage wants to be done for these files.
    fn lfs_batch(
        &self,
        target: CommitTarget<'_>,
        files: &[&UploadFile],
        progress: &dyn Progress,
    ) -> Result<Vec<Object>> {
        let objects: Value = files.iter().map(|f| json!({ "oid": f.sha256, "size": f.size })).collect();
        let mut body = json!({
            "operation": "upload", "transfers": ["basic", "multipart"], "hash_algo": "sha256", "objects": objects
        });
        // Whoever proposes a change need not be allowed to write to the branch.
        if !target.pull_request {
            body["ref"] = json!({ "name": target.branch });
        }
        let url = format!("{}.git/info/lfs/objects/batch", target.repo.page(self.endpoint()));
        let mut request = ApiRequest::post(url, &body, target.context())?;
        request.headers.push(("accept".into(), MEDIA.into()));
        if let Payload::Bytes(_, media) = &mut request.payload {
            *media = MEDIA;
        }
        let batch: Batch = self.json(&request, progress)?;
        if let Some(error) = batch.objects.iter().find_map(|o| o.error.as_ref()) {
            let said =
                self.settings().redact(error.get("message").and_then(Value::as_str).unwrap_or("no reason given"));
            return Err(Error::Forbidden { said, page: target.repo.page(self.endpoint()) });
        }
        Ok(batch.objects)
    }

    /// The pieces that a file is to be sent in. The addresses of parts stand under their numbers among the headers.
    fn upload_parts(&self, of: usize, file: &UploadFile, upload: &Action) -> Result<Vec<UploadPart>> {
        let url = join_url(self.endpoint(), &upload.href);
        let Some(part) = chunk(upload) else {
            let headers = texts(&upload.header).collect();
            return Ok(vec![UploadPart { of, number: 0, url, headers, offset: 0, length: file.size }]);
        };
        let mut parts: Vec<(u64, &str)> =
            upload.header.iter().filter_map(|(name, url)| Some((name.parse().ok()?, url.as_str()?))).collect();
        parts.sort_unstable();
        if parts.len() as u64 != file.size.div_ceil(part) {
            let message = format!("{} parts of {part} bytes for a file of {} bytes", parts.len(), file.size);
            return Err(Error::invalid_response(&url, message));
        }
        let piece = |((number, url), offset): ((u64, &str), u64)| {
            let url = join_url(self.endpoint(), url);
            UploadPart { of, number, url, headers: Vec::new(), offset, length: part.min(file.size - offset) }
        };
        Ok(parts.into_iter().zip((0..).map(|i| i * part)).map(piece).collect())
    }

    /// Send a piece; the storage's tag for it.
    fn upload_part(
        &self,
        target: CommitTarget<'_>,
        file: &UploadFile,
        piece: &UploadPart,
        progress: &dyn Progress,
    ) -> Result<String> {
        let (offset, length) = (piece.offset, piece.length);
        let payload = match &file.content {
            Content::File(path) => Payload::FilePart { path: path.clone(), offset, length },
            Content::Bytes(bytes) => {
                let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(bytes.len());
                Payload::Bytes(bytes[at(offset)..at(offset + length)].to_vec(), "application/octet-stream")
            }
        };
        // A storage knows neither the token nor the repository: its refusals are its own.
        let context = RequestContext { writes: false, ..target.context() };
        let request =
            ApiRequest { method: "PUT", url: piece.url.clone(), headers: piece.headers.clone(), payload, context };
        let (head, _) = self.with_retry(progress, || {
            self.text_once(&request, progress).map_err(|failure| match failure {
                // A storage in trouble answers with any of these.
                RetryableError { error: Error::Status { .. } | Error::Refused { .. }, .. } => {
                    RetryableError { retry: true, ..failure }
                }
                failure => failure,
            })
        })?;
        if matches!(file.content, Content::Bytes(_)) {
            progress.bytes(length);
        }
        Ok(head.get("etag").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned())
    }

    /// All pieces of a file are there: have them put together, and looked at.
    fn complete_upload(&self, target: CommitTarget<'_>, sent: &FileUpload<'_>, progress: &dyn Progress) -> Result<()> {
        let file = sent.file;
        if sent.parted {
            let tags = sent.tags.lock().unwrap_or_else(PoisonError::into_inner);
            let parts: Vec<Value> = tags.iter().map(|(n, tag)| json!({ "partNumber": n, "etag": tag })).collect();
            let url = join_url(self.endpoint(), &sent.upload.href);
            let body = json!({ "oid": file.sha256, "parts": parts });
            match self.text(&ApiRequest::post(url, &body, target.context())?, progress) {
                // An answer that was lost has put them together all the same, and a second request finds no parts.
                Err(Error::Status { .. } | Error::Refused { .. } | Error::RepoNotFound { .. })
                    if self.is_stored(target, file, progress)? => {}
                done => drop(done?),
            }
        }
        let Some(verify) = &sent.verify else { return Ok(()) };
        let body = json!({ "oid": file.sha256, "size": file.size });
        let mut request = ApiRequest::post(join_url(self.endpoint(), &verify.href), &body, target.context())?;
        request.headers.extend(texts(&verify.header));
        self.text(&request, progress).map(drop)
    }

    fn is_stored(&self, target: CommitTarget<'_>, file: &UploadFile, progress: &dyn Progress) -> Result<bool> {
        let objects = self.lfs_batch(target, &[file], progress)?;
        Ok(objects.iter().all(|o| o.actions.as_ref().is_none_or(|a| a.upload.is_none())))
    }
}

/// The size of a file's parts in bytes, if it goes in parts.
fn chunk(upload: &Action) -> Option<u64> {
    let size = upload.header.get("chunk_size")?;
    size.as_u64().or_else(|| size.as_str()?.parse().ok()).filter(|n| *n > 0)
}

fn texts(header: &BTreeMap<String, Value>) -> impl Iterator<Item = (String, String)> {
    header.iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
}
