//! A request in parts, who may do what, and the answers that many endpoints give.

use std::collections::BTreeMap;

use axum::{
    body::Bytes,
    http::{HeaderMap, Method, StatusCode},
    response::{IntoResponse, Response},
};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::store::{Repo, Store, User};

pub(crate) type Reply = Result<Response, Response>;

/// A request in parts.
pub(crate) struct ApiRequest {
    pub(crate) method: Method,
    /// Decoded parts of the path.
    pub(crate) path: Vec<String>,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) user: Option<User>,
}

impl ApiRequest {
    pub(crate) fn json(&self) -> Result<Value, Response> {
        serde_json::from_slice(&self.body).map_err(|_| error_response(400, "", "the body is no JSON"))
    }

    pub(crate) fn parts(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }
}

/// The repository, if whoever asks may see it.
pub(crate) fn visible_repo<'a>(store: &'a Store, request: &ApiRequest, key: &str) -> Result<&'a Repo, Response> {
    let owner = key.split('/').nth(1).unwrap_or_default();
    let mine = request.user.as_ref().is_some_and(|u| u.name == owner);
    match store.repos.get(key) {
        Some(repo) if !repo.private || mine => Ok(repo),
        // Whether it exists is nobody's business.
        _ if request.user.is_some() => Err(error_response(404, "RepoNotFound", "Repository not found")),
        _ => Err(error_response(401, "RepoNotFound", "Repository not found")),
    }
}

/// Whether whoever asks may write to the repository.
pub(crate) fn may_write(request: &ApiRequest, key: &str) -> Result<(), Response> {
    let owner = key.split('/').nth(1).unwrap_or_default();
    match &request.user {
        None => Err(error_response(401, "", "Invalid username or password.")),
        Some(user) if user.role != "write" || user.name != owner => {
            Err(error_response(403, "", "you don't have the rights to write here"))
        }
        Some(_) => Ok(()),
    }
}

/// Whether whoever asks may propose a change to a repository that they see: anybody may whose token writes.
pub(crate) fn may_propose(request: &ApiRequest) -> Result<(), Response> {
    match &request.user {
        None => Err(error_response(401, "", "Invalid username or password.")),
        Some(user) if user.role != "write" => Err(error_response(403, "", "this token may only read")),
        Some(_) => Ok(()),
    }
}

pub(crate) fn error_response(status: u16, code: &str, said: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = (status, axum::Json(json!({ "error": said }))).into_response();
    for (name, value) in [("x-error-code", code), ("x-error-message", said)] {
        if let (false, Ok(value)) = (value.is_empty(), value.parse()) {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

#[allow(clippy::unnecessary_wraps, reason = "it stands where answers do")]
pub(crate) fn ok_json(value: Value) -> Reply {
    Ok(axum::Json(value).into_response())
}

pub(crate) fn decoded(part: &str) -> String {
    percent_decode_str(&part.replace('+', " ")).decode_utf8_lossy().into_owned()
}
