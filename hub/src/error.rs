//! Every way that talking to the Hub can fail: what happened, and the page or variable that mends it. No
//! sentence holds a token, a signed address or what a server answered unless [`crate::Settings::redact`] has cleaned it.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::url::{origin, without_query};

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why it stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A repository, revision or setting that cannot be one.
    #[error("{0}")]
    Invalid(String),
    /// A request that `HF_HUB_OFFLINE` forbids.
    #[error(
        "HF_HUB_OFFLINE is set, and {what} is not in the cache {cache}: run `setaccio pull` where there is a network, \
         or unset HF_HUB_OFFLINE"
    )]
    Offline {
        /// What would have been asked for.
        what: String,
        /// The cache that was looked into.
        cache: PathBuf,
    },
    /// Something that only the Hub can do or tell, while `HF_HUB_OFFLINE` forbids to ask it.
    #[error("HF_HUB_OFFLINE is set, and this cannot be done without asking the Hub for {what}: unset HF_HUB_OFFLINE")]
    NeedsHub {
        /// What would have been asked for.
        what: String,
    },
    /// No answer, or one that broke off again and again.
    #[error(
        "{host} cannot be reached ({reason}): look at https://status.huggingface.co, the network, HTTPS_PROXY and \
         HF_ENDPOINT, then run the same command again; what has arrived is kept"
    )]
    Unreachable {
        /// Scheme and host.
        host: String,
        /// What the network said.
        reason: String,
    },
    /// The Hub knows no such repository, or does not say that it does.
    #[error("{repo} does not exist, or is private and {token}: look at {page}")]
    RepoNotFound {
        /// RepoType and name.
        repo: String,
        /// What is wrong with the token, as a clause.
        token: String,
        /// Its page.
        page: String,
    },
    /// Terms have to be accepted first.
    #[error("{repo} is gated: accept its terms at {page}; {token}")]
    GatedRepo {
        /// RepoType and name.
        repo: String,
        /// What to do about the token, as a clause.
        token: String,
        /// Its page.
        page: String,
    },
    /// No such branch, tag or commit.
    #[error("{repo} has no branch, tag or commit `{revision}`: {page}/commits/main lists what there is")]
    RevisionNotFound {
        /// RepoType and name.
        repo: String,
        /// What was asked for.
        revision: String,
        /// The repository's page.
        page: String,
    },
    /// No such file at that revision.
    #[error("{repo} has no file {file} at {revision}: {page}/tree/{revision} lists what there is")]
    EntryNotFound {
        /// RepoType and name.
        repo: String,
        /// Its path.
        file: String,
        /// The revision.
        revision: String,
        /// The repository's page.
        page: String,
    },
    /// The token is refused.
    #[error(
        "the Hub refuses the token, which is wrong, revoked or expired: make one at {endpoint}/settings/tokens, and put \
         it into HF_TOKEN or the file {file}"
    )]
    InvalidToken {
        /// The Hub.
        endpoint: String,
        /// Where a token file would lie, as people write it.
        file: String,
    },
    /// Writing without a token.
    #[error(
        "pushing needs a token: make one with the role `write` at {endpoint}/settings/tokens, and put it into HF_TOKEN or the file {file}"
    )]
    NoToken {
        /// The Hub.
        endpoint: String,
        /// Where a token file would lie, as people write it.
        file: String,
    },
    /// A token that may read only.
    #[error("this token may read and not write {repo}: make one with the role `write` at {endpoint}/settings/tokens")]
    ReadOnly {
        /// RepoType and name.
        repo: String,
        /// The Hub.
        endpoint: String,
    },
    /// Writing is refused: to this token, or because the account or the repository is full.
    #[error("the Hub does not let this token write {repo}{said}: look at {pages}")]
    WriteForbidden {
        /// RepoType and name.
        repo: String,
        /// The server's words in brackets, or nothing.
        said: String,
        /// Its page, and that of tokens, as a clause.
        pages: String,
    },
    /// A new repository was to be private, and there is a public one of that name.
    #[error(
        "{repo} is there already, and everybody can see it: `--private` is for repositories that a push creates. Make it \
         private at {page}/settings, or push without `--private`; nothing was pushed"
    )]
    RepoIsPublic {
        /// RepoType and name.
        repo: String,
        /// Its page.
        page: String,
    },
    /// Not allowed, for another reason.
    #[error("the Hub does not allow it ({said}): look at {page}")]
    Forbidden {
        /// Its own words.
        said: String,
        /// The page.
        page: String,
    },
    /// Too many requests, and the wait that is asked for is too long to sit through.
    #[error(
        "the Hub {asks}: run the same command again later; what has arrived is kept. With a token ({endpoint}/settings/tokens) the limit is higher"
    )]
    RateLimited {
        /// What it asks for, as a clause.
        asks: String,
        /// The Hub.
        endpoint: String,
    },
    /// A status that says nothing we know.
    #[error(
        "{url} answers with status {status}{said}: look at https://status.huggingface.co and run the same command again"
    )]
    Status {
        /// The address, without its query.
        url: String,
        /// HTTP status.
        status: u16,
        /// The server's words in brackets, or nothing.
        said: String,
    },
    /// The Hub understood, and does not want it.
    #[error("the Hub does not take this: {url} answers with status {status}{said}; look at {page}")]
    Refused {
        /// The address, without its query.
        url: String,
        /// HTTP status.
        status: u16,
        /// The server's words in brackets, or nothing.
        said: String,
        /// The repository's page.
        page: String,
    },
    /// An answer that is not what the Hub's interface promises.
    #[error("{url} gives an answer that is no answer of a Hub ({message}): look at HF_ENDPOINT and proxies")]
    InvalidResponse {
        /// The address, without its query.
        url: String,
        /// What is wrong.
        message: String,
    },
    /// An answer that is longer than any that the Hub's interface gives as text.
    #[error(
        "{url} answers with more than {megabytes} MiB of text, which is no answer of a Hub: look at HF_ENDPOINT and proxies"
    )]
    TextTooLong {
        /// The address, without its query.
        url: String,
        /// The limit, in MiB.
        megabytes: u64,
    },
    /// What arrived is not what was announced.
    #[error("{file} arrived with other content than {url} announces, twice: {message}")]
    HashMismatch {
        /// The file's path in the repository.
        file: String,
        /// The address, without its query.
        url: String,
        /// What differs.
        message: String,
    },
    /// Somebody committed while we were about to.
    #[error(
        "{page} was changed by somebody else meanwhile: look at {page}/commits/main, and run the same command again"
    )]
    ParentMoved {
        /// The repository's page.
        page: String,
    },
    /// The card on the Hub is not the one that was pushed.
    #[error(
        "the card at {page} was edited there since the last push, or nobody pushed it: nothing was pushed. What a push \
         would do to it:\n{difference}take its text over into the recipe's [card], or push with --force to replace it"
    )]
    CardEdited {
        /// The repository's page.
        page: String,
        /// What would change, line by line.
        difference: String,
    },
    /// The operating system refused a file operation.
    #[error("cannot {action} {path}: {error}{}", full(error))]
    Io {
        /// What was being done, as a verb.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// A fault of files or threads that another crate names.
    #[error(transparent)]
    Base(setaccio_base::Error),
    /// Ctrl-C.
    #[error("interrupted; what has arrived is kept, and the same command goes on from there")]
    Interrupted,
}

impl From<setaccio_base::Error> for Error {
    fn from(error: setaccio_base::Error) -> Self {
        match error {
            setaccio_base::Error::Io { action, path, error } => Self::Io { action, path, error },
            setaccio_base::Error::Interrupted => Self::Interrupted,
            other => Self::Base(other),
        }
    }
}

impl Error {
    /// Wrap an I/O error: `.map_err(Error::io("write", path))`.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io { action, path: path.as_ref().to_owned(), error }
    }

    /// The network's failure to reach the host of `url`.
    pub fn unreachable(url: &str, reason: &str) -> Self {
        Self::Unreachable { host: origin(url), reason: reason.to_owned() }
    }

    /// An answer from `url` that the Hub's interface does not give.
    pub fn invalid_response(url: &str, message: impl Into<String>) -> Self {
        Self::InvalidResponse { url: without_query(url), message: message.into() }
    }
}

fn full(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space, or choose another disk with HF_HOME, then run the same command again: what has arrived is kept"
        }
        _ => "",
    }
}
