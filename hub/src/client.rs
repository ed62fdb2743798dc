//! Requests to the Hub: who gets the token, what is tried again and when, where a redirect leads.

use std::{
    io::Read,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde::de::DeserializeOwned;
use ureq::{
    Agent, Body, SendBody,
    http::{HeaderMap, Request, Response, header},
    tls::{PemItem, RootCerts, TlsConfig, parse_pem},
};

use crate::{
    error::{Error, Result},
    names::Repo,
    outflow::Outflow,
    refusal,
    settings::Settings,
    watch::Watch,
};

/// Tries before giving up, when nothing at all moves on.
const TRIES: u32 = 6;
/// The longest wait between tries that the Hub did not ask for.
const LONGEST: Duration = Duration::from_secs(8);
/// The longest wait that is sat through when the Hub asks for it.
const PATIENCE: Duration = Duration::from_mins(5);
/// A connection on which nothing moves for so long counts as cut.
const SILENCE: Duration = Duration::from_secs(30);
/// The longest answer that is taken for text, in bytes: a page of a listing has well under one megabyte.
const LONGEST_TEXT: u64 = 64 << 20;

/// What a request sends.
#[derive(Clone, Debug)]
pub enum Payload {
    /// Nothing.
    None,
    /// Bytes and their media type.
    Bytes(Vec<u8>, &'static str),
    /// `length` bytes of a file from `offset` on, without a media type, as signed addresses want it.
    Part {
        /// The file.
        path: PathBuf,
        /// First byte.
        offset: u64,
        /// How many.
        length: u64,
    },
}

/// What a request is about, for messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct About<'a> {
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
pub struct Call<'a> {
    /// HTTP method.
    pub method: &'static str,
    /// Whole address.
    pub url: String,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// What it sends.
    pub payload: Payload,
    /// What it is about.
    pub about: About<'a>,
}

impl<'a> Call<'a> {
    /// Fetch `url`.
    pub fn get(url: String, about: About<'a>) -> Self {
        Self { method: "GET", url, headers: Vec::new(), payload: Payload::None, about }
    }

    /// Send JSON to `url`.
    ///
    /// # Errors
    /// Never, but for a fault of ours.
    pub fn post(url: String, json: &impl serde::Serialize, about: About<'a>) -> Result<Self> {
        let body = serde_json::to_vec(json).map_err(|e| Error::Name(format!("cannot be written as JSON: {e}")))?;
        let payload = Payload::Bytes(body, "application/json");
        Ok(Self { method: "POST", url, headers: Vec::new(), payload, about })
    }
}

/// Why one try failed, and whether another makes sense.
#[derive(Debug)]
pub struct Trouble {
    /// What is said if it was the last.
    pub error: Error,
    /// Whether to try again.
    pub again: bool,
    /// How long the Hub asks to wait.
    pub after: Option<Duration>,
    /// Whether something was gained, so that trying again can go on for ever.
    pub gained: bool,
}

impl Trouble {
    /// Nothing that another try would mend.
    pub fn last(error: Error) -> Self {
        Self { error, again: false, after: None, gained: false }
    }

    /// Something that another try may mend.
    pub fn again(error: Error) -> Self {
        Self { error, again: true, after: None, gained: false }
    }
}

/// A connection to the Hub.
pub struct Client {
    agent: Agent,
    settings: Settings,
}

impl Client {
    /// A client with these settings.
    ///
    /// # Errors
    /// `SSL_CERT_FILE` cannot be read or holds no certificates.
    pub fn new(settings: Settings) -> Result<Self> {
        let mut tls = TlsConfig::builder();
        if let Some(path) = &settings.certificates {
            let pem = std::fs::read(path).map_err(Error::io("read SSL_CERT_FILE", path))?;
            let items = parse_pem(&pem).filter_map(std::result::Result::ok);
            let trusted: Vec<_> =
                items.filter_map(|i| if let PemItem::Certificate(c) = i { Some(c) } else { None }).collect();
            if trusted.is_empty() {
                return Err(Error::Name(format!("SSL_CERT_FILE={} holds no certificates", path.display())));
            }
            tls = tls.root_certs(RootCerts::new_with_certs(&trusted));
        }
        let agent = Agent::config_builder()
            .tls_config(tls.build())
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("setaccio/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .timeout_connect(Some(SILENCE))
            .timeout_recv_response(Some(SILENCE * 4))
            .timeout_per_read(Some(SILENCE))
            .timeout_per_write(Some(SILENCE))
            .input_buffer_size(256 << 10)
            .build()
            .into();
        Ok(Self { agent, settings })
    }

    /// What it goes by.
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
    pub fn json<T: DeserializeOwned>(&self, call: &Call<'_>, watch: &dyn Watch) -> Result<T> {
        Ok(self.json_with_head(call, watch)?.1)
    }

    /// Fetch JSON, and the head of the answer.
    ///
    /// # Errors
    /// As [`Client::json`].
    pub fn json_with_head<T: DeserializeOwned>(&self, call: &Call<'_>, watch: &dyn Watch) -> Result<(HeaderMap, T)> {
        let (head, text) = self.text(call, watch)?;
        let parsed = serde_json::from_str(&text);
        let parsed = parsed.map_err(|e| Error::Answer { url: shown(&call.url), message: e.to_string() })?;
        Ok((head, parsed))
    }

    /// Fetch the whole answer, and its head.
    ///
    /// # Errors
    /// As [`Client::json`].
    pub fn text(&self, call: &Call<'_>, watch: &dyn Watch) -> Result<(HeaderMap, String)> {
        self.patiently(watch, || self.text_once(call, watch))
    }

    /// One try at [`Client::text`].
    ///
    /// # Errors
    /// What failed, and whether another try makes sense.
    pub fn text_once(&self, call: &Call<'_>, watch: &dyn Watch) -> std::result::Result<(HeaderMap, String), Trouble> {
        let (head, body) = self.open(call, watch)?.into_parts();
        let mut text = String::new();
        let read = body.into_reader().take(LONGEST_TEXT).read_to_string(&mut text);
        read.map_err(|e| Trouble::again(unreachable(&call.url, &e.to_string())))?;
        Ok((head.headers, text))
    }

    /// Do something until it goes well, it fails for good, or patience ends.
    ///
    /// # Errors
    /// The last one's, or Ctrl-C.
    pub fn patiently<T>(
        &self,
        watch: &dyn Watch,
        mut once: impl FnMut() -> std::result::Result<T, Trouble>,
    ) -> Result<T> {
        let mut failed = 0;
        loop {
            if watch.cancelled() {
                return Err(Error::Interrupted);
            }
            let trouble = match once() {
                Ok(done) => return Ok(done),
                Err(trouble) => trouble,
            };
            failed = if trouble.gained { 1 } else { failed + 1 };
            if !trouble.again || failed >= TRIES || trouble.after.is_some_and(|a| a > PATIENCE) {
                return Err(trouble.error);
            }
            let backoff = (self.settings.wait * 2_u32.pow(failed - 1)).min(LONGEST);
            // A wait of nothing is no reason to ask without a pause.
            let wait = trouble.after.filter(|a| !a.is_zero()).unwrap_or(backoff);
            if wait >= Duration::from_secs(2) {
                watch.note(&format!("waiting {} s: {}", wait.as_secs(), trouble.error));
            }
            let until = Instant::now() + wait;
            while let Some(left) = until.checked_duration_since(Instant::now()) {
                if watch.cancelled() {
                    return Err(Error::Interrupted);
                }
                std::thread::sleep(left.min(Duration::from_millis(100)));
            }
        }
    }

    /// One request, and whatever its redirects lead to. The body is still to be read.
    ///
    /// # Errors
    /// What failed, and whether another try makes sense.
    pub fn open(&self, call: &Call<'_>, watch: &dyn Watch) -> std::result::Result<Response<Body>, Trouble> {
        if self.settings.offline {
            let what = call.about.repo.map_or_else(|| shown(&call.url), ToString::to_string);
            return Err(Trouble::last(Error::NeedsHub { what }));
        }
        let mut url = call.url.clone();
        for _ in 0..6 {
            let response = self.one(call, &url, watch)?;
            let status = response.status().as_u16();
            if !matches!(status, 301 | 302 | 303 | 307 | 308) {
                return if status < 300 { Ok(response) } else { Err(refusal::understand(self, call, &url, response)) };
            }
            let to = response.headers().get(header::LOCATION).and_then(|v| v.to_str().ok());
            let Some(to) = to.map(|to| absolute(&url, to)) else {
                let message = "a redirect to nowhere".into();
                return Err(Trouble::last(Error::Answer { url: shown(&url), message }));
            };
            // What is sent goes to whoever was asked, or to the same host by another name of the repository.
            if call.method != "GET" && origin(&to) != origin(&url) {
                let message = "it sends what is written to another host".into();
                return Err(Trouble::last(Error::Answer { url: shown(&url), message }));
            }
            url = to;
        }
        Err(Trouble::last(Error::Answer { url: shown(&call.url), message: "too many redirects".into() }))
    }

    fn one(&self, call: &Call<'_>, url: &str, watch: &dyn Watch) -> std::result::Result<Response<Body>, Trouble> {
        let mut request = Request::builder().method(call.method).uri(url);
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        // Nobody but the Hub itself is given the token: signed addresses of a storage need none.
        if let Some(token) = self.settings.token.as_ref().filter(|_| origin(url) == origin(&self.settings.endpoint)) {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.secret()));
        }
        let unsound = |e: ureq::http::Error| {
            Trouble::last(Error::Answer { url: shown(url), message: self.cleaned(&e.to_string()) })
        };
        let sent = match &call.payload {
            Payload::None => self.agent.run(request.body(()).map_err(unsound)?),
            Payload::Bytes(bytes, kind) => {
                let request = request.header(header::CONTENT_TYPE, *kind);
                self.agent.run(request.body(bytes.as_slice()).map_err(unsound)?)
            }
            Payload::Part { path, offset, length } => {
                let mut part = Outflow::new(path, (*offset, *length), watch).map_err(Trouble::last)?;
                let request = request.header(header::CONTENT_LENGTH, length.to_string());
                let sent = self.agent.run(request.body(SendBody::from_reader(&mut part)).map_err(unsound)?);
                match part.fault() {
                    Some(error) if sent.is_err() => return Err(Trouble::last(error)),
                    _ => sent,
                }
            }
        };
        sent.map_err(|e| {
            let for_good = matches!(e, ureq::Error::BadUri(_) | ureq::Error::Tls(_) | ureq::Error::Rustls(_));
            let error = unreachable(url, &self.cleaned(&e.to_string()));
            if for_good { Trouble::last(error) } else { Trouble::again(error) }
        })
    }

    /// Text of others, without the token, on one line, and no longer than people read.
    pub fn cleaned(&self, text: &str) -> String {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let text = match &self.settings.token {
            Some(token) => text.replace(token.secret(), "(the token)"),
            None => text,
        };
        text.chars().filter(|c| !c.is_control()).take(300).collect()
    }
}

