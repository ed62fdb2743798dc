//! Content: small files from the Hub itself, large ones from the storage that it redirects to.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use setaccio_base::sha256::hex_digest;

use crate::{
    Shared, lock,
    request::{ApiRequest, Reply, error_response, visible_repo},
};

/// `/datasets/owner/name/resolve/revision/file`
pub(crate) fn resolve(shared: &Shared, request: &ApiRequest, key: &str, revision: &str, path: &str) -> Reply {
    let store = lock(&shared.store);
    let repo = visible_repo(&store, request, key)?;
    if let Some(accepted) = &repo.gated {
        let owner = key.split('/').nth(1).unwrap_or_default();
        let may = |name: &str| accepted.contains(name) || name == owner;
        if !request.user.as_ref().is_some_and(|u| may(&u.name)) {
            let status = if request.user.is_some() { 403 } else { 401 };
            return Err(error_response(status, "GatedRepo", "Access to this repository is restricted"));
        }
    }
    let commit = repo.at(revision).ok_or_else(|| error_response(404, "RevisionNotFound", "Invalid rev id"))?;
    let Some(content) = commit.files.get(path) else {
        let mut refusal = error_response(404, "EntryNotFound", "Entry not found");
        put(&mut refusal, "x-repo-commit", &commit.id);
        return Err(refusal);
    };
    let mut answer = if let Some(sha256) = &content.sha256 {
        let mut answer = StatusCode::FOUND.into_response();
        let location = format!("http://{}/{sha256}?X-Amz-Signature=signed", shared.storage);
        put(&mut answer, "location", &location);
        put(&mut answer, "x-linked-etag", &format!("\"{sha256}\""));
        put(&mut answer, "x-linked-size", &content.bytes.len().to_string());
        put(&mut answer, "etag", &format!("\"{sha256}\""));
        answer
    } else {
        let mut answer = ranged(request, &content.bytes);
        put(&mut answer, "etag", &format!("\"{}\"", content.git));
        answer
    };
    put(&mut answer, "x-repo-commit", &commit.id);
    Ok(answer)
}

/// The other host: large files by hash, for whoever has the address, in and out.
pub(crate) fn storage(shared: &Shared, request: &ApiRequest) -> Reply {
    if request.headers.contains_key(header::AUTHORIZATION) {
        return Err(error_response(400, "", "Only one auth mechanism allowed"));
    }
    if request.query.get("X-Amz-Signature").map(String::as_str) != Some("signed") {
        return Err(error_response(403, "", "AccessDenied"));
    }
    let mut store = lock(&shared.store);
    match (request.method.as_str(), request.parts().as_slice()) {
        ("GET" | "HEAD", [oid]) => {
            let bytes = store.large.get(*oid).ok_or_else(|| error_response(404, "", "NoSuchKey"))?;
            Ok(ranged(request, bytes))
        }
        ("PUT", [oid]) => {
            if !request.headers.contains_key(header::CONTENT_LENGTH) {
                return Err(error_response(411, "", "MissingContentLength"));
            }
            if hex_digest(&request.body) != *oid {
                return Err(error_response(400, "", "the content is not what was announced"));
            }
            store.large.insert((*oid).to_owned(), request.body.clone());
            Ok(StatusCode::OK.into_response())
        }
        ("PUT", ["part", oid, number]) => {
            let number = number.parse().map_err(|_| error_response(400, "", "no number"))?;
            let etag = format!("\"{}\"", hex_digest(&request.body));
            store.parts.entry((*oid).to_owned()).or_default().insert(number, request.body.clone());
            let mut answer = StatusCode::OK.into_response();
            put(&mut answer, "etag", &etag);
            Ok(answer)
        }
        _ => Err(error_response(405, "", "MethodNotAllowed")),
    }
}

/// The bytes, or the part that `Range` asks for.
fn ranged(request: &ApiRequest, bytes: &axum::body::Bytes) -> Response {
    let range = request.headers.get(header::RANGE).and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("bytes="));
    let mut answer = match range {
        None => Body::from(bytes.clone()).into_response(),
        Some(range) => {
            let (start, end) = range.split_once('-').unwrap_or((range, ""));
            let start: usize = start.parse().unwrap_or(0);
            let end = end.parse().map_or(bytes.len(), |e: usize| (e + 1).min(bytes.len()));
            if start >= bytes.len() {
                let mut answer = StatusCode::RANGE_NOT_SATISFIABLE.into_response();
                put(&mut answer, "content-range", &format!("bytes */{}", bytes.len()));
                return answer;
            }
            let mut answer = (StatusCode::PARTIAL_CONTENT, Body::from(bytes.slice(start..end))).into_response();
            put(&mut answer, "content-range", &format!("bytes {start}-{}/{}", end - 1, bytes.len()));
            answer
        }
    };
    put(&mut answer, "accept-ranges", "bytes");
    if request.method == "HEAD" {
        put(&mut answer, "content-length", &bytes.len().to_string());
    }
    answer
}

pub(crate) fn put(answer: &mut Response, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}
