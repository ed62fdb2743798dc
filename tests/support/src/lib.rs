//! A Hub and a store of objects on this machine, for tests. The Hub: the endpoints that `setaccio`, `huggingface_hub` and `datasets` call,
//! over repositories in memory, with faults on demand. Large files are answered as the real one does, by a
//! redirect to a storage on another host that refuses whoever brings a token.
//!
//! It is written from the interface as its clients use it, and real clients drive it in CI
//! (`tests/python/check_hub.py`), so that it cannot drift into what only our own client understands.

#![allow(clippy::result_large_err, reason = "a refusal is an answer, and made once a request")]

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};

mod buckets;
mod faults;
mod files;
mod reading;
mod request;
mod server;
mod store;
mod writing;

pub use buckets::{Buckets, Bytes, StoreRequest, StoredObject, TestStore};
pub use faults::{Fault, FaultKind, Faults};
pub use store::{Commit, Content, Repo, Store, User};

/// The token of `anna`, who may write.
pub const WRITE: &str = "hf_wwwwAnnaMayWriteXXXXXXXXXXXXXXXXXXX";
/// The token of `bruno`, who may read.
pub const READ: &str = "hf_rrrrBrunoMayReadXXXXXXXXXXXXXXXXXXX";

/// One request that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedRequest {
    /// HTTP method.
    pub method: String,
    /// Path without the query.
    pub path: String,
    /// Whether a token was sent.
    pub token: bool,
    /// The `Range` header.
    pub range: Option<String>,
}

/// A Hub that runs until it is dropped.
pub struct TestHub {
    shared: Arc<Shared>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

pub(crate) struct Shared {
    pub(crate) address: SocketAddr,
    pub(crate) storage: SocketAddr,
    pub(crate) store: Mutex<Store>,
    pub(crate) faults: Mutex<Faults>,
    pub(crate) log: Mutex<Vec<LoggedRequest>>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TestHub {
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
        let listen = |port| {
            let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
            listener.set_nonblocking(true).expect("a socket of tokio's kind");
            (listener.local_addr().expect("an address"), listener)
        };
        let ((address, hub), (storage, cdn)) = (listen(port), listen(0));
        let shared = Arc::new(Shared {
            address,
            storage,
            store: Mutex::default(),
            faults: Mutex::default(),
            log: Mutex::default(),
        });
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let served = shared.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                tokio::select! {
                    () = server::serve(hub, cdn, served) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { shared, stop: Some(stop), thread: Some(thread) }
    }

    /// What `HF_ENDPOINT` has to be.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.shared.address)
    }

    /// The repositories and users, to fill and to look into.
    pub fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.shared.store)
    }

    /// What goes wrong.
    pub fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.shared.faults)
    }

    /// Every request so far; the log is empty afterwards.
    pub fn take_log(&self) -> Vec<LoggedRequest> {
        std::mem::take(&mut lock(&self.shared.log))
    }
}

impl Drop for TestHub {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