/// The network's failure to reach the host of `url`.
pub fn unreachable(url: &str, reason: &str) -> Error {
    Error::Unreachable { host: origin(url).to_owned(), reason: reason.to_owned() }
}

/// An address as messages show it: what comes after `?` may be a signature.
pub fn shown(url: &str) -> String {
    url.split(['?', '#']).next().unwrap_or_default().to_owned()
}

/// Scheme, host and port.
pub fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |at| host + at);
    &url[..end]
}

/// Where `to` leads when it is met at `from`.
pub fn absolute(from: &str, to: &str) -> String {
    if to.starts_with("http://") || to.starts_with("https://") {
        to.to_owned()
    } else if to.starts_with("//") {
        format!("{}:{to}", from.split(':').next().unwrap_or("https"))
    } else if to.starts_with('/') {
        format!("{}{to}", origin(from))
    } else {
        let plain = shown(from);
        format!("{}/{to}", plain.rsplit_once('/').map_or(plain.as_str(), |(folder, _)| folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(origin("https://h:1/a?b"), "https://h:1");
        assert_eq!(origin("https://h"), "https://h");
        assert_eq!(shown("https://h/a?X-Signature=secret"), "https://h/a");
        for (to, is) in
            [("https://x/y", "https://x/y"), ("/y", "https://h"), ("//x/y", "https://x/y"), ("y", "https://h/a/y")]
        {
            let is = if to == "/y" { format!("{is}/y") } else { is.to_owned() };
            assert_eq!(absolute("https://h/a/b?c", to), is, "{to}");
        }
    }

    #[test]
    fn what_others_say_is_cleaned() {
        let get = |name: &str| (name == "HF_TOKEN").then(|| "hf_secret".to_owned());
        let client = Settings::from(get).and_then(Client::new).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(client.cleaned("no\n  hf_secret \u{1b}[31m"), "no (the token) [31m");
        assert_eq!(client.cleaned(&"x".repeat(1000)).len(), 300);
    }
}
