//! The seal of a text: it holds the SHA-256 of itself, taken with zeros in that place, so that no bit of it changes unseen.

use crate::sha256::hex_digest;

/// Stands for the hash while it is taken: the first 64 zeros of a text are the place of its own.
pub const BLANK: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The text with its hash in place of [`BLANK`], and the hash.
#[must_use]
pub fn seal(text: &str) -> (String, String) {
    let digest = hex_digest(text.as_bytes());
    (text.replacen(BLANK, &digest, 1), digest)
}

/// Whether a text that says `digest` of itself is as it was sealed.
#[must_use]
pub fn holds(text: &str, digest: &str) -> bool {
    digest.len() == BLANK.len() && hex_digest(text.replacen(digest, BLANK, 1).as_bytes()) == digest
}
