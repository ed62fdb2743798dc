//! What can be changed: repositories, branches, large files, commits.

use std::collections::BTreeMap;

use axum::{body::Bytes, http::StatusCode, response::IntoResponse};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use setaccio_base::sha256::hex_digest;

use crate::{
    Shared, lock,
    request::{ApiRequest, Reply, error_response, may_propose, may_write, ok_json, visible_repo},
    store::{Content, Repo, is_large},
};

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(crate) fn create(shared: &Shared, request: &ApiRequest) -> Reply {
    let Some(user) = &request.user else { return Err(error_response(401, "", "Invalid username or password.")) };
    let body = request.json()?;
    let (kind, page) = if text(&body["type"]) == "dataset" { ("datasets", "datasets/") } else { ("models", "") };
    let owner = body["organization"].as_str().unwrap_or(&user.name);
    let id = format!("{owner}/{}", text(&body["name"]));
    let key = format!("{kind}/{id}");
    may_write(request, &key)?;
    let mut store = lock(&shared.store);
    let url = format!("http://{}/{page}{id}", shared.address);
    if store.repos.contains_key(&key) {
        return Ok((StatusCode::CONFLICT, axum::Json(json!({ "error": "You already created it", "url": url })))
            .into_response());
    }
    let mut repo = Repo {
        private: body["private"].as_bool().unwrap_or(false) || text(&body["visibility"]) == "private",
        ..Repo::default()
    };
    // The real one begins every repository with this file.
    let attributes = "*.parquet filter=lfs diff=lfs merge=lfs -text\n";
    let first = (".gitattributes".to_owned(), Some(Content::new(".gitattributes", attributes)));
    repo.commit("main", "initial commit", "", [first]);
    store.repos.insert(key, repo);
    ok_json(json!({ "url": url, "name": id, "id": "0" }))
}

pub(crate) fn preupload(shared: &Shared, request: &ApiRequest, key: &str, revision: &str) -> Reply {
    let store = lock(&shared.store);
    let repo = visible_repo(&store, request, key)?;
    let pull = request.query.get("create_pr").is_some_and(|v| v == "1");
    if pull { may_propose(request) } else { may_write(request, key) }?;
    let commit = repo.at(revision).ok_or_else(|| error_response(404, "RevisionNotFound", "Invalid rev id"))?;
    let body = request.json()?;
    let mut told = Vec::new();
    for file in body["files"].as_array().into_iter().flatten() {
        let sample = STANDARD.decode(text(&file["sample"])).map_err(|_| error_response(400, "", "no sample"))?;
        let (path, size) = (text(&file["path"]), file["size"].as_u64().unwrap_or(0));
        let mode = if is_large(path, size, &sample) { "lfs" } else { "regular" };
        let oid = commit.files.get(path).map(|c| c.git.clone());
        told.push(json!({ "path": path, "uploadMode": mode, "shouldIgnore": false, "oid": oid }));
    }
    ok_json(json!({ "files": told }))
}

pub(crate) fn batch(shared: &Shared, request: &ApiRequest, key: &str) -> Reply {
    let mut store = lock(&shared.store);
    visible_repo(&store, request, key)?;
    let body = request.json()?;
    // A change that is only proposed names no branch.
    if body["ref"].is_null() { may_propose(request) } else { may_write(request, key) }?;
    let mut objects = Vec::new();
    for object in body["objects"].as_array().into_iter().flatten() {
        let (oid, size) = (text(&object["oid"]).to_owned(), object["size"].as_u64().unwrap_or(0));
        let mut told = json!({ "oid": oid, "size": size });
        if !store.large.contains_key(&oid) {
            let hub = |what: &str| format!("http://{}/lfs/{what}", shared.address);
            let storage = |what: &str| format!("http://{}/{what}?X-Amz-Signature=signed", shared.storage);
            let upload = if size > store.part_bytes {
                store.parts.remove(&oid);
                let mut header = Map::new();
                header.insert("chunk_size".into(), store.part_bytes.to_string().into());
                for number in 1..=size.div_ceil(store.part_bytes) {
                    header.insert(format!("{number:05}"), storage(&format!("part/{oid}/{number}")).into());
                }
                json!({ "href": hub(&format!("complete/{oid}")), "header": header })
            } else {
                json!({ "href": storage(&oid) })
            };
            told["actions"] = json!({ "upload": upload, "verify": { "href": hub("verify") } });
        }
        objects.push(told);
    }
    ok_json(json!({ "transfer": "basic", "objects": objects }))
}

