//! The server: routes, who may ask, and a clean end.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{DefaultBodyLimit, Request, State as Extract},
    http::{
        HeaderValue, Method, StatusCode, Uri,
        header::{
            ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
            ACCESS_CONTROL_REQUEST_HEADERS, AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN, VARY,
        },
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::json;
use setaccio_train::{
    Result,
    inference::{
        engine::{Engine, Limits},
        request::Pooling,
    },
    models::Loaded,
};
use tokio::runtime;

use crate::{
    api::{
        chat, completions, embeddings,
        error::ApiError,
        models,
        state::{State, now},
        tokens,
    },
    connections,
    desk::Desk,
    metrics::Metrics,
    page,
};

/// Connections beside those of requests that are answered or wait.
const MORE_CONNECTIONS: usize = 256;
/// How long a client may take to send a body.
const SENDING: Duration = Duration::from_mins(1);
/// Bytes of a body: some clients send a corpus in one request.
const BODY: usize = 64 << 20;
/// Tokens that the KV cache has room for at the least.
const LEAST_ROWS: usize = 64;
/// How often it is asked whether to end.
const ASKED: Duration = Duration::from_millis(50);

/// How to serve.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of the KV cache.
    pub cache_bytes: usize,
    /// Texts that are written beside each other.
    pub texts: usize,
    /// Requests that may wait beside these.
    pub queue: usize,
    /// Most new tokens of an answer.
    pub max_tokens: usize,
    /// What vectors are made of.
    pub pooling: Pooling,
    /// Whether token ids are scored behind a BOS that they do not begin with.
    pub score_with_bos: bool,
    /// Whether `/tokenizer_info` answers.
    pub tokenizer_info: bool,
    /// Origins whose pages may ask.
    pub cors: Vec<String>,
    /// What a request has to show.
    pub key: Option<String>,
    /// Whether it listens on this machine alone.
    pub local: bool,
    /// How long answers may take that are being written when the server is to end.
    pub drain: Duration,
}

/// Serve on `listener` until `ends` says so. Gives how many answers were cut.
///
/// # Errors
/// No memory for the cache; the system refuses.
pub fn serve(listener: TcpListener, loaded: Loaded, options: &Options, ends: fn() -> bool) -> Result<usize> {
    let Loaded { served, models, positions } = loaded;
    let row_bytes = Engine::row_bytes(&models[0]);
    let rows = options.cache_bytes / row_bytes.max(1);
    if rows < LEAST_ROWS {
        let message = format!("a KV cache of {} bytes has room for {rows} tokens: give it more", options.cache_bytes);
        return Err(setaccio_train::Error::Other(message));
    }
    let limits = Limits { rows, texts: options.texts, keep_prompts: true };
    // Of a text that is longer there is no room for.
    let positions = positions.min(rows);
    let engine = Engine::new(models, positions, limits)?;
    let (desk, work) = Desk::open(engine, options.texts + options.queue);
    let ending = Arc::new(AtomicBool::new(false));
    let state = Arc::new(State {
        served,
        positions,
        desk,
        metrics: Metrics::default(),
        row_bytes,
        since: now(),
        max_tokens: options.max_tokens,
        pooling: options.pooling,
        score_with_bos: options.score_with_bos,
        ending: ending.clone(),
        requests: AtomicU64::new(0),
        chance: chance(),
    });
    let app = routes(state.clone(), options);
    let io = |error: io::Error| setaccio_train::Error::Other(format!("cannot serve: {error}"));
    let runtime = runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build().map_err(io)?;
    let drain = options.drain;
    let answers = async move {
        listener.set_nonblocking(true).map_err(io)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(io)?;
        let asked = ending.clone();
        let signal = async move {
            until(ends).await;
            asked.store(true, Ordering::SeqCst);
        };
        let late = async {
            until(ends).await;
            tokio::time::sleep(drain).await;
        };
        let most = options.texts + options.queue + MORE_CONNECTIONS;
        tokio::select! {
            () = connections::serve(listener, app, most, signal) => Ok(0),
            () = late => Ok(state.desk.open_requests()),
        }
    };
    thread::scope(|threads| {
        let answering = threads.spawn(move || runtime.block_on(answers));
        // On this thread: what it frees stays in the program's own heap, while another's gives it back to the system piece by piece.
        // If it panics, the health of the server says so.
        drop(catch_unwind(AssertUnwindSafe(work)));
        answering.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

async fn until(ends: fn() -> bool) {
    while !ends() {
        tokio::time::sleep(ASKED).await;
    }
}

/// What nobody knows beforehand.
fn chance() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

fn routes(state: Arc<State>, options: &Options) -> Router {
    let mut router = Router::new()
        .route("/v1/completions", post(completions::answer))
        .route("/v1/chat/completions", post(chat::answer))
        .route("/v1/embeddings", post(embeddings::answer))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*id}", get(models::one))
        .route("/tokenize", post(tokens::tokenize))
        .route("/detokenize", post(tokens::detokenize))
        .route("/metrics", get(metrics));
    if options.tokenizer_info {
        router = router.route("/tokenizer_info", get(tokens::info));
    }
    let guard = Guard { key: options.key.clone(), cors: options.cors.clone(), local: options.local };
    router
        .route("/", get(page::page))
        .route("/health", get(health))
        .fallback(|uri: Uri| async move { ApiError::no_route(uri.path()) })
        .method_not_allowed_fallback(|method: Method, uri: Uri| async move {
            let error = ApiError::no_route(uri.path());
            let message = format!("{} does not answer {method}", uri.path());
            ApiError { status: StatusCode::METHOD_NOT_ALLOWED, message, ..error }
        })
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(Arc::new(guard), guarded))
        .with_state(state)
}

async fn health(Extract(state): Extract<Arc<State>>) -> Response {
    let alive = state.desk.alive();
    let status = if alive { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "status": if alive { "ok" } else { "the engine has stopped" } }))).into_response()
}

