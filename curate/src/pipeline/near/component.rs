//! What goes of rows that are linked through bands: decided in order of preference, by true Jaccard similarity.

use std::{cmp::Reverse, rc::Rc};

use setaccio_base::progress::Progress;
use setaccio_dataset::recipe::{Near, NearRule};
use xxhash_rust::xxh3::xxh3_64;

use super::{files::ShingleFiles, shingles::overlap};
use crate::{
    error::{Error, Result},
    pipeline::shuffle::number,
};

/// Kept rows that a row is compared with at most, the preferred first. Groups in which more stay hold texts that share a
/// long passage and little else; to compare all of these would take the square of their number.
const MOST_COMPARED: usize = 256;

/// Shingles that a thread remembers, in bytes.
const CACHE_BYTES: usize = 64 << 20;

/// What is known of a row that shares a band with another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Where its shingles begin in their file.
    pub at: u64,
    /// How many there are. A row without any is not there.
    pub shingles: u32,
    /// Words of its content.
    pub words: u32,
    /// Place of its source in the order of preference.
    pub rank: u16,
    /// Number of its source.
    pub source: u16,
    /// Whether it is of an earlier data set, and stays.
    pub given: bool,
    /// 31 bits of the hash of its shingles, as they lie in their file.
    pub check: u32,
    /// Hash of its label; 0 if it has none. Rows that are judged in two ways are not near.
    pub label: u64,
    /// Its id.
    pub id: [u8; 16],
}

impl Node {
    /// As it lies in a file.
    pub fn to_bytes(&self) -> [u8; 48] {
        let mut bytes = [0; 48];
        for (at, field) in [(0, &self.at.to_le_bytes()), (40, &self.label.to_le_bytes())] {
            bytes[at..at + 8].copy_from_slice(field);
        }
        for (at, field) in [(8, self.shingles), (12, self.words), (20, self.check << 1 | u32::from(self.given))] {
            bytes[at..at + 4].copy_from_slice(&field.to_le_bytes());
        }
        for (at, field) in [(16, self.rank), (18, self.source)] {
            bytes[at..at + 2].copy_from_slice(&field.to_le_bytes());
        }
        bytes[24..40].copy_from_slice(&self.id);
        bytes
    }

    /// That of [`Self::to_bytes`].
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let wide = |from: usize| bytes[from..].first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
        let long = |from: usize| bytes[from..].first_chunk().map_or(0, |b| u32::from_le_bytes(*b));
        let short = |from: usize| bytes[from..].first_chunk().map_or(0, |b| u16::from_le_bytes(*b));
        Self {
            at: wide(0),
            shingles: long(8),
            words: long(12),
            rank: short(16),
            source: short(18),
            given: long(20) & 1 != 0,
            check: long(20) >> 1,
            id: bytes[24..].first_chunk().copied().unwrap_or_default(),
            label: wide(40),
        }
    }
}

/// 31 bits of the hash of shingles, as they lie in a file.
pub fn check(shingles: &[u8]) -> u32 {
    u32::try_from(xxh3_64(shingles) >> 33).unwrap_or(0)
}

/// A row that goes.
pub struct Gone {
    /// Its name.
    pub row: u64,
    /// The id of the row that stays in its place,
    pub id: [u8; 16],
    /// and the number of that row's source.
    pub source: u16,
    /// Their Jaccard similarity, in ten-thousandths.
    pub similarity: u16,
}

impl Gone {
    /// As it lies in a file: sorted, they are in the order of the output.
    pub fn to_bytes(&self) -> [u8; 28] {
        let mut bytes = [0; 28];
        bytes[..8].copy_from_slice(&self.row.to_be_bytes());
        bytes[8..24].copy_from_slice(&self.id);
        bytes[24..26].copy_from_slice(&self.source.to_be_bytes());
        bytes[26..].copy_from_slice(&self.similarity.to_be_bytes());
        bytes
    }

    /// That of [`Self::to_bytes`].
    pub fn of_bytes(bytes: &[u8; 28]) -> Self {
        let short = |from: usize| bytes[from..].first_chunk().map_or(0, |b| u16::from_be_bytes(*b));
        let id = bytes[8..].first_chunk().copied().unwrap_or_default();
        Self { row: number(bytes, 0), id, source: short(24), similarity: short(26) }
    }
}

/// What was decided of some components.
#[derive(Default)]
pub struct Decided {
    /// Rows that go.
    pub gone: Vec<Gone>,
    /// Rows that were not compared with all that share a band with them.
    pub cut: u64,
}

/// Decides.
pub struct Decider<'a> {
    /// Threshold and rule.
    pub near: &'a Near,
    /// The shingles of all rows.
    pub shingles: &'a ShingleFiles,
}

impl Decider<'_> {
    /// Decide on components: their rows, each a component, a name and a [`Node`], and the places of these in groups, each a component, a
    /// group and a name; both ascend.
    pub fn decide(&self, (rows, places): (&[[u8; 64]], &[[u8; 24]]), progress: &dyn Progress) -> Result<Decided> {
        let (mut decided, mut places) = (Decided::default(), places);
        for rows in rows.chunk_by(|a, b| a[..8] == b[..8]) {
            if progress.cancelled() {
                return Err(Error::Interrupted);
            }
            let (mine, others) = places.split_at(places.partition_point(|place| place[..8] <= rows[0][..8]));
            places = others;
            let groups = mine.chunk_by(|a, b| a[..16] == b[..16]).filter(|group| group.len() > 1);
            let mut groups: Vec<Vec<u64>> =
                groups.map(|group| group.iter().map(|place| number(place, 16)).collect()).collect();
            // A group that several bands have is one.
            groups.sort_unstable();
            groups.dedup();
            let mut rows: Vec<(u64, Node)> =
                rows.iter().map(|row| (number(row, 8), Node::of_bytes(&row[16..]))).collect();
            // A shard may hold a row twice.
            rows.dedup_by_key(|(name, _)| *name);
            Component::new(self, rows, &groups).decide(&mut decided, progress)?;
        }
        Ok(decided)
    }
}

