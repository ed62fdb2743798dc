//! One request to the Hub: where, with what, and what it is about.

use std::path::PathBuf;

use crate::{
    error::{Error, Result},
    repo::Repo,
};

/// What a request sends.
#[derive(Clone, Debug)]
pub enum Payload {
    /// Nothing.
    None,
    /// Bytes and their media type.
    Bytes(Vec<u8>, &'static str),
    /// `length` bytes of a file from `offset` on, without a media type, as signed addresses want it.
    FilePart {
        /// The file.
        path: PathBuf,
        /// First byte.
        offset: u64,
        /// How many.
        length: u64,
    },
}

/// What a request is about, for error messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestContext<'a> {
    /// The repository.
    pub repo: Option<&'a Repo>,
    /// The revision.
    pub revision: Option<&'a str>,
    /// The file.
    pub file: Option<&'a str>,
    /// Whether it changes something.
    pub writes: bool,
}

/// One request.
#[derive(Clone, Debug)]
pub struct ApiRequest<'a> {
    /// HTTP method.
    pub method: &'static str,
    /// Whole address.
    pub url: String,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// What it sends.
    pub payload: Payload,
    /// What it is about.
    pub context: RequestContext<'a>,
}

impl<'a> ApiRequest<'a> {
    /// Fetch `url`.
    pub fn get(url: String, context: RequestContext<'a>) -> Self {
        Self { method: "GET", url, headers: Vec::new(), payload: Payload::None, context }
    }

    /// Send JSON to `url`.
    pub fn post(url: String, json: &impl serde::Serialize, context: RequestContext<'a>) -> Result<Self> {
        let body = serde_json::to_vec(json).map_err(|e| Error::Invalid(format!("cannot be written as JSON: {e}")))?;
        let payload = Payload::Bytes(body, "application/json");
        Ok(Self { method: "POST", url, headers: Vec::new(), payload, context })
    }
}
