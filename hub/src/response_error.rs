//! From a response that is no success to an error: what the Hub means by a status and the headers beside it.

use std::io::Read;

use ureq::{Body, http::Response};

use crate::{
    error::Error, request::ApiRequest, retry::RetryableError, retry_after::requested_wait, settings::Settings,
    url::without_query,
};

/// Turn an answer that is no success into what to tell, and whether to try again.
pub fn error_from_response(
    settings: &Settings,
    request: &ApiRequest<'_>,
    url: &str,
    response: Response<Body>,
) -> RetryableError {
    let (head, body) = response.into_parts();
    let (status, headers) = (head.status.as_u16(), head.headers);
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let mut text = String::new();
    // What cannot be read of a refusal is of no use.
    let _ = body.into_reader().take(4096).read_to_string(&mut text);
    let (code, said) = (header("x-error-code"), words(header("x-error-message"), &text));
    let said = settings.redact(&said);
    let (endpoint, file) = (settings.endpoint.clone(), settings.token_file_name());
    let context = request.context;
    let repo = context.repo.map_or_else(|| "this".to_owned(), ToString::to_string);
    let page = context.repo.map_or_else(|| endpoint.clone(), |r| r.page(&endpoint));
    let revision = context.revision.unwrap_or("main").to_owned();
    let has_token = settings.token.is_some();
    let in_brackets = if said.is_empty() { String::new() } else { format!(" ({said})") };
    let status_error = || Error::Status { url: without_query(url), status, said: in_brackets.clone() };
    let refused = || Error::Refused { url: without_query(url), status, said: in_brackets.clone(), page: page.clone() };
    let missing = || {
        let token = if has_token { "the token may not see it" } else { "there is no token in HF_TOKEN" };
        Error::RepoNotFound { repo: repo.clone(), token: token.into(), page: page.clone() }
    };
    match (status, code) {
        (408 | 500 | 502 | 503 | 504, _) => {
            return RetryableError {
                retry_after: requested_wait(&headers),
                ..RetryableError::transient(status_error())
            };
        }
        (429, _) => {
            let retry_after = requested_wait(&headers);
            let asks = match retry_after {
                Some(wait) => format!("asks to wait {} s before the next request", wait.as_secs()),
                None => "has had too many requests, and does not say how long to wait".into(),
            };
            return RetryableError { retry_after, ..RetryableError::transient(Error::RateLimited { asks, endpoint }) };
        }
        (_, "GatedRepo") => {
            let token = if has_token {
                "the token must be of the account that did, with access to gated repositories".into()
            } else {
                format!("then put a token of that account ({endpoint}/settings/tokens) into HF_TOKEN")
            };
            Error::GatedRepo { repo, token, page }
        }
        (_, "RevisionNotFound") => Error::RevisionNotFound { repo, revision, page },
        (_, "EntryNotFound") => {
            let file = context.file.unwrap_or("of that name").to_owned();
            Error::EntryNotFound { repo, file, revision, page }
        }
        // A repository that may not be seen is answered like one that is not there; a token that is none, not.
        (401, _) if has_token && code != "RepoNotFound" => Error::InvalidToken { endpoint, file },
        (401, _) if context.writes && !has_token => Error::NoToken { endpoint, file },
        (403, _) if context.writes => {
            let pages = format!("{page}, and at {endpoint}/settings/tokens for a token with the role `write`");
            Error::WriteForbidden { repo, said: in_brackets, pages }
        }
        (403, _) => Error::Forbidden { said, page },
        (412, _) => Error::ParentMoved { page },
        (401 | 404, _) => {
            if context.repo.is_some() {
                missing()
            } else {
                refused()
            }
        }
        (400..=499, _) => refused(),
        _ => status_error(),
    }
    .into()
}

/// The Hub's own words: in a header, or as `error` in JSON.
fn words(header: &str, text: &str) -> String {
    if !header.is_empty() {
        return header.to_owned();
    }
    let json: Option<serde_json::Value> = serde_json::from_str(text).ok();
    json.and_then(|v| v.get("error")?.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found() {
        assert_eq!(words("", "{\"error\": \"no\"}"), "no");
        assert_eq!(words("head", "{\"error\": \"no\"}"), "head");
        assert_eq!(words("", "<html>"), "");
    }
}