/// The rows of a component, in order of preference, and the groups that link them.
struct Component<'a> {
    decider: &'a Decider<'a>,
    rows: Vec<(u64, Node)>,
    /// Places of the rows of each group.
    groups_of: Vec<Vec<u32>>,
    groups: usize,
    cache: Vec<Option<Rc<[u32]>>>,
    cached: usize,
}

impl<'a> Component<'a> {
    fn new(decider: &'a Decider<'a>, mut rows: Vec<(u64, Node)>, groups: &[Vec<u64>]) -> Self {
        let names: Vec<u64> = rows.iter().map(|(name, _)| *name).collect();
        rows.sort_unstable_by_key(|(name, node)| (!node.given, node.rank, Reverse(node.words), node.id, *name));
        let mut places = vec![0; rows.len()];
        for (place, (name, _)) in rows.iter().enumerate() {
            places[names.binary_search(name).unwrap_or(0)] = place;
        }
        let mut groups_of = vec![Vec::new(); rows.len()];
        for (group, members) in (0..).zip(groups) {
            for name in members {
                groups_of[places[names.binary_search(name).unwrap_or(0)]].push(group);
            }
        }
        let cache = vec![None; rows.len()];
        Self { decider, rows, groups_of, groups: groups.len(), cache, cached: 0 }
    }

    fn decide(mut self, decided: &mut Decided, progress: &dyn Progress) -> Result<()> {
        match self.decider.near.rule {
            NearRule::Cluster => {
                for place in 1..self.rows.len() {
                    if !self.rows[place].1.given && !self.contradict(place, 0) {
                        let (both, either) = self.overlap(place, 0)?;
                        decided.gone.push(self.gone(place, 0, both, either));
                    }
                }
            }
            NearRule::Greedy => {
                let mut kept: Vec<Vec<usize>> = vec![Vec::new(); self.groups];
                for place in 0..self.rows.len() {
                    if progress.cancelled() {
                        return Err(Error::Interrupted);
                    }
                    match self.near(place, &kept, decided)? {
                        Some(gone) => decided.gone.push(gone),
                        None => self.groups_of[place].iter().for_each(|group| kept[*group as usize].push(place)),
                    }
                }
            }
        }
        Ok(())
    }

    /// What goes for the sake of the first row that is kept of its groups and near enough.
    fn near(&mut self, place: usize, kept: &[Vec<usize>], decided: &mut Decided) -> Result<Option<Gone>> {
        if self.rows[place].1.given {
            return Ok(None);
        }
        // Kept rows stand in order of preference in each group.
        let groups = self.groups_of[place].iter().map(|group| &kept[*group as usize]);
        let mut cut = groups.clone().any(|group| group.len() > MOST_COMPARED);
        let mut before: Vec<usize> = groups.flat_map(|group| group.iter().take(MOST_COMPARED)).copied().collect();
        before.sort_unstable();
        before.dedup();
        cut |= before.len() > MOST_COMPARED;
        before.truncate(MOST_COMPARED);
        let threshold = self.decider.near.threshold;
        for other in &before {
            if self.contradict(place, *other) {
                continue;
            }
            // No pair of such sizes can be near enough.
            let [a, b] = [place, *other].map(|place| f64::from(self.rows[place].1.shingles));
            if a.min(b) / a.max(b) < threshold {
                continue;
            }
            let (both, either) = self.overlap(place, *other)?;
            if f64::from(both) / f64::from(either) >= threshold {
                return Ok(Some(self.gone(place, *other, both, either)));
            }
        }
        decided.cut += u64::from(cut);
        Ok(None)
    }

    /// Whether the labels of two rows differ.
    fn contradict(&self, one: usize, another: usize) -> bool {
        let [one, another] = [one, another].map(|place| self.rows[place].1.label);
        one != 0 && another != 0 && one != another
    }

    fn gone(&self, place: usize, by: usize, both: u32, either: u32) -> Gone {
        let similarity = u64::from(both) * 10_000 / u64::from(either).max(1);
        let similarity = u16::try_from(similarity).unwrap_or(u16::MAX);
        let Node { id, source, .. } = self.rows[by].1;
        Gone { row: self.rows[place].0, id, source, similarity }
    }

    fn overlap(&mut self, one: usize, another: usize) -> Result<(u32, u32)> {
        let [one, another] = [self.shingles(one)?, self.shingles(another)?];
        Ok(overlap(&one, &another))
    }

    fn shingles(&mut self, place: usize) -> Result<Rc<[u32]>> {
        if let Some(set) = &self.cache[place] {
            return Ok(set.clone());
        }
        let node = &self.rows[place].1;
        let mut bytes = vec![0; node.shingles as usize * 4];
        self.decider.shingles.read(node.at, &mut bytes)?;
        if check(&bytes) != node.check {
            return Err(self.decider.shingles.lost(node.at));
        }
        let (numbers, _) = bytes.as_chunks();
        let set: Rc<[u32]> = numbers.iter().map(|number| u32::from_le_bytes(*number)).collect();
        if self.cached + bytes.len() <= CACHE_BYTES {
            self.cached += bytes.len();
            self.cache[place] = Some(set.clone());
        }
        Ok(set)
    }
}
