//! A bucket, or a server of files, that is asked with somebody's credentials.

use std::{sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, RetryConfig, http::HttpBuilder, multipart::MultipartStore,
};
use setaccio_base::objects::{Result, StoreError, Why};
use setaccio_hub::tls;

use crate::{
    address::{Address, Scheme},
    credentials::{self, Identity, environment},
    sentence::cleaned,
    transport::Connector,
};

/// A bucket.
pub struct Bucket {
    /// What asks it.
    pub store: Arc<dyn ObjectStore>,
    /// The same, for objects in parts; a server of files takes none.
    pub parts: Option<Arc<dyn MultipartStore>>,
    /// Who asks.
    pub identity: Identity,
}

/// Redirects that are followed on the way to a file.
const REDIRECTS: u32 = 5;

impl Bucket {
    /// The one that an address is in.
    ///
    /// # Errors
    /// There are no credentials for it, or what the environment says of it makes no sense.
    pub fn open(address: &Address) -> Result<Self> {
        let refused = |message: String| StoreError::new(&address.root, Why::Refused, message);
        let certificates = environment("SSL_CERT_FILE").or_else(|| environment("AWS_CA_BUNDLE"));
        let tls = tls::config(certificates.as_deref().map(std::path::Path::new)).map_err(|e| refused(e.to_string()))?;
        let connector = Connector { redirects: if address.scheme == Scheme::Web { REDIRECTS } else { 0 }, tls };
        let name = address.bucket();
        let wrong = |identity: &Identity| {
            let identity = identity.clone();
            move |error: object_store::Error| {
                refused(format!("cannot be asked: {}", cleaned(&error.to_string(), &identity)))
            }
        };
        Ok(match address.scheme {
            Scheme::S3 => {
                let (builder, identity) = credentials::s3(name).map_err(refused)?;
                let built = builder.with_retry(retry()).with_http_connector(connector).build();
                let store = Arc::new(built.map_err(wrong(&identity))?);
                Self { store: store.clone(), parts: Some(store), identity }
            }
            Scheme::Google => {
                let (builder, identity) = credentials::google(name).map_err(refused)?;
                let built = builder.with_retry(retry()).with_http_connector(connector).build();
                let store = Arc::new(built.map_err(wrong(&identity))?);
                Self { store: store.clone(), parts: Some(store), identity }
            }
            Scheme::Azure => {
                let (builder, identity) = credentials::azure(name).map_err(refused)?;
                let built = builder.with_retry(retry()).with_http_connector(connector).build();
                let store = Arc::new(built.map_err(wrong(&identity))?);
                Self { store: store.clone(), parts: Some(store), identity }
            }
            Scheme::Web => {
                let identity = Identity { from: "nowhere".into(), ..Identity::default() };
                let options = ClientOptions::new().with_allow_http(address.root.starts_with("http://"));
                let builder = HttpBuilder::new().with_url(&address.root).with_client_options(options);
                let built = builder.with_retry(retry()).with_http_connector(connector).build();
                Self { store: Arc::new(built.map_err(wrong(&identity))?), parts: None, identity }
            }
        })
    }
}

fn stated_wait() -> Option<u64> {
    environment("SETACCIO_STORE_WAIT_MS").and_then(|text| text.parse().ok())
}

/// How long it is waited before a request is tried again for the first time.
pub fn first_wait() -> Duration {
    Duration::from_millis(stated_wait().unwrap_or(500))
}

/// How often a request is tried again, and for how long.
fn retry() -> RetryConfig {
    let wait = stated_wait();
    let backoff = BackoffConfig {
        init_backoff: first_wait(),
        max_backoff: Duration::from_millis(wait.unwrap_or(15_000)),
        base: 2.0,
    };
    RetryConfig { backoff, max_retries: 8, retry_timeout: Duration::from_mins(3) }
}
