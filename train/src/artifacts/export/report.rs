//! What an export says of what it wrote.

use std::collections::BTreeMap;

use super::check::ExportCheck;
use crate::formats::gguf::write::{Entry, kind};

/// What was written.
#[derive(Clone, Debug, PartialEq)]
pub struct ExportReport {
    /// Length of the file, or of the folder's weights.
    pub bytes: u64,
    /// How many tensors are in which type.
    pub kinds: BTreeMap<&'static str, usize>,
    /// What was found when it was read back, if it was.
    pub check: Option<ExportCheck>,
}

impl ExportReport {
    pub(super) fn new(bytes: u64, entries: &[Entry]) -> Self {
        let mut kinds = BTreeMap::new();
        for entry in entries {
            *kinds.entry(kind(entry.kind).0).or_default() += 1;
        }
        Self { bytes, kinds, check: None }
    }
}
