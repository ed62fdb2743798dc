//! Many files into the cache, several at a time.

use std::path::PathBuf;

use setaccio_base::progress::Progress;

use crate::{client::Client, error::Result, listing::Entry, parallel::try_parallel, repo::Repo};

/// A file that is wanted.
#[derive(Clone, Debug)]
pub struct RemoteFile {
    /// Its repository.
    pub repo: Repo,
    /// The commit.
    pub commit: String,
    /// The file.
    pub entry: Entry,
}

impl Client {
    /// The paths of the wanted files in the cache, in their order.
    ///
    /// # Errors
    /// What stopped the first of them; those that have arrived stay.
    pub fn pull(&self, wanted: &[RemoteFile], threads: usize, progress: &dyn Progress) -> Result<Vec<PathBuf>> {
        try_parallel(wanted.len(), threads, progress, |i, progress| {
            let RemoteFile { repo, commit, entry } = &wanted[i];
            self.download(repo, commit, entry, progress)
        })
    }
}
