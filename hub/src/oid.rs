//! The two hashes that the Hub knows a file by: SHA-256 for large files, git's own for small ones.

use setaccio_base::sha256::hex;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// What a file's content must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Oid {
    /// SHA-256 of the content, hex: files in large file storage.
    Sha256(String),
    /// git's hash of a blob, hex: SHA-1 of a head with the length, then the content.
    Git(String),
}

impl Oid {
    /// The hash in hex, which names the file in the cache.
    pub fn hex(&self) -> &str {
        match self {
            Self::Sha256(hex) | Self::Git(hex) => hex,
        }
    }

    /// Whether it is a hash of its kind at all: as many hex digits as that has.
    pub fn is_valid(&self) -> bool {
        let digits = match self {
            Self::Sha256(_) => 64,
            Self::Git(_) => 40,
        };
        self.hex().len() == digits && self.hex().bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    }
}

/// Hashes content as it passes.
#[derive(Clone, Debug)]
pub enum OidHasher {
    /// For [`Oid::Sha256`].
    Sha256(Sha256),
    /// For [`Oid::Git`].
    Git(Sha1),
}

impl OidHasher {
    /// The hash that `oid` is to be compared with, of `bytes` bytes in all.
    pub fn new(oid: &Oid, bytes: u64) -> Self {
        match oid {
            Oid::Sha256(_) => Self::Sha256(Sha256::new()),
            Oid::Git(_) => {
                let mut sha1 = Sha1::new();
                sha1.update(format!("blob {bytes}\0").as_bytes());
                Self::Git(sha1)
            }
        }
    }

    /// More content.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Git(hash) => hash.update(bytes),
        }
    }

    /// The hash of all that passed.
    pub fn finish(self) -> Oid {
        match self {
            Self::Sha256(hash) => Oid::Sha256(hex(&hash.finalize())),
            Self::Git(hash) => Oid::Git(hex(&hash.finalize())),
        }
    }
}

/// git's hash of a blob, hex.
pub fn git_blob_hex(content: &[u8]) -> String {
    let mut hash = OidHasher::new(&Oid::Git(String::new()), content.len() as u64);
    hash.update(content);
    hash.finish().hex().to_owned()
}

#[cfg(test)]
mod tests {
    use setaccio_base::sha256::hex_digest as sha256;

    use super::*;

    #[test]
    fn hashes_are_those_of_git_and_sha256sum() {
        // `printf 'ciao\n' | git hash-object --stdin` and `printf 'ciao\n' | sha256sum`.
        assert!(Oid::Git(git_blob_hex(b"")).is_valid() && Oid::Sha256(sha256(b"")).is_valid());
        let up = format!("../../{}", &git_blob_hex(b"")[6..]);
        for bad in [Oid::Git(String::new()), Oid::Git(sha256(b"")), Oid::Sha256(git_blob_hex(b"")), Oid::Git(up)] {
            assert!(!bad.is_valid(), "{bad:?}");
        }
        assert_eq!(git_blob_hex(b"ciao\n"), "887ae9333d92a1d72400c210546e28baa1050e44");
        assert_eq!(sha256(b"ciao\n"), "6f0378f21a495f5c13247317d158e9d51da45a5bf68fc2f366e450deafdc8302");
    }
}
