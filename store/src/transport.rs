//! The HTTP client of the Hub under `object_store`: ureq, whose calls wait on threads that the runtime keeps for such.

use std::{io, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::BodyExt;
use object_store::{
    ClientConfigKey, ClientOptions,
    client::{HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService},
};
use setaccio_hub::agent::{IDLE, config};
use ureq::{
    Agent,
    http::{Method, Request, Response, StatusCode, header, request::Parts},
    tls::TlsConfig,
};

/// An answer that is longer is none to any question that is asked here, in bytes: objects are read in pieces.
const LONGEST: u64 = 64 << 20;

/// Makes a client for what a store is asked and another for who gives its credentials.
#[derive(Clone, Debug)]
pub struct Connector {
    /// Redirects that are followed. What is signed is for one host, and follows none.
    pub redirects: u32,
    /// Whom to trust.
    pub tls: TlsConfig,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let open = options.get_config_value(&ClientConfigKey::AllowHttp).is_some_and(|value| value == "true");
        let connect = options.get_config_value(&ClientConfigKey::ConnectTimeout);
        let connect = connect.and_then(|text| text.strip_suffix('s')?.parse().ok()).map_or(IDLE, Duration::from_secs);
        let agent =
            config(self.tls.clone()).https_only(!open).max_redirects(self.redirects).timeout_connect(Some(connect));
        let agent = agent.build().into();
        Ok(HttpClient::new(Transport { agent }))
    }
}

#[derive(Debug)]
struct Transport {
    agent: Agent,
}

#[async_trait]
impl HttpService for Transport {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let agent = self.agent.clone();
        let sent = tokio::task::spawn_blocking(move || send(&agent, parts, &body)).await;
        sent.map_err(|e| HttpError::new(HttpErrorKind::Unknown, e))?
    }
}

/// One request, and all of its answer.
fn send(agent: &Agent, parts: Parts, body: &Bytes) -> Result<HttpResponse, HttpError> {
    let (head, part) = (parts.method == Method::HEAD, parts.headers.contains_key(header::RANGE));
    let bare = body.is_empty() && [Method::GET, Method::HEAD, Method::DELETE].contains(&parts.method);
    let sent =
        if bare { agent.run(Request::from_parts(parts, ())) } else { agent.run(Request::from_parts(parts, &body[..])) };
    let (parts, body) = sent.map_err(|e| HttpError::new(kind(&e), e))?.into_parts();
    let mut bytes = Vec::new();
    // A server that knows no parts of objects sends all of it: nothing is asked for that way.
    if !(head || part && parts.status == StatusCode::OK) {
        let mut reader = body.into_with_config().limit(LONGEST).reader();
        io::Read::read_to_end(&mut reader, &mut bytes).map_err(|e| HttpError::new(HttpErrorKind::Interrupted, e))?;
    }
    Ok(Response::from_parts(parts, bytes.into()))
}

/// What is tried again, and when.
fn kind(error: &ureq::Error) -> HttpErrorKind {
    match error {
        ureq::Error::Timeout(_) => HttpErrorKind::Timeout,
        ureq::Error::ConnectionFailed | ureq::Error::HostNotFound => HttpErrorKind::Connect,
        ureq::Error::Io(e) if e.kind() == io::ErrorKind::ConnectionRefused => HttpErrorKind::Connect,
        ureq::Error::Io(_) | ureq::Error::Protocol(_) => HttpErrorKind::Interrupted,
        _ => HttpErrorKind::Unknown,
    }
}
