//! What filters report of their work: counts, which end in the ledger, and word lists and models, which end in the lock.

use serde::{Deserialize, Serialize};

/// What one filter did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Rows dropped.
    pub dropped: u64,
    /// Bytes (UTF-8, as read) of the dropped rows.
    pub dropped_bytes: u64,
    /// Rows with at least one text changed by a document filter.
    pub rows_edited: u64,
    /// Lines removed.
    pub lines_dropped: u64,
    /// Lines changed and kept.
    pub lines_edited: u64,
}

impl Tally {
    /// Add another's counts to this one.
    pub fn add(&mut self, other: &Tally) {
        self.dropped += other.dropped;
        self.dropped_bytes += other.dropped_bytes;
        self.rows_edited += other.rows_edited;
        self.lines_dropped += other.lines_dropped;
        self.lines_edited += other.lines_edited;
    }
}

/// A word list that a compiled rule uses; the lock and the card name every one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ListUse {
    /// The name in the recipe.
    pub name: String,
    /// SHA-256 of the file, hex.
    pub sha256: String,
    /// Entries after trimming, comments and duplicates removed.
    pub entries: usize,
}

/// A file beside the recipe that a compiled rule uses; the lock and the card name every one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileUse {
    /// What it is for, for instance `language.model`.
    pub key: String,
    /// Its name, without folders.
    pub name: String,
    /// SHA-256 of the file, hex.
    pub sha256: String,
}
