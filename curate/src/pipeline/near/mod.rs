//! Near-duplicates: which rows go because they share most of their shingles with one that stays.
//!
//! ```text
//! task ──> band hashes ──> groups: rows that share one ──> components ──> row by row, in order of preference:
//!                                │                            ▲            gone if a kept row of one of its
//!                                ▼                            │            groups is near enough
//!                  shingles of the rows of groups ────────────┘
//! ```
//!
//! A row is known by its place in the output, so rows that are the same are one here. What is in memory is what a thread has in hand,
//! and while components are found 4 bytes for each row that shares a band with another; the rest lies in files of the work folder.
//! Nothing depends on threads, slices or the order of files.

pub mod bands;
pub mod component;
pub mod files;
pub mod names;
pub mod shingles;
mod sketch;

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use setaccio_base::sha256::hex;

use self::{
    component::{Gone, Node},
    names::{Names, SomeNames},
};
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
    /// Rows that share a band with another.
    names: Names,
    /// For each, by number, the row that stays in its place and how similar that is.
    gone: Places,
    /// What is known of each.
    nodes: Places,
    /// Rows that were not compared with all that share a band with them.
    pub cut: u64,
    /// What was read last, range by range of the names.
    held: RwLock<VecDeque<Arc<Held>>>,
}

/// Ranges that are held: more than threads are at.
const HELD: usize = 64;

/// Bytes that say what becomes of a row: the number of the row that stays in its place, counted from 1, or 0; and their similarity in
/// ten-thousandths.
const FATE: usize = 6;

/// Names of a range, and what becomes of their rows.
struct Held {
    range: u32,
    names: SomeNames,
    fates: Vec<u8>,
}

/// No row.
pub const NONE: u32 = u32::MAX;

impl NearDuplicates {
    /// None of these rows, yet; what becomes of them is to lie in the folder `scratch`.
    pub fn new(names: Names, nodes: Places, scratch: &Path) -> Result<Self> {
        let gone = Places::create(&scratch.join("gone"), u64::from(names.count()) * FATE as u64)?;
        Ok(Self { names, gone, nodes, cut: 0, held: RwLock::default() })
    }

    /// What is known of each row, by number.
    pub fn nodes(&self) -> &Places {
        &self.nodes
    }

    /// A row goes.
    pub fn add(&self, Gone { node, by, similarity }: Gone) -> Result<()> {
        let mut fate = [0; FATE];
        fate[..4].copy_from_slice(&(by + 1).to_le_bytes());
        fate[4..].copy_from_slice(&similarity.to_le_bytes());
        self.gone.write(u64::from(node) * FATE as u64, &fate)
    }

    /// What is near the row of this name and stays in its place, if it goes.
    pub fn of(&self, row: u64) -> Result<Option<NearDuplicate>> {
        let held = self.held(self.names.range_of(row))?;
        let Some(number) = held.names.number(row) else { return Ok(None) };
        let fate = &held.fates[(number - held.names.first) as usize * FATE..];
        let by = fate.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        let Some(by) = by.checked_sub(1) else { return Ok(None) };
        let Node { id, source, .. } = Node::read(&self.nodes, by)?;
        let similarity = fate[4..].first_chunk().map_or(0, |bytes| u16::from_le_bytes(*bytes));
        Ok(Some(NearDuplicate { id: hex(&id), source, similarity: f64::from(similarity) / 10_000.0 }))
    }

    /// The names of a range, and what becomes of their rows.
    fn held(&self, range: u32) -> Result<Arc<Held>> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = held.iter().rev().find(|held| held.range == range) {
            return Ok(found.clone());
        }
        drop(held);
        let names = self.names.of_range(range)?;
        let mut fates = vec![0; names.count() * FATE];
        self.gone.read(u64::from(names.first) * FATE as u64, &mut fates)?;
        let found = Arc::new(Held { range, names, fates });
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.push_back(found.clone());
        if held.len() > HELD {
            held.pop_front();
        }
        Ok(found)
    }
}
