//! The Hugging Face Hub, in and out: revisions and listings, downloads into the cache that Python's tools
//! share, repositories and commits. It knows nothing of recipes or data sets.

mod account;
pub mod cache;
pub mod client;
pub mod commit;
pub mod diff;
pub mod digest;
pub mod download;
pub mod error;
mod lfs;
pub mod listing;
pub mod names;
mod outflow;
pub mod pull;
pub mod push;
mod refusal;
pub mod settings;
pub mod upload;
mod wait;
pub mod watch;

pub use client::Client;
pub use error::{Error, Result};
pub use names::{Kind, Repo};
pub use settings::Settings;
pub use watch::Watch;
