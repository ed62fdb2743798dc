//! What the environment says of the Hub, in the variables that Python's tools read.

use std::{fmt, path::PathBuf, time::Duration};

use percent_encoding::percent_decode_str;
use setaccio_base::shown::one_line;

use crate::{
    error::{Error, Result},
    url::redacted,
};

/// Where the Hub is, unless `HF_ENDPOINT` says otherwise.
pub const HUB: &str = "https://huggingface.co";

/// A token. It prints as a placeholder, whatever prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token, without the white space around it; none if nothing is left.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty() && text.is_ascii() && !text.contains(char::is_control)).then(|| Self(text.to_owned()))
    }

    /// The token itself, for a header and for keeping it out of everything else.
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(...)")
    }
}

/// How to talk to the Hub, and where its files are kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Scheme and host, without a slash at the end (`HF_ENDPOINT`).
    pub endpoint: String,
    /// `HF_TOKEN`, or what the token file holds.
    pub token: Option<Token>,
    /// The token file (`HF_TOKEN_PATH`, or `token` in `HF_HOME`).
    pub token_file: PathBuf,
    /// The cache (`HF_HUB_CACHE`, or `hub` in `HF_HOME`).
    pub cache: PathBuf,
    /// Ask nothing of the network (`HF_HUB_OFFLINE`).
    pub offline: bool,
    /// The first wait before trying again; each later one is twice as long.
    pub wait: Duration,
    /// Passwords of proxies, which no message may hold.
    passwords: Vec<Token>,
    /// Certificates to trust instead of the built-in ones, PEM (`SSL_CERT_FILE`).
    pub certificates: Option<PathBuf>,
}

/// Variables that name proxies, in capitals or not.
const PROXIES: [&str; 3] = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"];

/// The password that the address of a proxy holds, as it is written and as it is meant.
fn passwords(proxy: &str) -> Vec<Token> {
    let user = proxy.rsplit_once('@').map_or("", |(user, _)| user);
    let user = user.split_once("://").map_or(user, |(_, user)| user);
    let written = user.split_once(':').map_or(user, |(_, password)| password);
    let meant = percent_decode_str(written).decode_utf8_lossy();
    [written, &meant].into_iter().filter_map(Token::new).collect()
}

/// That `HF_ENDPOINT` is an address and nothing else: it stands in messages and in the addresses of pages. What it is instead
/// is not said, for it may be a secret.
fn check_endpoint(endpoint: &str) -> Result<()> {
    let rest = ["http://", "https://"].iter().find_map(|scheme| endpoint.strip_prefix(scheme));
    let address = |rest: &str| {
        !rest.starts_with('/') && !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
    };
    if !rest.is_some_and(address) {
        return Err(Error::Invalid(format!("HF_ENDPOINT is no address: write one such as {HUB}")));
    }
    if endpoint.contains(['@', '?', '#']) {
        return Err(Error::Invalid(format!(
            "HF_ENDPOINT holds a user, a password or a query, and would show it in the addresses of pages: write scheme and \
             host alone, such as {HUB}, and put a token into HF_TOKEN"
        )));
    }
    Ok(())
}

impl Settings {
    /// As this process's environment has it.
    ///
    /// # Errors
    /// `HF_ENDPOINT` is no address, the token is none, or the token file cannot be read.
    pub fn from_env() -> Result<Self> {
        Self::from(|name| std::env::var(name).ok())
    }

