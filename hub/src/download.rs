//! One file into the cache: taken up where an earlier try was cut, checked by size and hash, then put in place.

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
};

use setaccio_base::{atomic, progress::Progress};

use crate::{
    cache::Cache,
    client::Client,
    error::{Error, Result},
    listing::Entry,
    oid::OidHasher,
    repo::Repo,
    request::{ApiRequest, RequestContext},
    retry::{Attempt, RetryableError},
    url::without_query,
};

/// Bytes read and hashed at a time.
const BLOCK: usize = 256 << 10;

impl Client {
    /// The path of a file's content in the cache, downloaded if it is not there.
    ///
    /// # Errors
    /// The Hub refuses or cannot be reached, the content is not what was announced, a full disk, Ctrl-C.
    pub fn download(&self, repo: &Repo, commit: &str, entry: &Entry, progress: &dyn Progress) -> Result<PathBuf> {
        let cache = Cache::new(&self.settings().cache, repo);
        if let Some(path) = cache.cached_file(commit, entry) {
            progress.bytes(entry.size);
            return Ok(path);
        }
        let hash = entry.oid().hex().to_owned();
        let blob = cache.blob(&hash);
        atomic::create_parent(&blob)?;
        let _lock = cache.lock(&hash, progress)?;
        // Another process may have fetched it while we waited; another commit may have the same content.
        if fs::metadata(&blob).is_ok_and(|m| m.len() == entry.size) {
            progress.bytes(entry.size);
            return cache.link(commit, entry, &hash);
        }
        let partial = blob.with_file_name(format!("{hash}.incomplete"));
        self.fetch(repo, commit, entry, &partial, progress)?;
        fs::rename(&partial, &blob).map_err(Error::io("put in place", &blob))?;
        cache.link(commit, entry, &hash)
    }

    /// Fill `partial` until it is the whole content.
    fn fetch(&self, repo: &Repo, commit: &str, entry: &Entry, partial: &Path, progress: &dyn Progress) -> Result<()> {
        let url = repo.resolve(self.endpoint(), commit, &entry.path);
        let mut spoilt = false;
        loop {
            let mut file = PartialFile::open(entry, partial, progress)?;
            self.with_retry(progress, || self.stream(&url, (repo, commit, entry), &mut file, progress))?;
            let (file, found) = (file.file, file.hash.finish());
            if found == entry.oid() {
                file.sync_all().map_err(Error::io("flush", partial))?;
                return Ok(());
            }
            drop(file);
            fs::remove_file(partial).map_err(Error::io("remove", partial))?;
            if spoilt {
                let message = format!("{} instead of {}", found.hex(), entry.oid().hex());
                return Err(Error::HashMismatch { file: entry.path.clone(), url: without_query(&url), message });
            }
            // What an earlier run left may have been spoilt on the disk; a second time it is the sender's.
            spoilt = true;
        }
    }

    /// One request for what is missing.
    fn stream(
        &self,
        url: &str,
        (repo, commit, entry): (&Repo, &str, &Entry),
        partial: &mut PartialFile,
        progress: &dyn Progress,
    ) -> Attempt<()> {
        let start = partial.have;
        if start == entry.size {
            return Ok(());
        }
        let context =
            RequestContext { repo: Some(repo), revision: Some(commit), file: Some(&entry.path), writes: false };
        let mut request = ApiRequest::get(url.to_owned(), context);
        if start > 0 {
            request.headers.push(("range".into(), format!("bytes={start}-")));
        }
        let response = self.open(&request, progress)?;
        let from = match response.status().as_u16() {
            206 => {
                let range = response.headers().get("content-range").and_then(|v| v.to_str().ok());
                range.and_then(|r| r.strip_prefix("bytes ")?.split('-').next()?.parse().ok()).unwrap_or(u64::MAX)
            }
            _ => 0,
        };
        if from != start {
            // A server that does not know ranges sends all of it again.
            partial.restart(entry)?;
            if from != 0 {
                let error = Error::invalid_response(url, "it sends another part than was asked for");
                return Err(RetryableError::transient(error));
            }
        }
        let mut body = response.into_body().into_reader();
        let mut block = vec![0; BLOCK];
        let cut = |partial: &PartialFile, reason: String| RetryableError {
            progressed: partial.have > start,
            ..RetryableError::transient(Error::unreachable(url, &reason))
        };
        loop {
            if progress.cancelled() {
                return Err(Error::Interrupted.into());
            }
            match body.read(&mut block) {
                Ok(0) if partial.have == entry.size => return Ok(()),
                Ok(0) => {
                    return Err(cut(partial, format!("cut after {} of {} bytes", partial.have, entry.size)));
                }
                Ok(n) if partial.have + n as u64 > entry.size => {
                    let message = format!("more than the {} bytes that are announced", entry.size);
                    return Err(Error::invalid_response(url, message).into());
                }
                Ok(n) => {
                    partial.add(&block[..n])?;
                    progress.bytes(n as u64);
                }
                Err(error) => return Err(cut(partial, error.to_string())),
            }
        }
    }
}

/// A partial file and the hash of what it holds.
struct PartialFile {
    path: PathBuf,
    file: File,
    have: u64,
    hash: OidHasher,
}

impl PartialFile {
    /// What an earlier try left, read through for its hash.
    fn open(entry: &Entry, path: &Path, progress: &dyn Progress) -> Result<Self> {
        let options = File::options().create(true).append(true).read(true).truncate(false).to_owned();
        let mut file = options.open(path).map_err(Error::io("open", path))?;
        let mut partial = Self {
            path: path.to_owned(),
            file: file.try_clone().map_err(Error::io("open", path))?,
            have: 0,
            hash: OidHasher::new(&entry.oid(), entry.size),
        };
        if file.metadata().map_err(Error::io("read", path))?.len() > entry.size {
            partial.restart(entry)?;
        }
        let mut block = vec![0; BLOCK];
        loop {
            let n = file.read(&mut block).map_err(Error::io("read", path))?;
            if n == 0 {
                progress.bytes(partial.have);
                return Ok(partial);
            }
            partial.hash.update(&block[..n]);
            partial.have += n as u64;
        }
    }

    fn restart(&mut self, entry: &Entry) -> Result<()> {
        self.file.set_len(0).map_err(Error::io("cut", &self.path))?;
        self.have = 0;
        self.hash = OidHasher::new(&entry.oid(), entry.size);
        Ok(())
    }

    fn add(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::io("write", &self.path))?;
        self.hash.update(bytes);
        self.have += bytes.len() as u64;
        Ok(())
    }
}
