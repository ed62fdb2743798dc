//! Buckets on this machine, for tests: S3 as `object_store` and Amazon's tools speak it, with the headers of Google Cloud Storage
//! beside, what Azure has otherwise, and plain files to whoever asks without credentials. Real clients drive the program against
//! `moto` in CI (`tests/python/check_store.py`); this one fails on demand.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::File,
    io::{Read, Seek, SeekFrom},
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    thread::JoinHandle,
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{
    FaultKind, Faults,
    faults::delay,
    lock,
    request::decoded,
    server::{cut, pairs},
};

/// What an object holds.
#[derive(Clone, Debug)]
pub enum Bytes {
    /// These.
    Here(Arc<Vec<u8>>),
    /// Those of a file, which may be larger than memory.
    File(PathBuf),
}

/// An object.
#[derive(Clone, Debug)]
pub struct StoredObject {
    /// What it holds.
    pub bytes: Bytes,
    /// How many objects were written before it: its ETag and its generation.
    pub generation: u64,
}

/// All buckets, by `bucket/key`.
#[derive(Debug, Default)]
pub struct Buckets {
    /// The objects.
    pub objects: BTreeMap<String, StoredObject>,
    /// Uploads that were begun: where to, and their parts.
    pub uploads: BTreeMap<String, (String, BTreeMap<String, Vec<u8>>)>,
    /// After so many reads, this object is replaced by these bytes.
    pub replace: Option<(usize, String, Vec<u8>)>,
    /// Whether objects have no ETag.
    pub untagged: bool,
    written: u64,
}

/// A request that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreRequest {
    /// HTTP method.
    pub method: String,
    /// `bucket/key`.
    pub key: String,
    /// Its query.
    pub query: String,
    /// The `Range` header.
    pub range: Option<String>,
    /// Bytes of the answer's body.
    pub sent: u64,
}

struct Shared {
    buckets: Mutex<Buckets>,
    faults: Mutex<Faults>,
    log: Mutex<Vec<StoreRequest>>,
}

/// A store that runs until it is dropped.
pub struct TestStore {
    shared: Arc<Shared>,
    address: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Buckets {
    /// Write an object.
    pub fn put(&mut self, key: &str, bytes: Bytes) -> u64 {
        self.written += 1;
        self.objects.insert(key.to_owned(), StoredObject { bytes, generation: self.written });
        self.written
    }

    /// Write these bytes.
    pub fn put_bytes(&mut self, key: &str, bytes: impl Into<Vec<u8>>) {
        self.put(key, Bytes::Here(Arc::new(bytes.into())));
    }

    /// What an object holds.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        let object = self.objects.get(key)?;
        object.bytes.part(0, object.bytes.len()).ok()
    }

    /// Keys that begin so.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        self.objects.keys().filter(|key| key.starts_with(prefix)).cloned().collect()
    }
}

impl Bytes {
    fn len(&self) -> u64 {
        match self {
            Self::Here(bytes) => bytes.len() as u64,
            Self::File(path) => std::fs::metadata(path).map_or(0, |found| found.len()),
        }
    }

    fn part(&self, start: u64, length: u64) -> std::io::Result<Vec<u8>> {
        let place = |n| usize::try_from(n).unwrap_or(usize::MAX);
        match self {
            Self::Here(bytes) => Ok(bytes[place(start)..place(start + length)].to_vec()),
            Self::File(path) => {
                let mut file = File::open(path)?;
                file.seek(SeekFrom::Start(start))?;
                let mut part = vec![0; place(length)];
                file.read_exact(&mut part)?;
                Ok(part)
            }
        }
    }
}

impl TestStore {
    /// Start one on a free port.
    ///
    /// # Panics
    /// There is no free port.
    pub fn start() -> Self {
        Self::on(0)
    }

