//! Addresses of objects: `s3://bucket/key`, `gs://bucket/key`, `az://container/key`, `https://host/path`.

use object_store::path::Path;
use setaccio_base::objects::{self, Result, StoreError, Why};

/// Which interface a store speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Amazon's S3, and what speaks like it.
    S3,
    /// Google Cloud Storage.
    Google,
    /// Azure Blob Storage.
    Azure,
    /// Any server of files.
    Web,
}

/// An address, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Its interface.
    pub scheme: Scheme,
    /// Scheme and bucket, or scheme and host.
    pub root: String,
    /// What comes behind.
    pub path: Path,
}

impl Address {
    /// Take an address apart.
    ///
    /// # Errors
    /// It is none that is read, or it holds what could be a secret.
    pub fn parse(address: &str) -> Result<Self> {
        let (root, behind) = objects::parts(address);
        let (scheme, host) = root.split_once("://").unwrap_or_default();
        let shown = without_secrets(address);
        let refused = |message: &str| StoreError::new(&shown, Why::Refused, message);
        if host.is_empty() {
            return Err(refused("names no bucket and no host: write s3://BUCKET/NAME or https://HOST/NAME"));
        }
        if host.contains('@') {
            return Err(refused(
                "holds a user or a password, which would stand in recipes and cards: leave it out, and put what the store wants \
                 to know into the environment",
            ));
        }
        let scheme = match scheme {
            "s3" => Scheme::S3,
            "gs" => Scheme::Google,
            "az" => Scheme::Azure,
            "https" => Scheme::Web,
            "http" if is_here(host) => Scheme::Web,
            "http" => {
                return Err(refused(
                    "would be read without encryption, where anybody on the way can change it: use https://",
                ));
            }
            _ => return Err(refused("is no address that is read: s3://, gs://, az:// and https:// are")),
        };
        if scheme == Scheme::Web && behind.contains(['?', '#']) {
            return Err(refused(
                "has a query, which often holds a signature or a token and would stand in recipes and cards: name the file \
                 without one, or bring it here first",
            ));
        }
        let behind = behind.trim_end_matches('/');
        let path = if scheme == Scheme::Web { Path::from_url_path(behind) } else { Path::parse(behind) };
        let path =
            path.map_err(|_| refused("has a part that is empty, `.` or `..`, which no object is asked for by"))?;
        Ok(Self { scheme, root: root.to_owned(), path })
    }

    /// The name of the bucket, or the host.
    pub fn bucket(&self) -> &str {
        self.root.split_once("://").map_or("", |(_, host)| host)
    }
}

/// An address without what stands before its host and behind its path.
fn without_secrets(address: &str) -> String {
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    let host = rest.find('/').unwrap_or(rest.len());
    let rest = match rest[..host].rfind('@') {
        Some(at) => &rest[at + 1..],
        None => rest,
    };
    let rest = if scheme.starts_with("http") { rest.split(['?', '#']).next().unwrap_or(rest) } else { rest };
    format!("{scheme}://{rest}")
}

/// Whether a host with its port is this machine.
fn is_here(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    ["localhost", "127.0.0.1", "[::1]"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart_or_refused_without_their_secrets() {
        let parse = |address: &str| Address::parse(address).map(|a| (a.scheme, a.root, a.path.to_string()));
        let ok = |scheme, root: &str, path: &str| Ok((scheme, root.to_owned(), path.to_owned()));
        assert_eq!(parse("s3://rows/a b/c.parquet"), ok(Scheme::S3, "s3://rows", "a b/c.parquet"));
        assert_eq!(parse("gs://rows"), ok(Scheme::Google, "gs://rows", ""));
        assert_eq!(parse("az://rows/x/"), ok(Scheme::Azure, "az://rows", "x"));
        assert_eq!(parse("https://a.org/b%20c.txt"), ok(Scheme::Web, "https://a.org", "b c.txt"));
        assert_eq!(parse("http://127.0.0.1:80/x"), ok(Scheme::Web, "http://127.0.0.1:80", "x"));
        for (address, said) in [
            ("http://a.org/x", "http://a.org/x: would be read without encryption"),
            ("https://u:secret@a.org/x", "https://a.org/x: holds a user or a password"),
            ("https://a.org/x?sig=secret", "https://a.org/x: has a query"),
            ("ftp://a.org/x", "ftp://a.org/x: is no address that is read"),
            ("s3://", "s3://: names no bucket"),
            ("s3://a/b//c", "s3://a/b//c: has a part that is empty"),
            ("s3://a/../c", "s3://a/../c: has a part that is empty"),
        ] {
            let error = parse(address).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(error.starts_with(said) && !error.contains("secret"), "{address}: {error}");
        }
    }
}