    /// As `get` answers for the names of variables.
    pub fn from(get: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let get = |name: &str| get(name).filter(|v| !v.trim().is_empty());
        let on =
            |name: &str| get(name).is_some_and(|v| ["1", "on", "yes", "true"].contains(&v.to_lowercase().as_str()));
        let home = PathBuf::from(get("HOME").unwrap_or_default());
        let path = |text: String| match text.strip_prefix("~/") {
            Some(rest) => home.join(rest),
            None => PathBuf::from(text),
        };
        let caches = get("XDG_CACHE_HOME").map_or_else(|| home.join(".cache"), path);
        let hf_home = get("HF_HOME").map_or_else(|| caches.join("huggingface"), path);
        let cache = get("HF_HUB_CACHE").or_else(|| get("HUGGINGFACE_HUB_CACHE"));
        let token_file = get("HF_TOKEN_PATH").map_or_else(|| hf_home.join("token"), path);
        let token = get("HF_TOKEN").or_else(|| get("HUGGING_FACE_HUB_TOKEN"));
        let token = match token {
            Some(token) => Some(("HF_TOKEN", token)),
            None => match std::fs::read_to_string(&token_file) {
                Ok(token) => Some(("the token file", token)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                Err(error) => return Err(Error::io("read", &token_file)(error)),
            },
        };
        let token = token.filter(|(_, text)| !text.trim().is_empty());
        let token = token.map(|(place, text)| {
            let bad =
                || Error::Invalid(format!("{place} holds what can be no token: make one at {HUB}/settings/tokens"));
            Token::new(&text).ok_or_else(bad)
        });
        let endpoint = get("HF_ENDPOINT").map_or_else(|| HUB.to_owned(), |e| e.trim().trim_end_matches('/').to_owned());
        check_endpoint(&endpoint)?;
        let proxies = PROXIES.iter().flat_map(|name| [get(name), get(&name.to_lowercase())]).flatten();
        Ok(Self {
            endpoint,
            token: token.transpose()?,
            token_file,
            cache: cache.map_or_else(|| hf_home.join("hub"), path),
            offline: on("HF_HUB_OFFLINE") || on("TRANSFORMERS_OFFLINE"),
            wait: Duration::from_millis(get("SETACCIO_HUB_WAIT_MS").and_then(|v| v.parse().ok()).unwrap_or(500)),
            passwords: proxies.flat_map(|proxy| passwords(&proxy)).collect(),
            certificates: get("SSL_CERT_FILE").map(path),
        })
    }

    /// What others say, without the token, passwords and signed addresses, on one line, and no longer than people read.
    pub fn redact(&self, text: &str) -> String {
        let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for (secrets, instead) in [(self.token.as_slice(), "(the token)"), (&self.passwords, "(a password)")] {
            for secret in secrets {
                text = text.replace(secret.secret(), instead);
            }
        }
        let text = redacted(&text);
        one_line(&text).chars().take(300).collect()
    }

    /// The token file as people write it, so that no message holds a home folder.
    pub fn token_file_name(&self) -> String {
        let name = self.token_file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name == "token" { "$HF_HOME/token".into() } else { "that HF_TOKEN_PATH names".into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Settings {
        let get = |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        Settings::from(get).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn variables_are_those_of_python() {
        let plain = of(&[("HOME", "/h")]);
        assert_eq!(plain.endpoint, HUB);
        assert_eq!(plain.cache, PathBuf::from("/h/.cache/huggingface/hub"));
        assert!(plain.token.is_none() && !plain.offline);
        assert_eq!(of(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]).cache, PathBuf::from("/x/huggingface/hub"));
        let moved = of(&[("HOME", "/h"), ("HF_HOME", "~/hf"), ("HF_ENDPOINT", "http://127.0.0.1:80/")]);
        assert_eq!(moved.cache, PathBuf::from("/h/hf/hub"));
        assert_eq!(moved.token_file, PathBuf::from("/h/hf/token"));
        assert_eq!(moved.endpoint, "http://127.0.0.1:80");
        assert_eq!(of(&[("HF_HUB_CACHE", "/c"), ("HF_HOME", "/hf")]).cache, PathBuf::from("/c"));
        assert!(of(&[("HF_HUB_OFFLINE", "True")]).offline && !of(&[("HF_HUB_OFFLINE", "0")]).offline);
        let token = of(&[("HF_TOKEN", " hf_secret\n")]);
        assert_eq!(token.token.as_ref().map(Token::secret), Some("hf_secret"));
        assert!(!format!("{token:?}").contains("secret"));
        for bad in [
            "huggingface.co",
            "https://",
            "https:///x",
            "https://u:hf_x@h",
            "https://h?token=hf_x",
            "u:hf_x@h",
            "http://h\\x",
        ] {
            let error = Settings::from(|n| (n == "HF_ENDPOINT").then(|| bad.into())).unwrap_err().to_string();
            assert!(!error.contains("hf_x") && error.contains("HF_ENDPOINT"), "{error}");
        }
    }

    #[test]
    fn what_others_say_is_redacted() {
        let settings = of(&[("HF_TOKEN", "hf_secret")]);
        assert_eq!(settings.redact("no\n  hf_secret \u{1b}[31m"), "no (the token) \\u{1b}[31m");
        let proxy = of(&[("https_proxy", "http://anna:p%40ss@proxy.lab:3128"), ("ALL_PROXY", "socks5://key@h")]);
        assert_eq!(
            proxy.redact("p%40ss, p@ss and key; https://h/a?X-Amz-Signature=s"),
            "(a password), (a password) and (a password); https://h/a"
        );
        assert_eq!(settings.redact(&"x".repeat(1000)).len(), 300);
    }

    #[test]
    fn the_token_file_stands_in_for_the_variable() {
        let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        let home = dir.path().to_string_lossy().into_owned();
        std::fs::write(dir.path().join("token"), "hf_file\n").unwrap_or_else(|e| panic!("{e}"));
        let with = |token: &str| of(&[("HF_HOME", &home), ("HF_TOKEN", token)]).token;
        assert_eq!(with("").as_ref().map(Token::secret), Some("hf_file"));
        let bad = |name: &str| (name == "HF_TOKEN").then(|| "hf_perch\u{e9}".to_owned());
        assert!(Settings::from(bad).is_err_and(|e| !e.to_string().contains("perch")));
        assert_eq!(with("hf_env").as_ref().map(Token::secret), Some("hf_env"));
    }
}