async fn metrics(Extract(state): Extract<Arc<State>>) -> Response {
    let text = state.metrics.text(&state.desk.counts(), state.desk.open_requests(), state.row_bytes);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

/// Who may ask.
struct Guard {
    key: Option<String>,
    cors: Vec<String>,
    /// Whether it listens on this machine alone.
    local: bool,
}

/// Routes that need no key.
const OPEN: [&str; 2] = ["/", "/health"];

async fn guarded(Extract(guard): Extract<Arc<Guard>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(ORIGIN).cloned();
    let named = |origin: &HeaderValue| {
        guard.cors.iter().any(|allowed| allowed == "*" || allowed.as_bytes() == origin.as_bytes())
    };
    let allowed = origin.filter(named);
    let preflight = request.method() == Method::OPTIONS;
    let asked = request.headers().get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let mut response = if preflight && allowed.is_some() {
        (StatusCode::NO_CONTENT, Body::empty()).into_response()
    } else if allowed.is_none() && strange(&guard, &request) {
        ApiError::origin().into_response()
    } else if !OPEN.contains(&request.uri().path()) && !admits(&guard, &request) {
        ApiError::key().into_response()
    } else {
        answered(request, next).await
    };
    if let Some(origin) = allowed {
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(VARY, HeaderValue::from_static("Origin"));
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS"));
        // Clients in browsers send headers of their own.
        let asked = asked.unwrap_or(HeaderValue::from_static("authorization, content-type"));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked);
    }
    response
}

/// The answer to a request whose body is here whole, in time and not too long; errors of the framework in OpenAI's form.
async fn answered(request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let body = match tokio::time::timeout(SENDING, to_bytes(body, BODY)).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) if is_limit(&error) => return ApiError::too_large(BODY).into_response(),
        Ok(Err(_)) => return ApiError::body("the body was not sent to its end").into_response(),
        Err(_) => return ApiError::slow(SENDING).into_response(),
    };
    let response = next.run(Request::from_parts(head, Body::from(body))).await;
    let plain = response.headers().get(CONTENT_TYPE).is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !response.status().is_client_error() || !plain {
        return response;
    }
    let status = response.status();
    let text = to_bytes(response.into_body(), 4096).await.unwrap_or_default();
    ApiError { status, ..ApiError::body(String::from_utf8_lossy(&text)) }.into_response()
}

/// Whether a body was longer than the limit.
fn is_limit(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.to_string().contains("length limit"))
}

/// Whether a request comes from a page of elsewhere: one whose origin is not the address that it asks, or, where only this machine is
/// listened to and no key is asked for, one that asks it by another name, which a name server may have made point here.
fn strange(guard: &Guard, request: &Request) -> bool {
    let text = |value: Option<&HeaderValue>| value.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let host = text(request.headers().get(HOST)).unwrap_or_default();
    let elsewhere = request.headers().contains_key(ORIGIN)
        && text(request.headers().get(ORIGIN))
            .and_then(|o| o.split_once("://").map(|(_, at)| at != host))
            .unwrap_or(true);
    let name =
        host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host.as_str(), |(name, _)| name);
    let own = name == "localhost" || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    elsewhere || (guard.local && guard.key.is_none() && !own)
}

/// Whether a request shows the key, compared in the same time whatever it shows.
fn admits(guard: &Guard, request: &Request) -> bool {
    let Some(key) = &guard.key else { return true };
    let shown = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    let shown = shown.strip_prefix(b"Bearer ").unwrap_or_default();
    let differs = key.bytes().enumerate().fold(key.len() ^ shown.len(), |differs, (i, byte)| {
        differs | usize::from(byte ^ shown.get(i).copied().unwrap_or(0))
    });
    differs == 0
}

/// A socket for this address, before anything long is begun.
///
/// # Errors
/// The address is taken, or not this machine's.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address)
}
