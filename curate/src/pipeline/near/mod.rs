//! Near-duplicates: which rows go because they share most of their shingles with one that stays.
//!
//! ```text
//! task ──> band hashes ──> groups: rows that share one ──> components ──> row by row, in order of preference:
//!                                │                            ▲            gone if a kept row of one of its
//!                                ▼                            │            groups is near enough
//!                  shingles of the rows of groups ────────────┘
//! ```
//!
//! A row is known by its place in the output, so rows that are the same are one here. What is in memory is 14 bytes for
//! each row that shares a band with another, and what a thread has in hand; the rest lies in files of the work folder.
//! Nothing depends on threads, slices or the order of files.

pub mod bands;
pub mod component;
pub mod files;
pub mod shingles;
mod sketch;

use setaccio_base::sha256::hex;

use self::component::Node;
use super::scratch::Places;
use crate::error::Result;

/// A row that goes.
#[derive(Clone, Debug, PartialEq)]
pub struct NearDuplicate {
    /// The id of the row that stays in its place.
    pub id: String,
    /// The number of that row's source; above those of the recipe, that of an earlier data set.
    pub source: u16,
    /// Their Jaccard similarity, cut to four digits.
    pub similarity: f64,
}

/// Which rows go.
pub struct NearDuplicates {
    /// Rows that share a band with another, by name, ascending.
    pub rows: Vec<u64>,
    /// For each, the number of the row that stays in its place, or [`NONE`].
    pub by: Vec<u32>,
    /// For each that goes, the similarity in ten-thousandths.
    pub similarity: Vec<u16>,
    /// What is known of each.
    pub nodes: Places,
    /// Rows that were not compared with all that share a band with them.
    pub cut: u64,
}

/// No row.
pub const NONE: u32 = u32::MAX;

impl NearDuplicates {
    /// What is near the row of this name and stays in its place, if it goes.
    pub fn of(&self, row: u64) -> Result<Option<NearDuplicate>> {
        let Ok(number) = self.rows.binary_search(&row) else { return Ok(None) };
        if self.by[number] == NONE {
            return Ok(None);
        }
        let Node { id, source, .. } = Node::read(&self.nodes, self.by[number])?;
        let similarity = f64::from(self.similarity[number]) / 10_000.0;
        Ok(Some(NearDuplicate { id: hex(&id), source, similarity }))
    }
}
