//! Requests to the Hub: who gets the token, and where a redirect leads.

use std::{
    io::Read,
    sync::atomic::{AtomicBool, Ordering},
};

use serde::de::DeserializeOwned;
use ureq::{
    Agent, Body, SendBody,
    http::{HeaderMap, Request, Response, header},
};

use setaccio_base::progress::Progress;

use crate::{
    agent,
    error::{Error, Result},
    file_part::FilePartBody,
    request::{ApiRequest, Payload},
    response_error::error_from_response,
    retry::{Attempt, RetryableError, with_retry},
    settings::Settings,
    tls,
    url::{is_open, join_url, origin, without_query},
};

/// The longest answer that is read as text, in bytes: a page of a listing has well under one megabyte.
const MAX_TEXT: u64 = 64 << 20;

/// A connection to the Hub.
pub struct Client {
    agent: Agent,
    settings: Settings,
}

/// Whether this process has said that the token goes where others can read it.
static WARNED: AtomicBool = AtomicBool::new(false);

impl Client {
    /// A client with these settings.
    ///
    /// # Errors
    /// `SSL_CERT_FILE` cannot be read or holds no certificates.
    pub fn new(settings: Settings) -> Result<Self> {
        let agent = agent::config(tls::config(settings.certificates.as_deref())?).build().into();
        Ok(Self { agent, settings })
    }

    /// Its settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Scheme and host of the Hub.
    pub fn endpoint(&self) -> &str {
        &self.settings.endpoint
    }

    /// Fetch JSON.
    ///
    /// # Errors
    /// The Hub refuses, cannot be reached, or answers something else.
    pub fn json<T: DeserializeOwned>(&self, request: &ApiRequest<'_>, progress: &dyn Progress) -> Result<T> {
        Ok(self.json_with_head(request, progress)?.1)
    }

    /// Fetch JSON, and the head of the answer.
    pub fn json_with_head<T: DeserializeOwned>(
        &self,
        request: &ApiRequest<'_>,
        progress: &dyn Progress,
    ) -> Result<(HeaderMap, T)> {
        let (head, text) = self.text(request, progress)?;
        let parsed = serde_json::from_str(&text).map_err(|e| Error::invalid_response(&request.url, e.to_string()))?;
        Ok((head, parsed))
    }

    /// Fetch the whole answer, and its head.
    pub fn text(&self, request: &ApiRequest<'_>, progress: &dyn Progress) -> Result<(HeaderMap, String)> {
        self.with_retry(progress, || self.text_once(request, progress))
    }

    /// [`with_retry`], with the first wait of the settings.
    pub fn with_retry<T>(&self, progress: &dyn Progress, attempt: impl FnMut() -> Attempt<T>) -> Result<T> {
        with_retry(self.settings.wait, progress, attempt)
    }

    /// One attempt at [`Client::text`].
    pub fn text_once(&self, request: &ApiRequest<'_>, progress: &dyn Progress) -> Attempt<(HeaderMap, String)> {
        let (head, body) = self.open(request, progress)?.into_parts();
        let mut text = Vec::new();
        let read = body.into_reader().take(MAX_TEXT + 1).read_to_end(&mut text);
        read.map_err(|e| RetryableError::transient(Error::unreachable(&request.url, &e.to_string())))?;
        if text.len() as u64 > MAX_TEXT {
            let url = without_query(&request.url);
            return Err(Error::TextTooLong { url, megabytes: MAX_TEXT >> 20 }.into());
        }
        let text = String::from_utf8(text)
            .map_err(|e| RetryableError::transient(Error::invalid_response(&request.url, e.to_string())))?;
        Ok((head.headers, text))
    }

    /// One request, and whatever its redirects lead to. The body is still to be read.
    pub fn open(&self, request: &ApiRequest<'_>, progress: &dyn Progress) -> Attempt<Response<Body>> {
        if self.settings.offline {
            let what = request.context.repo.map_or_else(|| without_query(&request.url), ToString::to_string);
            return Err(Error::NeedsHub { what }.into());
        }
        let mut url = request.url.clone();
        for _ in 0..6 {
            let response = self.send(request, &url, progress)?;
            let status = response.status().as_u16();
            if !matches!(status, 301 | 302 | 303 | 307 | 308) {
                return if status < 300 {
                    Ok(response)
                } else {
                    Err(error_from_response(&self.settings, request, &url, response))
                };
            }
            let to = response.headers().get(header::LOCATION).and_then(|v| v.to_str().ok());
            let Some(to) = to.map(|to| join_url(&url, to)) else {
                return Err(Error::invalid_response(&url, "a redirect to nowhere").into());
            };
            // What is sent goes to whoever was asked, or to the same host by another name of the repository.
            if request.method != "GET" && origin(&to) != origin(&url) {
                return Err(Error::invalid_response(&url, "it sends what is written to another host").into());
            }
            url = to;
        }
        Err(Error::invalid_response(&request.url, "too many redirects").into())
    }

    fn send(&self, request: &ApiRequest<'_>, url: &str, progress: &dyn Progress) -> Attempt<Response<Body>> {
        let mut http = Request::builder().method(request.method).uri(url);
        for (name, value) in &request.headers {
            http = http.header(name, value);
        }
        // Nobody but the Hub itself is given the token: signed addresses of a storage need none.
        if let Some(token) = self.settings.token.as_ref().filter(|_| origin(url) == origin(&self.settings.endpoint)) {
            if is_open(url) && !WARNED.swap(true, Ordering::Relaxed) {
                let host = origin(url);
                progress.warn(&format!(
                    "the token goes to {host} without encryption, and everybody on the way can read it: use an address with \
                     https:// in HF_ENDPOINT"
                ));
            }
            http = http.header(header::AUTHORIZATION, format!("Bearer {}", token.secret()));
        }
        let invalid = |e: ureq::http::Error| Error::invalid_response(url, self.settings.redact(&e.to_string()));
        let sent = match &request.payload {
            Payload::None => self.agent.run(http.body(()).map_err(invalid)?),
            Payload::Bytes(bytes, kind) => {
                let http = http.header(header::CONTENT_TYPE, *kind);
                self.agent.run(http.body(bytes.as_slice()).map_err(invalid)?)
            }
            Payload::FilePart { path, offset, length } => {
                let mut part = FilePartBody::new(path, (*offset, *length), progress)?;
                let http = http.header(header::CONTENT_LENGTH, length.to_string());
                let sent = self.agent.run(http.body(SendBody::from_reader(&mut part)).map_err(invalid)?);
                match part.fault() {
                    Some(error) if sent.is_err() => return Err(error.into()),
                    _ => sent,
                }
            }
        };
        sent.map_err(|e| {
            let permanent = matches!(e, ureq::Error::BadUri(_) | ureq::Error::Tls(_) | ureq::Error::Rustls(_));
            let error = Error::unreachable(url, &self.settings.redact(&e.to_string()));
            if permanent { error.into() } else { RetryableError::transient(error) }
        })
    }
}
