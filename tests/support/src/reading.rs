//! What can be asked: who am I, what is there, at which commit.

use std::collections::BTreeSet;

use axum::response::IntoResponse;
use serde_json::{Value, json};

use crate::{
    Shared, files, lock,
    request::{ApiRequest, Reply, decoded, error_response, ok_json, visible_repo},
    store::{Commit, Content, Repo, git},
};

/// Every commit was made then.
pub(crate) const DATE: &str = "2026-01-01T00:00:00.000Z";

/// Discussions of a page.
const DISCUSSIONS: usize = 10;

pub(crate) fn whoami(request: &ApiRequest) -> Reply {
    let Some(user) = &request.user else { return Err(error_response(401, "", "Invalid username or password.")) };
    let token = json!({ "displayName": "test", "role": user.role });
    ok_json(json!({
        "type": "user", "id": "0", "name": user.name, "fullname": user.name, "orgs": [], "isPro": false,
        "auth": { "type": "access_token", "accessToken": token }
    }))
}

pub(crate) fn info(shared: &Shared, request: &ApiRequest, key: &str, revision: Option<&str>) -> Reply {
    let store = lock(&shared.store);
    let repo = visible_repo(&store, request, key)?;
    let id = key.split_once('/').unwrap_or_default().1;
    let mut info = json!({
        "_id": "0", "id": id, "author": id.split('/').next(), "private": repo.private, "disabled": false,
        "gated": if repo.gated.is_some() { json!("auto") } else { json!(false) },
        "downloads": 0, "likes": 0, "tags": [], "lastModified": DATE, "createdAt": DATE,
    });
    if key.starts_with("models/") {
        info["modelId"] = id.into();
    }
    // A repository that was just made has no commit of ours yet.
    if revision.is_some() || repo.refs.contains_key("main") {
        let commit = at(repo, revision.unwrap_or("main"))?;
        info["sha"] = commit.id.clone().into();
        let sibling = |(path, content): (&String, &Content)| {
            if !request.query.contains_key("blobs") {
                return json!({ "rfilename": path });
            }
            json!({ "rfilename": path, "size": content.bytes.len(), "blobId": content.git, "lfs": lfs(content) })
        };
        info["siblings"] = commit.files.iter().map(sibling).collect();
    }
    ok_json(info)
}

fn at<'a>(repo: &'a Repo, revision: &str) -> Result<&'a Commit, axum::response::Response> {
    repo.at(revision).ok_or_else(|| error_response(404, "RevisionNotFound", "Invalid rev id"))
}

fn lfs(content: &Content) -> Value {
    content.sha256.as_ref().map_or(
        Value::Null,
        |oid| json!({ "oid": oid, "sha256": oid, "size": content.bytes.len(), "pointerSize": 130 }),
    )
}

fn file(path: &str, content: &Content) -> Value {
    let mut file = json!({ "type": "file", "oid": content.git, "size": content.bytes.len(), "path": path });
    if content.sha256.is_some() {
        file["lfs"] = lfs(content);
    }
    file
}

fn folder(path: &str) -> Value {
    json!({ "type": "directory", "oid": git(path.as_bytes()), "size": 0, "path": path })
}

/// Entries below `folder`, in order of path.
fn below(commit: &Commit, base: &str, recursive: bool) -> Vec<Value> {
    let mut found: Vec<(String, Value)> = Vec::new();
    let mut folders = BTreeSet::new();
    let prefix = if base.is_empty() { String::new() } else { format!("{base}/") };
    for (path, content) in commit.files.iter().filter(|(p, _)| p.starts_with(&prefix)) {
        let inside = &path[prefix.len()..];
        for (slash, _) in inside.match_indices('/') {
            folders.insert(format!("{prefix}{}", &inside[..slash]));
            if !recursive {
                break;
            }
        }
        if recursive || !inside.contains('/') {
            found.push((path.clone(), file(path, content)));
        }
    }
    found.extend(folders.into_iter().map(|f| (f.clone(), folder(&f))));
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found.into_iter().map(|(_, v)| v).collect()
}