/// All parts are there: put them together.
pub(crate) fn complete(shared: &Shared, request: &ApiRequest, oid: &str) -> Reply {
    let body = request.json()?;
    let mut store = lock(&shared.store);
    let Some(parts) = store.parts.get(oid).cloned() else { return Err(error_response(404, "", "NoSuchUpload")) };
    let named = body["parts"].as_array().cloned().unwrap_or_default();
    let whole = named.len() == parts.len()
        && named.iter().zip(&parts).all(|(n, (number, part))| {
            n["partNumber"].as_u64() == Some(u64::from(*number))
                && text(&n["etag"]).trim_matches('"') == hex_digest(part)
        });
    let bytes: Bytes = parts.into_values().flatten().collect::<Vec<u8>>().into();
    if !whole || hex_digest(&bytes) != oid {
        return Err(error_response(400, "", "the parts are not the whole"));
    }
    store.large.insert(oid.to_owned(), bytes);
    store.parts.remove(oid);
    Ok(StatusCode::OK.into_response())
}

pub(crate) fn verify(shared: &Shared, request: &ApiRequest) -> Reply {
    if request.user.is_none() {
        return Err(error_response(401, "", "Invalid username or password."));
    }
    let body = request.json()?;
    let there = lock(&shared.store).large.get(text(&body["oid"])).map(|b| b.len() as u64);
    if there == body["size"].as_u64() {
        Ok(StatusCode::OK.into_response())
    } else {
        Err(error_response(404, "", "not there"))
    }
}

pub(crate) fn branch(shared: &Shared, request: &ApiRequest, key: &str, branch: &str) -> Reply {
    let mut store = lock(&shared.store);
    let repo = visible_repo(&store, request, key)?;
    may_write(request, key)?;
    if repo.refs.contains_key(branch) {
        return Err(error_response(409, "", "Reference already exists"));
    }
    let from = request.json().ok().and_then(|b| b["startingPoint"].as_str().map(str::to_owned));
    let commit = repo.at(from.as_deref().unwrap_or("main")).map(|c| c.id.clone());
    let commit = commit.ok_or_else(|| error_response(404, "RevisionNotFound", "Invalid rev id"))?;
    if let Some(repo) = store.repos.get_mut(key) {
        repo.refs.insert(branch.to_owned(), commit);
    }
    Ok(StatusCode::CREATED.into_response())
}

pub(crate) fn commit(shared: &Shared, request: &ApiRequest, key: &str, revision: &str) -> Reply {
    let pull = request.query.get("create_pr").is_some_and(|v| v == "1");
    let mut store = lock(&shared.store);
    visible_repo(&store, request, key)?;
    if pull { may_propose(request) } else { may_write(request, key) }?;
    let mut header = Value::Null;
    let mut changes: BTreeMap<String, Option<Content>> = BTreeMap::new();
    for line in request.body.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        let line: Value = serde_json::from_slice(line).map_err(|_| error_response(400, "", "a line is no JSON"))?;
        let value = &line["value"];
        let path = text(&value["path"]).to_owned();
        match text(&line["key"]) {
            "header" => header = value.clone(),
            "file" => {
                let bytes =
                    STANDARD.decode(text(&value["content"])).map_err(|_| error_response(400, "", "no base64"))?;
                let (git, sha256) = (crate::store::git(&bytes), None);
                changes.insert(path, Some(Content { git, sha256, bytes: bytes.into() }));
            }
            "lfsFile" => {
                let oid = text(&value["oid"]);
                let bytes =
                    store.large.get(oid).ok_or_else(|| error_response(400, "", "an LFS pointer to nothing"))?.clone();
                changes.insert(path.clone(), Some(Content::new("large.bin", bytes)));
            }
            "deletedFile" => {
                changes.insert(path, None);
            }
            other => return Err(error_response(400, "", &format!("{other} is no operation"))),
        }
    }
    let Some(repo) = store.repos.get_mut(key) else {
        return Err(error_response(404, "RepoNotFound", "Repository not found"));
    };
    let Some(head) = repo.at(revision).map(|c| c.id.clone()) else {
        return Err(error_response(404, "RevisionNotFound", "Invalid rev id"));
    };
    if header["parentCommit"].as_str().is_some_and(|parent| parent != head) {
        return Err(error_response(412, "", "A commit has happened since. Please refresh and try again."));
    }
    let missing =
        changes.iter().find(|(p, c)| c.is_none() && !repo.at(revision).is_some_and(|r| r.files.contains_key(*p)));
    if let Some((path, _)) = missing {
        return Err(error_response(404, "EntryNotFound", &format!("A file with the name {path} doesn't exist")));
    }
    let (title, message) = (text(&header["summary"]).to_owned(), text(&header["description"]).to_owned());
    let page = format!("http://{}/{}", shared.address, key.trim_start_matches("models/"));
    let mut told = json!({ "success": true });
    let branch = if pull {
        repo.pulls.push(title.clone());
        let number = repo.pulls.len();
        repo.refs.insert(format!("refs/pr/{number}"), head);
        told["pullRequestUrl"] = format!("{page}/discussions/{number}").into();
        format!("refs/pr/{number}")
    } else {
        revision.to_owned()
    };
    let id = repo.commit(&branch, &title, &message, changes);
    told["commitUrl"] = format!("{page}/commit/{id}").into();
    told["commitOid"] = id.into();
    ok_json(told)
}
