//! Near-duplicates: which rows go because they share most of their shingles with one that stays.
//!
//! ```text
//! task ──> band hashes ──> groups: rows that share one ──> components ──> row by row, in order of preference:
//!                                │                            ▲            gone if a kept row of one of its
//!                                ▼                            │            groups is near enough
//!                  shingles of the rows of groups ────────────┘
//! ```
//!
//! A row is known by its place in the output, its name, so rows that are the same are one here. What is in memory is what a thread has
//! in hand; the rest lies in files of the work folder. Nothing depends on threads, slices or the order of files.

pub mod bands;
pub mod component;
pub mod files;
pub mod shingles;
mod sketch;
pub mod star;

use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError, RwLock},
};

use setaccio_base::sha256::hex;

use self::component::Gone;
use super::{
    ranges::Ranges,
    shuffle::{Shuffle, number},
};
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
    /// Where partitions find them.
    gone: Shuffle<28>,
    ranges: Ranges,
    /// Rows that were not compared with all that share a band with them.
    pub cut: u64,
    /// What was read last, partition by partition,
    held: RwLock<VecDeque<Held>>,
    /// of so many: more than threads are at.
    most: usize,
}

/// Rows that go of a partition, ascending.
type Held = (u32, Arc<Vec<[u8; 28]>>);

impl NearDuplicates {
    /// Those in these files, of which `cut` were not compared with all, for so many threads.
    pub fn new(gone: Shuffle<28>, ranges: Ranges, cut: u64, threads: usize) -> Self {
        Self { gone, ranges, cut, held: RwLock::default(), most: 2 * threads + 2 }
    }

    /// What is near the row of this name and stays in its place, if it goes.
    pub fn of(&self, row: u64) -> Result<Option<NearDuplicate>> {
        let held = self.held(self.ranges.of(row))?;
        let Ok(place) = held.binary_search_by_key(&row, |record| number(record, 0)) else { return Ok(None) };
        let Gone { id, source, similarity, .. } = Gone::of_bytes(&held[place]);
        Ok(Some(NearDuplicate { id: hex(&id), source, similarity: f64::from(similarity) / 10_000.0 }))
    }

    fn held(&self, partition: u32) -> Result<Arc<Vec<[u8; 28]>>> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, found)) = held.iter().rev().find(|(of, _)| *of == partition) {
            return Ok(found.clone());
        }
        drop(held);
        let found = Arc::new(self.gone.read(partition as usize)?);
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.push_back((partition, found.clone()));
        if held.len() > self.most {
            held.pop_front();
        }
        Ok(found)
    }
}
