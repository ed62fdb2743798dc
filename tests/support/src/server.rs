//! Requests in, answers out: who asks, what goes wrong, and which part answers.

use std::{collections::BTreeMap, net::TcpListener, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::header,
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, stream};

use crate::{
    FaultKind, LoggedRequest, Shared, faults, files, lock, reading,
    request::{ApiRequest, Reply, decoded, error_response},
    writing,
};

pub(crate) async fn serve(hub: TcpListener, storage: TcpListener, shared: Arc<Shared>) {
    let (Ok(hub), Ok(storage)) = (tokio::net::TcpListener::from_std(hub), tokio::net::TcpListener::from_std(storage))
    else {
        return;
    };
    let pages = Router::new().fallback(handle).with_state((shared.clone(), false));
    let large = Router::new().fallback(handle).with_state((shared, true));
    let _ = tokio::join!(axum::serve(hub, pages), axum::serve(storage, large));
}

async fn handle(State((shared, storage)): State<(Arc<Shared>, bool)>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let (method, path) = (head.method.to_string(), head.uri.path().to_owned());
    let text = |name: header::HeaderName| head.headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let token = text(header::AUTHORIZATION).and_then(|v| v.strip_prefix("Bearer ").map(str::to_owned));
    lock(&shared.log).push(LoggedRequest {
        method: method.clone(),
        path: path.clone(),
        token: token.is_some(),
        range: text(header::RANGE),
    });
    let kind = lock(&shared.faults).next(&method, &path);
    match kind {
        Some(FaultKind::Status(status) | FaultKind::Code(status, _)) => return error_response(status, "", "planned"),
        Some(FaultKind::TooMany(seconds)) => {
            let mut answer = error_response(429, "", "planned");
            answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            return answer;
        }
        Some(FaultKind::TooManyUntil(seconds)) => {
            let mut answer = error_response(429, "", "planned");
            let until = std::time::SystemTime::now() + std::time::Duration::from_secs(seconds);
            files::put(&mut answer, "retry-after", &httpdate::fmt_http_date(until));
            return answer;
        }
        Some(FaultKind::CutUpload(bytes)) if !matches!(method.as_str(), "GET" | "HEAD") => {
            let mut stream = body.into_data_stream();
            let mut taken = 0;
            while taken < bytes
                && let Some(Ok(chunk)) = stream.next().await
            {
                taken += chunk.len();
            }
            return broken(Vec::new());
        }
        _ => {}
    }
    tokio::time::sleep(faults::delay(kind)).await;
    let user = token.as_ref().map(|t| lock(&shared.store).users.get(t).cloned());
    if user.as_ref().is_some_and(Option::is_none) && !storage {
        return error_response(401, "", "Invalid credentials in Authorization header");
    }
    let body = if let Some(FaultKind::Trickle(speed)) = kind { trickle(body, speed) } else { body };
    let Ok(body) = to_bytes(body, usize::MAX).await else { return error_response(400, "", "a body that was cut") };
    let request = ApiRequest {
        method: head.method,
        path: path.split('/').filter(|p| !p.is_empty()).map(decoded).collect(),
        query: pairs(head.uri.query().unwrap_or_default()),
        headers: head.headers,
        body,
        user: user.flatten(),
    };
    let answer = if storage { files::storage(&shared, &request) } else { route(&shared, &request) };
    let answer = answer.unwrap_or_else(|refusal| refusal);
    match kind {
        Some(FaultKind::Lost) => error_response(504, "", "planned"),
        Some(FaultKind::Cut(bytes)) => cut(answer, bytes).await,
        Some(FaultKind::Spoil) => spoil(answer).await,
        Some(FaultKind::Pad(bytes)) => pad(answer, bytes).await,
        _ => answer,
    }
}

