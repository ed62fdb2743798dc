//! What a store said, in one sentence that says what to do and holds no secret.

use std::error::Error as _;

use object_store::Error;
use setaccio_base::objects::{StoreError, Why};
use setaccio_hub::Settings;

use crate::credentials::{Identity, environment};

/// What is said where an object is not the one that was looked at.
pub const CHANGED: &str = "was changed while it was read: run the same command again once it is whole";

/// Codes of S3 that say that credentials are too old.
const EXPIRED: [&str; 3] = ["ExpiredToken", "TokenRefreshRequired", "RequestTimeTooSkewed"];

/// What became of a request for `address` that was made as `identity`.
pub fn of(address: &str, identity: &Identity, error: &Error) -> StoreError {
    let chain = chain(error);
    let (status, code) = (status(&chain), code(&chain));
    let from = &identity.from;
    let changed = matches!(error, Error::Precondition { .. } | Error::AlreadyExists { .. }) || status == Some(412);
    let why = if changed { Why::Changed } else { Why::Refused };
    let message = match (error, status, code.as_deref()) {
        (Error::AlreadyExists { .. }, ..) => "is there already".into(),
        _ if changed => CHANGED.to_owned(),
        (_, _, Some("NoSuchBucket")) => {
            "is in a bucket that does not exist: look at the name, and at AWS_ENDPOINT_URL".into()
        }
        (_, _, Some(code)) if EXPIRED.contains(&code) => format!(
            "the store says that the credentials from {from} have expired ({code}): get new ones and look at the clock, then run the \
             same command again; finished tasks are kept"
        ),
        (Error::NotFound { .. }, ..) => "is not there: look at the name".into(),
        (Error::NotSupported { .. }, ..) => {
            "its server sends files whole or not at all, and they are read in parts: bring it here first".into()
        }
        (Error::PermissionDenied { .. } | Error::Unauthenticated { .. }, ..) | (_, Some(401 | 403), _) => {
            let said = code.clone().unwrap_or_else(|| status.map(|status| status.to_string()).unwrap_or_default());
            format!(
                "the store refuses it to the credentials from {from} ({said}): give others, or ask for the right to it"
            )
        }
        (_, Some(301 | 307 | 308), _) => "lies in another region: set AWS_REGION to it".into(),
        _ if chain.iter().any(|text| text.contains("Received redirect")) => {
            "lies in another region: set AWS_REGION to it".into()
        }
        (_, Some(status), code) => format!(
            "the store fails ({status}{}): it was asked several times; run the same command again later, finished tasks are kept",
            code.map(|code| format!(" {code}")).unwrap_or_default()
        ),
        _ => format!(
            "cannot be reached ({}): look at the network, and at AWS_ENDPOINT_URL and the like; run the same command again, finished \
             tasks are kept",
            cleaned(chain.last().map_or("", String::as_str), identity)
        ),
    };
    StoreError::new(address, why, message)
}

/// What others say, without secrets, addresses with signatures, and on one line.
pub fn cleaned(text: &str, identity: &Identity) -> String {
    let mut text = text.to_owned();
    for secret in identity.secrets.iter().filter(|secret| secret.0.len() > 3) {
        text = text.replace(&secret.0, "(a secret)");
    }
    // The passwords of proxies are known to the Hub's settings, of which nothing else is asked.
    let proxies = Settings::from(|name| name.to_uppercase().ends_with("_PROXY").then(|| environment(name)).flatten());
    proxies.map_or_else(|_| "no word of it".into(), |settings| settings.redact(&text))
}

/// An error and what it comes from, each in its own words.
fn chain(error: &Error) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut source = error.source();
    while let Some(error) = source {
        texts.push(error.to_string());
        source = error.source();
    }
    texts
}

/// The status that a server answered with.
fn status(chain: &[String]) -> Option<u16> {
    chain.iter().find_map(|text| text.split_once("status code: ")?.1.get(..3)?.parse().ok())
}

/// The code of an error in XML, as the stores have it.
fn code(chain: &[String]) -> Option<String> {
    let inside = |text: &String| Some(text.split_once("<Code>")?.1.split_once("</Code>")?.0.to_owned());
    let code = chain.iter().find_map(inside)?;
    code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.').then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::Secret;

    #[test]
    fn a_sentence_holds_what_to_do_and_no_secret() {
        let identity = Identity { from: "AWS_ACCESS_KEY_ID".into(), secrets: vec![Secret("s3cr3t".into())] };
        let said = |text: &str| {
            of("s3://b/k", &identity, &Error::Generic { store: "S3", source: text.to_owned().into() }).to_string()
        };
        for (text, expected) in [
            (
                "Server returned non-2xx status code: 400 Bad Request: <Error><Code>ExpiredToken</Code><Token>s3cr3t</Token>",
                "have expired (ExpiredToken)",
            ),
            ("Server returned non-2xx status code: 500 Internal Server Error: x", "the store fails (500)"),
            ("Server returned non-2xx status code: 503 Slow: <Code>SlowDown</Code>", "the store fails (503 SlowDown)"),
            ("Received redirect without LOCATION", "set AWS_REGION"),
            ("GET https://h/x?X-Amz-Signature=abc with s3cr3t", "cannot be reached (GET https://h/x with (a secret))"),
        ] {
            let said = said(text);
            assert!(said.starts_with("s3://b/k: ") && said.contains(expected), "{text}: {said}");
            assert!(!said.contains("s3cr3t") && !said.contains("Signature"), "{said}");
        }
        let denied =
            Error::PermissionDenied { path: "k".into(), source: "status code: 403 x <Code>AccessDenied</Code>".into() };
        let said = of("s3://b/k", &identity, &denied).to_string();
        assert!(said.contains("refuses it to the credentials from AWS_ACCESS_KEY_ID (AccessDenied)"), "{said}");
    }
}
