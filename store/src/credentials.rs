//! Who asks: credentials from the variables and files that each store's own tools read, and from nowhere else.

use std::{
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

use object_store::{aws::AmazonS3Builder, azure::MicrosoftAzureBuilder, gcp::GoogleCloudStorageBuilder};

use crate::profile::{Environment, Profile};

/// Variables that hold secrets, whole.
const SECRETS: [&str; 16] = [
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_TOKEN",
    "AWS_SSE_CUSTOMER_KEY_BASE64",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_CONNECTION_STRING",
    "AZURE_STORAGE_TOKEN",
    "AZURE_STORAGE_CLIENT_SECRET",
    "AZURE_CLIENT_SECRET",
    "AZURE_STORAGE_ENCRYPTION_KEY",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_BEARER_TOKEN",
];

/// How long the machine's own service of credentials may take to be there.
const NEAR: Duration = Duration::from_secs(1);

/// Who asks.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// Where its credentials were taken from, as a person would say it.
    pub from: String,
    /// What no message may hold.
    pub secrets: Vec<Secret>,
}

/// A secret. It prints as a placeholder, whatever prints it.
#[derive(Clone)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(...)")
    }
}

impl Identity {
    fn new(environment: Environment<'_>) -> Self {
        let secrets = SECRETS.iter().filter_map(|name| environment(name)).map(Secret).collect();
        Self { from: "nowhere".into(), secrets }
    }

    fn of(mut self, from: impl Into<String>) -> Self {
        self.from = from.into();
        self
    }

    fn holds(&mut self, secret: &str) {
        self.secrets.push(Secret(secret.to_owned()));
    }
}

/// A variable of this process.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

fn on(value: Option<String>) -> bool {
    value.is_some_and(|value| ["1", "true", "yes", "on"].contains(&value.trim().to_lowercase().as_str()))
}

/// Whether something answers there; where nothing does, asking it for credentials would take minutes.
fn answers(place: &str) -> bool {
    let places = place.to_socket_addrs().into_iter().flatten();
    places.take(2).any(|place| TcpStream::connect_timeout(&place, NEAR).is_ok())
}

/// How S3 is asked.
///
/// # Errors
/// A sentence: there are no credentials, or the profile has them elsewhere.
pub fn s3(bucket: &str) -> Result<(AmazonS3Builder, Identity), String> {
    let env: Environment<'_> = &environment;
    let profile = Profile::read(env)?;
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
    let mut identity = Identity::new(env);
    if env("AWS_REGION").or_else(|| env("AWS_DEFAULT_REGION")).is_none()
        && let Some(region) = profile.get("region")
    {
        builder = builder.with_region(region);
    }
    let named = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"].iter().find_map(|name| env(name));
    let endpoint = named.or_else(|| {
        let endpoint = profile.get("endpoint_url")?.to_owned();
        Some(endpoint)
    });
    if let Some(endpoint) = &endpoint {
        // What somebody names without encryption is asked without: a store on the same machine, mostly.
        builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
    }
    let set = |names: [&str; 2]| names.iter().all(|name| env(name).is_some());
    let identity = if env("AWS_ACCESS_KEY_ID").is_some() {
        identity.of("AWS_ACCESS_KEY_ID")
    } else if on(env("AWS_SKIP_SIGNATURE")) {
        identity.of("nowhere, as AWS_SKIP_SIGNATURE says")
    } else if set(["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"]) {
        identity.of("AWS_WEB_IDENTITY_TOKEN_FILE")
    } else if let (Some(key), Some(secret)) = (profile.get("aws_access_key_id"), profile.get("aws_secret_access_key")) {
        builder = builder.with_access_key_id(key).with_secret_access_key(secret);
        identity.holds(secret);
        if let Some(token) = profile.get("aws_session_token") {
            builder = builder.with_token(token);
            identity.holds(token);
        }
        identity.of(format!("the profile `{}` of ~/.aws", profile.name))
    } else if let Some(key) = profile.elsewhere() {
        return Err(format!(
            "the profile `{0}` gets its credentials by `{key}`, which is not followed here: run `eval \"$(aws configure \
             export-credentials --profile {0} --format env)\"` first",
            profile.name
        ));
    } else if env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").is_some()
        || set(["AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"])
    {
        identity.of("the container")
    } else if !on(env("AWS_EC2_METADATA_DISABLED")) && answers("169.254.169.254:80") {
        identity.of("this machine's own role")
    } else {
        return Err("there are no credentials for it: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; for a bucket \
                    that is open to all set AWS_SKIP_SIGNATURE=true"
            .into());
    };
    Ok((builder, identity))
}