fn route(shared: &Shared, request: &ApiRequest) -> Reply {
    let parts = request.parts();
    match (request.method.as_str(), parts.as_slice()) {
        (_, ["api", "whoami-v2"]) => reading::whoami(request),
        ("POST", ["api", "repos", "create"]) => writing::create(shared, request),
        (_, ["api", kind @ ("datasets" | "models"), owner, name, rest @ ..]) => {
            let key = format!("{kind}/{owner}/{name}");
            match (request.method.as_str(), rest) {
                ("GET", [] | ["revision", _]) => reading::info(shared, request, &key, rest.get(1).copied()),
                ("GET", ["tree", revision, folder @ ..]) => {
                    reading::tree(shared, request, &key, revision, &folder.join("/"))
                }
                ("POST", ["paths-info", revision]) => reading::paths(shared, request, &key, revision),
                ("GET", ["refs"]) => reading::refs(shared, request, &key),
                ("GET", ["commits", revision]) => reading::commits(shared, request, &key, revision),
                ("GET", ["discussions"]) => reading::discussions(shared, request, &key),
                ("POST", ["preupload", revision]) => writing::preupload(shared, request, &key, revision),
                ("POST", ["commit", revision]) => writing::commit(shared, request, &key, revision),
                ("POST", ["branch", branch]) => writing::branch(shared, request, &key, branch),
                _ => Err(error_response(404, "", "no such endpoint")),
            }
        }
        (_, ["lfs", "verify"]) => writing::verify(shared, request),
        (_, ["lfs", "complete", oid]) => writing::complete(shared, request, oid),
        ("POST", ["datasets", owner, name, "info", "lfs", "objects", "batch"]) => {
            writing::batch(shared, request, &format!("datasets/{owner}/{}", name.trim_end_matches(".git")))
        }
        ("POST", [owner, name, "info", "lfs", "objects", "batch"]) => {
            writing::batch(shared, request, &format!("models/{owner}/{}", name.trim_end_matches(".git")))
        }
        ("GET" | "HEAD", ["datasets", owner, name, "resolve", revision, file @ ..]) => {
            files::resolve(shared, request, &format!("datasets/{owner}/{name}"), revision, &file.join("/"))
        }
        ("GET" | "HEAD", [owner, name, "resolve", revision, file @ ..]) => {
            files::resolve(shared, request, &format!("models/{owner}/{name}"), revision, &file.join("/"))
        }
        _ => Err(error_response(404, "", "no such endpoint")),
    }
}

/// The same body, which takes its time: so many kilobytes a second.
fn trickle(body: Body, speed: u64) -> Body {
    Body::from_stream(body.into_data_stream().then(move |chunk| async move {
        let bytes = chunk.as_ref().map_or(0, |c| c.len() as u64);
        tokio::time::sleep(std::time::Duration::from_millis(bytes / speed.max(1))).await;
        chunk
    }))
}

/// The answer, of which only the first bytes arrive.
pub(crate) async fn cut(answer: Response, bytes: usize) -> Response {
    let (mut head, body) = answer.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    if body.is_empty() {
        return Response::from_parts(head, Body::empty());
    }
    head.headers.insert(header::CONTENT_LENGTH, body.len().into());
    let sent = body.slice(..bytes.min(body.len() - 1));
    let mut answer = broken(sent.chunks(16 << 10).map(|c| Ok(sent.slice_ref(c))).collect());
    *answer.status_mut() = head.status;
    *answer.headers_mut() = head.headers;
    answer
}

/// The answer with one byte changed.
async fn spoil(answer: Response) -> Response {
    let (head, body) = answer.into_parts();
    let mut body = to_bytes(body, usize::MAX).await.unwrap_or_default().to_vec();
    if let Some(byte) = body.last_mut() {
        *byte ^= 1;
    }
    Response::from_parts(head, Body::from(body))
}

/// The answer with so many spaces behind it.
async fn pad(answer: Response, bytes: usize) -> Response {
    let (mut head, body) = answer.into_parts();
    let mut body = to_bytes(body, usize::MAX).await.unwrap_or_default().to_vec();
    body.resize(body.len() + bytes, b' ');
    head.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(head, Body::from(body))
}

/// An answer that breaks off after these chunks.
fn broken(mut chunks: Vec<Result<Bytes, std::io::Error>>) -> Response {
    chunks.push(Err(std::io::Error::other("cut")));
    Body::from_stream(stream::iter(chunks)).into_response()
}

pub(crate) fn pairs(query: &str) -> BTreeMap<String, String> {
    let pairs = query.split('&').filter_map(|p| p.split_once('='));
    pairs.map(|(k, v)| (decoded(k), decoded(v))).collect()
}