    /// Start one on this port.
    ///
    /// # Panics
    /// The port is taken.
    #[allow(clippy::expect_used, reason = "a test cannot go on without it")]
    pub fn on(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
        listener.set_nonblocking(true).expect("a socket of tokio's kind");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared { buckets: Mutex::default(), faults: Mutex::default(), log: Mutex::default() });
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let served = shared.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                let router = Router::new().fallback(handle).with_state(served);
                tokio::select! {
                    _ = axum::serve(listener, router).into_future() => {}
                    _ = stopped => {}
                }
            });
        });
        Self { shared, address, stop: Some(stop), thread: Some(thread) }
    }

    /// What `AWS_ENDPOINT_URL` has to be.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The buckets, to fill and to look into.
    pub fn buckets(&self) -> MutexGuard<'_, Buckets> {
        lock(&self.shared.buckets)
    }

    /// What goes wrong.
    pub fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.shared.faults)
    }

    /// Every request so far; the log is empty afterwards.
    pub fn take_log(&self) -> Vec<StoreRequest> {
        std::mem::take(&mut lock(&self.shared.log))
    }
}

impl Drop for TestStore {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A request in parts.
struct Asked {
    method: String,
    key: String,
    query: BTreeMap<String, String>,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

async fn handle(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let (method, key) = (head.method.to_string(), decoded(head.uri.path().trim_start_matches('/')));
    let query = head.uri.query().unwrap_or_default().to_owned();
    let range = head.headers.get(header::RANGE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    // Whoever is answered before all was sent may take it for a connection that broke.
    let Ok(body) = to_bytes(body, usize::MAX).await else { return refusal(400, "IncompleteBody") };
    let kind = lock(&shared.faults).next(&method, &format!("{key}?{query}"));
    let entry = StoreRequest { method: method.clone(), key: key.clone(), query: query.clone(), range, sent: 0 };
    match kind {
        Some(FaultKind::Status(status)) => {
            lock(&shared.log).push(entry);
            return refusal(status, "Planned");
        }
        Some(FaultKind::Code(status, code)) => {
            lock(&shared.log).push(entry);
            return refusal(status, code);
        }
        _ => {}
    }
    tokio::time::sleep(delay(kind)).await;
    // A word alone, as in `?uploads`, is a key of the query, too.
    let words = query.split('&').filter(|word| !word.is_empty() && !word.contains('='));
    let mut parts: BTreeMap<String, String> = words.map(|word| (decoded(word), String::new())).collect();
    parts.extend(pairs(&query));
    let asked = Asked { method, key, query: parts, headers: head.headers, body: body.to_vec() };
    let answer = answer(&shared, &asked);
    let sent = answer.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    lock(&shared.log).push(StoreRequest { sent: sent.unwrap_or(0), ..entry });
    match kind {
        Some(FaultKind::Cut(bytes)) => cut(answer, bytes).await,
        Some(FaultKind::Lost) => refusal(504, "Planned"),
        _ => answer,
    }
}

fn answer(shared: &Shared, asked: &Asked) -> Response {
    let mut buckets = lock(&shared.buckets);
    let word = |name: &str| asked.query.contains_key(name);
    let value = |name: &str| asked.query.get(name).map(String::as_str).unwrap_or_default();
    match asked.method.as_str() {
        "GET" if value("comp") == "list" => list(&buckets, asked, true),
        "GET" if word("list-type") => list(&buckets, asked, false),
        "GET" | "HEAD" => get(&mut buckets, asked),
        "POST" if word("uploads") => {
            let id = format!("upload-{}", buckets.uploads.len() + 1);
            buckets.uploads.insert(id.clone(), (asked.key.clone(), BTreeMap::new()));
            xml(format!("<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"))
        }
        "POST" if word("uploadId") => {
            let Some((key, parts)) = buckets.uploads.remove(value("uploadId")) else {
                return refusal(404, "NoSuchUpload");
            };
            let mut numbered: Vec<(usize, Vec<u8>)> =
                parts.into_iter().filter_map(|(number, bytes)| Some((number.parse().ok()?, bytes))).collect();
            numbered.sort_by_key(|(number, _)| *number);
            let all: Vec<u8> = numbered.into_iter().flat_map(|(_, bytes)| bytes).collect();
            let generation = buckets.put(&key, Bytes::Here(Arc::new(all)));
            xml(format!(
                "<CompleteMultipartUploadResult><ETag>\"e{generation}\"</ETag></CompleteMultipartUploadResult>"
            ))
        }
        "POST" if value("comp") == "batch" => {
            let text = String::from_utf8_lossy(&asked.body).into_owned();
            let mut said = String::new();
            for (number, path) in text.split("DELETE /").skip(1).filter_map(|rest| rest.split(' ').next()).enumerate() {
                let there = buckets.objects.remove(&decoded(path)).is_some();
                let status = if there { "202 Accepted" } else { "404 NotFound" };
                let _ = write!(
                    said,
                    "--batch\r\nContent-Type: application/http\r\nContent-ID: {number}\r\n\r\nHTTP/1.1 {status}\r\nx: y\r\n\r\n"
                );
            }
            let kind = [(header::CONTENT_TYPE, "multipart/mixed; boundary=batch")];
            (StatusCode::ACCEPTED, kind, said + "--batch--\r\n").into_response()
        }
        "POST" if word("delete") => {
            let bucket = asked.key.split('/').next().unwrap_or_default().to_owned();
            let text = String::from_utf8_lossy(&asked.body).into_owned();
            let mut said = String::from("<DeleteResult>");
            for key in text.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next()) {
                buckets.objects.remove(&format!("{bucket}/{key}"));
                let _ = write!(said, "<Deleted><Key>{key}</Key></Deleted>");
            }
            xml(said + "</DeleteResult>")
        }
        "PUT" if word("partNumber") => {
            let Some((_, parts)) = buckets.uploads.get_mut(value("uploadId")) else {
                return refusal(404, "NoSuchUpload");
            };
            parts.insert(value("partNumber").to_owned(), asked.body.clone());
            ([(header::ETAG, format!("\"p{}\"", value("partNumber")))], "").into_response()
        }
        "PUT" if value("comp") == "block" => {
            let upload = buckets.uploads.entry(format!("blocks of {}", asked.key)).or_default();
            upload.1.insert(value("blockid").to_owned(), asked.body.clone());
            StatusCode::CREATED.into_response()
        }
        "PUT" if value("comp") == "blocklist" => {
            let (_, parts) = buckets.uploads.remove(&format!("blocks of {}", asked.key)).unwrap_or_default();
            let text = String::from_utf8_lossy(&asked.body).into_owned();
            let ids = text.split("<Uncommitted>").skip(1).filter_map(|rest| rest.split("</Uncommitted>").next());
            let all: Vec<u8> = ids.flat_map(|id| parts.get(id).cloned().unwrap_or_default()).collect();
            let generation = buckets.put(&asked.key, Bytes::Here(Arc::new(all)));
            tagged(StatusCode::CREATED, generation)
        }
        "PUT" => {
            if let Err(status) = may_write(&buckets, asked) {
                return refusal(status, "PreconditionFailed");
            }
            let generation = buckets.put(&asked.key, Bytes::Here(Arc::new(asked.body.clone())));
            // Azure says that it is new, and others that all is well.
            let status = if asked.header("x-ms-blob-type").is_some() { StatusCode::CREATED } else { StatusCode::OK };
            tagged(status, generation)
        }
        "DELETE" if word("uploadId") => match buckets.uploads.remove(value("uploadId")) {
            Some(_) => StatusCode::NO_CONTENT.into_response(),
            None => refusal(404, "NoSuchUpload"),
        },
        "DELETE" => {
            let status =
                if asked.header("x-ms-version").is_some() { StatusCode::ACCEPTED } else { StatusCode::NO_CONTENT };
            buckets.objects.remove(&asked.key).map_or_else(|| refusal(404, "NoSuchKey"), |_| status.into_response())
        }
        _ => refusal(405, "MethodNotAllowed"),
    }
}

/// Whether the conditions of a write hold.
fn may_write(buckets: &Buckets, asked: &Asked) -> Result<(), u16> {
    let generation = buckets.objects.get(&asked.key).map(|object| object.generation);
    let holds =
        match (asked.header("if-none-match"), asked.header("if-match"), asked.header("x-goog-if-generation-match")) {
            (Some("*"), ..) => generation.is_none(),
            (_, Some(tag), _) => generation.is_some_and(|generation| tag == format!("\"e{generation}\"")),
            (_, _, Some(number)) => number.parse() == Ok(generation.unwrap_or(0)),
            _ => true,
        };
    if holds { Ok(()) } else { Err(412) }
}

fn get(buckets: &mut Buckets, asked: &Asked) -> Response {
    if asked.method == "GET"
        && let Some((left, key, bytes)) = buckets.replace.take()
    {
        match left.checked_sub(1) {
            Some(left) => buckets.replace = Some((left, key, bytes)),
            None => buckets.put_bytes(&key, bytes),
        }
    }
    let Some(StoredObject { bytes, generation }) = buckets.objects.get(&asked.key).cloned() else {
        return refusal(404, "NoSuchKey");
    };
    let tag = format!("\"e{generation}\"");
    if !buckets.untagged && asked.header("if-match").is_some_and(|wanted| wanted != tag) {
        return refusal(412, "PreconditionFailed");
    }
    let all = bytes.len();
    let wanted = asked.header("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let wanted = wanted.and_then(|(start, end)| Some((start.parse::<u64>().ok()?, end.parse::<u64>().ok()?)));
    let (start, end) = wanted.map_or((0, all), |(start, end)| (start, all.min(end + 1)));
    if start > end {
        return refusal(416, "InvalidRange");
    }
    let mut answer = Response::new(Body::empty());
    if asked.method == "GET" {
        let Ok(part) = bytes.part(start, end - start) else { return refusal(500, "Unreadable") };
        *answer.body_mut() = Body::from(part);
    }
    if wanted.is_some() {
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    let time = httpdate::fmt_http_date(time(generation));
    let mut headers = vec![
        ("last-modified", time),
        ("content-length", (end - start).to_string()),
        ("x-goog-generation", generation.to_string()),
    ];
    if !buckets.untagged {
        headers.push(("etag", tag));
    }
    if wanted.is_some() {
        headers.push(("content-range", format!("bytes {start}-{}/{all}", end.saturating_sub(1))));
    }
    for (name, value) in headers {
        if let Ok(value) = value.parse() {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

/// When an object was written: a second after the one before it.
fn time(generation: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + generation)
}

/// Keys of a page, at most.
const PAGE: usize = 300;

fn list(buckets: &Buckets, asked: &Asked, azure: bool) -> Response {
    let value = |name: &str| asked.query.get(name).map(String::as_str).unwrap_or_default();
    let bucket = asked.key.trim_end_matches('/');
    if bucket == "nobody" {
        return refusal(404, "NoSuchBucket");
    }
    let after = value(if azure { "marker" } else { "continuation-token" });
    let prefix = format!("{bucket}/{}", value("prefix"));
    let mut keys = buckets.objects.iter().filter(|(key, _)| key.starts_with(&prefix) && key.as_str() > after);
    let (mut said, mut last) = (String::new(), "");
    for (key, object) in keys.by_ref().take(PAGE) {
        last = key;
        let (name, size, generation) = (&key[bucket.len() + 1..], object.bytes.len(), object.generation);
        let date = httpdate::fmt_http_date(time(generation));
        let _ = if azure {
            write!(
                said,
                "<Blob><Name>{name}</Name><Properties><Last-Modified>{date}</Last-Modified><Content-Length>{size}</Content-Length>\
                 <Content-Type>x</Content-Type><Etag>e{generation}</Etag></Properties></Blob>"
            )
        } else {
            write!(
                said,
                "<Contents><Key>{name}</Key><Size>{size}</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
                 <ETag>&quot;e{generation}&quot;</ETag></Contents>"
            )
        };
    }
    let more = if keys.next().is_some() { last } else { "" };
    let next = |tag: &str| if more.is_empty() { String::new() } else { format!("<{tag}>{more}</{tag}>") };
    xml(if azure {
        format!("<EnumerationResults><Blobs>{said}</Blobs>{}</EnumerationResults>", next("NextMarker"))
    } else {
        format!("<ListBucketResult>{said}{}</ListBucketResult>", next("NextContinuationToken"))
    })
}

fn tagged(status: StatusCode, generation: u64) -> Response {
    let mut answer = status.into_response();
    for (name, value) in [("etag", format!("\"e{generation}\"")), ("x-goog-generation", generation.to_string())] {
        if let Ok(value) = value.parse() {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

fn xml(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/xml")], text).into_response()
}

fn refusal(status: u16, code: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, format!("<Error><Code>{code}</Code><Message>planned</Message></Error>")).into_response()
}