/// How Google Cloud Storage is asked.
///
/// # Errors
/// A sentence: there are no credentials.
pub fn google(bucket: &str) -> Result<(GoogleCloudStorageBuilder, Identity), String> {
    let env: Environment<'_> = &environment;
    let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket);
    let identity = Identity::new(env);
    let own = environment("HOME").is_some_and(|home| {
        std::path::Path::new(&home).join(".config/gcloud/application_default_credentials.json").exists()
    });
    let names = [
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_SERVICE_ACCOUNT",
        "GOOGLE_SERVICE_ACCOUNT_PATH",
        "GOOGLE_SERVICE_ACCOUNT_KEY",
    ];
    let named = names.into_iter().chain(["GOOGLE_BEARER_TOKEN"]).find(|name| env(name).is_some());
    let identity = if let Some(name) = named {
        identity.of(name)
    } else if on(env("GOOGLE_SKIP_SIGNATURE")) {
        identity.of("nowhere, as GOOGLE_SKIP_SIGNATURE says")
    } else if own {
        identity.of("`gcloud auth application-default login`")
    } else if answers("metadata.google.internal:80") {
        identity.of("this machine's own account")
    } else {
        return Err("there are no credentials for it: set GOOGLE_APPLICATION_CREDENTIALS to the file of a service account, or run \
                    `gcloud auth application-default login`; for a bucket that is open to all set GOOGLE_SKIP_SIGNATURE=true"
            .into());
    };
    Ok((builder, identity))
}

/// How Azure is asked.
///
/// # Errors
/// A sentence: there is no account.
pub fn azure(container: &str) -> Result<(MicrosoftAzureBuilder, Identity), String> {
    let env: Environment<'_> = &environment;
    let mut builder = MicrosoftAzureBuilder::from_env().with_container_name(container);
    let (mut identity, mut account) = (Identity::new(env), env("AZURE_STORAGE_ACCOUNT_NAME"));
    let mut from = None;
    if let Some(text) = env("AZURE_STORAGE_CONNECTION_STRING") {
        let parts: Vec<(&str, &str)> = text.split(';').filter_map(|part| part.split_once('=')).collect();
        let part = |name: &str| parts.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        account = account.or_else(|| part("AccountName"));
        if let Some(key) = part("AccountKey") {
            identity.holds(&key);
            builder = builder.with_access_key(key);
        }
        if let Some(endpoint) = part("BlobEndpoint") {
            builder = builder.with_allow_http(endpoint.starts_with("http://")).with_endpoint(endpoint);
        }
        from = Some("AZURE_STORAGE_CONNECTION_STRING");
    }
    if env("AZURE_STORAGE_ENDPOINT").is_some_and(|endpoint| endpoint.starts_with("http://")) {
        builder = builder.with_allow_http(true);
    }
    account = account.or_else(|| env("AZURE_STORAGE_ACCOUNT"));
    if let Some(key) = env("AZURE_STORAGE_KEY") {
        builder = builder.with_access_key(key);
        from = Some("AZURE_STORAGE_KEY");
    }
    let Some(account) = account.or_else(|| on(env("AZURE_STORAGE_USE_EMULATOR")).then(|| "devstoreaccount1".into()))
    else {
        return Err("there is no account for it: set AZURE_STORAGE_ACCOUNT, and AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN, or \
                    AZURE_STORAGE_CONNECTION_STRING"
            .into());
    };
    let names =
        ["AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY", "AZURE_STORAGE_CLIENT_ID"];
    let named = from.or_else(|| names.into_iter().find(|name| env(name).is_some()));
    Ok((
        builder.with_account(account),
        identity.of(named.unwrap_or("the variables AZURE_*, or this machine's own account")),
    ))
}