pub(crate) fn tree(shared: &Shared, request: &ApiRequest, key: &str, revision: &str, base: &str) -> Reply {
    let store = lock(&shared.store);
    let commit = at(visible_repo(&store, request, key)?, revision)?;
    let recursive = request.query.get("recursive").is_some_and(|v| v.eq_ignore_ascii_case("true") || v == "1");
    let all = below(commit, base, recursive);
    if all.is_empty() && !base.is_empty() {
        return Err(error_response(404, "EntryNotFound", "Entry not found"));
    }
    let from: usize = request.query.get("cursor").and_then(|c| c.parse().ok()).unwrap_or(0);
    let to = (from + store.page).min(all.len());
    let mut answer = axum::Json(&all[from.min(to)..to]).into_response();
    if to < all.len() {
        let base = if base.is_empty() { String::new() } else { format!("/{base}") };
        let revision = revision.replace('/', "%2F");
        let address = format!("http://{}/api/{key}/tree/{revision}{base}", shared.address);
        let link = format!("<{address}?recursive={recursive}&cursor={to}>; rel=\"next\"");
        files::put(&mut answer, "link", &link);
    }
    Ok(answer)
}

pub(crate) fn paths(shared: &Shared, request: &ApiRequest, key: &str, revision: &str) -> Reply {
    let store = lock(&shared.store);
    let commit = at(visible_repo(&store, request, key)?, revision)?;
    // Clients send a form or JSON.
    let text = String::from_utf8_lossy(&request.body).into_owned();
    let wanted: Vec<String> = match request.json() {
        Ok(json) => {
            let list = json["paths"].as_array().cloned().unwrap_or_default();
            list.iter().filter_map(|p| p.as_str().map(str::to_owned)).collect()
        }
        Err(_) => text.split('&').filter_map(|p| p.strip_prefix("paths=")).map(decoded).collect(),
    };
    let found = wanted.iter().filter_map(|path| {
        let path = path.trim_matches('/');
        let prefix = format!("{path}/");
        match commit.files.get(path) {
            Some(content) => Some(file(path, content)),
            None => commit.files.keys().any(|p| p.starts_with(&prefix)).then(|| folder(path)),
        }
    });
    ok_json(found.collect())
}

pub(crate) fn refs(shared: &Shared, request: &ApiRequest, key: &str) -> Reply {
    let store = lock(&shared.store);
    let repo = visible_repo(&store, request, key)?;
    let branches = repo.refs.iter().filter(|(name, _)| !name.starts_with("refs/"));
    let branches: Vec<Value> = branches
        .map(|(name, id)| json!({ "name": name, "ref": format!("refs/heads/{name}"), "targetCommit": id }))
        .collect();
    ok_json(json!({ "branches": branches, "converts": [], "tags": [] }))
}

pub(crate) fn commits(shared: &Shared, request: &ApiRequest, key: &str, revision: &str) -> Reply {
    let store = lock(&shared.store);
    let repo = visible_repo(&store, request, key)?;
    at(repo, revision)?;
    let told = repo.history(revision).into_iter().map(|c| {
        json!({ "id": c.id, "title": c.title, "message": c.message, "date": DATE, "authors": [{ "user": "anna" }] })
    });
    ok_json(told.collect())
}

pub(crate) fn discussions(shared: &Shared, request: &ApiRequest, key: &str) -> Reply {
    let store = lock(&shared.store);
    let pulls = &visible_repo(&store, request, key)?.pulls;
    let start = request.query.get("p").and_then(|p| p.parse().ok()).unwrap_or(0) * DISCUSSIONS;
    // The newest come first.
    let told = pulls.iter().enumerate().rev().skip(start).take(DISCUSSIONS).map(|(i, title)| {
        json!({
            "num": i + 1, "title": title, "status": "open", "isPullRequest": true, "createdAt": DATE,
            "author": { "name": "anna" }
        })
    });
    let told: Vec<Value> = told.collect();
    ok_json(json!({ "count": pulls.len(), "start": start, "discussions": told }))
}
