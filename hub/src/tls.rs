//! Whom connections trust.

use std::path::Path;

use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use crate::error::{Error, Result};

/// The built-in certificates, or those of a file (`SSL_CERT_FILE`), PEM.
///
/// # Errors
/// It cannot be read or holds no certificates.
pub fn config(certificates: Option<&Path>) -> Result<TlsConfig> {
    let mut tls = TlsConfig::builder();
    if let Some(path) = certificates {
        let pem = std::fs::read(path).map_err(Error::io("read SSL_CERT_FILE", path))?;
        let items = parse_pem(&pem).filter_map(std::result::Result::ok);
        let trusted: Vec<_> =
            items.filter_map(|i| if let PemItem::Certificate(c) = i { Some(c) } else { None }).collect();
        if trusted.is_empty() {
            return Err(Error::Invalid(format!("SSL_CERT_FILE={} holds no certificates", path.display())));
        }
        tls = tls.root_certs(RootCerts::new_with_certs(&trusted));
    }
    Ok(tls.build())
}
