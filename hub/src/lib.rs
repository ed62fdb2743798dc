//! The Hugging Face Hub, in and out: revisions and listings, downloads into the cache that Python's tools
//! share, repositories and commits. It knows nothing of recipes or data sets.

pub mod account;
pub mod agent;
pub mod cache;
pub mod client;
pub mod commit;
pub mod download;
pub mod error;
mod file_part;
mod lfs;
pub mod listing;
pub mod oid;
pub mod parallel;
pub mod pull;
pub mod push;
pub mod repo;
pub mod request;
mod response_error;
pub mod retry;
mod retry_after;
pub mod settings;
pub mod tls;
pub mod upload;
mod url;

pub use client::Client;
pub use error::{Error, Result};
pub use repo::{Repo, RepoType};
pub use settings::Settings;
