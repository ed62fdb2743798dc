//! What goes of rows that are linked through bands: decided in order of preference, by true Jaccard similarity.

use std::{cmp::Reverse, rc::Rc};

use setaccio_base::progress::Progress;
use setaccio_dataset::recipe::{Near, NearRule};

use super::{files::AllShingles, shingles::overlap};
use crate::{
    error::{Error, Result},
    pipeline::{
        scratch::{ListReader, Places},
        team::Kept,
    },
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
    /// Hash of its label; 0 if it has none. Rows that are judged in two ways are not near.
    pub label: u64,
    /// Its id.
    pub id: [u8; 16],
}

impl Node {
    /// Bytes that one takes in the file.
    pub const BYTES: u64 = 48;

    /// Put it at its place.
    pub fn write(&self, nodes: &Places, number: u32) -> Result<()> {
        nodes.write(u64::from(number) * Self::BYTES, &self.to_bytes())
    }

    /// As it lies in a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(48);
        bytes.extend_from_slice(&self.at.to_le_bytes());
        bytes.extend_from_slice(&self.shingles.to_le_bytes());
        bytes.extend_from_slice(&self.words.to_le_bytes());
        bytes.extend_from_slice(&self.rank.to_le_bytes());
        bytes.extend_from_slice(&self.source.to_le_bytes());
        bytes.extend_from_slice(&u32::from(self.given).to_le_bytes());
        bytes.extend_from_slice(&self.id);
        bytes.extend_from_slice(&self.label.to_le_bytes());
        bytes
    }

    /// The one of this number.
    pub fn read(nodes: &Places, number: u32) -> Result<Self> {
        let mut bytes = [0; 48];
        nodes.read(u64::from(number) * Self::BYTES, &mut bytes)?;
        Ok(Self::of_bytes(&bytes))
    }

    /// That of [`Self::to_bytes`].
    pub fn of_bytes(bytes: &[u8; 48]) -> Self {
        let wide = |from: usize| bytes[from..].first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
        let long = |from: usize| bytes[from..].first_chunk().map_or(0, |b| u32::from_le_bytes(*b));
        let short = |from: usize| bytes[from..].first_chunk().map_or(0, |b| u16::from_le_bytes(*b));
        Self {
            at: wide(0),
            shingles: long(8),
            words: long(12),
            rank: short(16),
            source: short(18),
            given: long(20) != 0,
            id: bytes[24..].first_chunk().copied().unwrap_or_default(),
            label: wide(40),
        }
    }
}

/// A row that goes.
pub struct Gone {
    /// Its number.
    pub node: u32,
    /// The number of the row that stays in its place.
    pub by: u32,
    /// Their Jaccard similarity, in ten-thousandths.
    pub similarity: u16,
}

/// What was decided of some components.
#[derive(Default)]
pub struct Decided {
    /// Rows that go.
    pub gone: Vec<Gone>,
    /// Rows that were not compared with all that share a band with them.
    pub cut: u64,
}

impl Kept for Decided {
    fn bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = self.cut.to_le_bytes().to_vec();
        for Gone { node, by, similarity } in &self.gone {
            bytes.extend([*node, *by].into_iter().flat_map(u32::to_le_bytes).chain(similarity.to_le_bytes()));
        }
        Ok(bytes)
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        let (cut, rest) = bytes.split_first_chunk()?;
        let (gone, rest) = rest.as_chunks::<10>();
        let one = |bytes: &[u8; 10]| {
            let long = |from: usize| bytes[from..].first_chunk().map_or(0, |b| u32::from_le_bytes(*b));
            let similarity = bytes.last_chunk().map_or(0, |b| u16::from_le_bytes(*b));
            Gone { node: long(0), by: long(4), similarity }
        };
        rest.is_empty().then(|| Self { cut: u64::from_le_bytes(*cut), gone: gone.iter().map(one).collect() })
    }
}

/// Decides.
pub struct Decider<'a> {
    /// Threshold and rule.
    pub near: &'a Near,
    /// The [`Node`]s.
    pub nodes: &'a Places,
    /// Their shingles.
    pub shingles: &'a AllShingles,
}

impl Decider<'_> {
    /// Decide on the components in a file.
    pub fn decide(&self, file: &ListReader, progress: &dyn Progress) -> Result<Decided> {
        let mut groups: Vec<Vec<u32>> = Vec::new();
        file.each(|numbers: &[[u8; 4]]| {
            groups.push(numbers.iter().map(|number| u32::from_le_bytes(*number)).collect());
            Ok(())
        })?;
        // The component comes first in each; a group that several bands have is one.
        groups.sort_unstable();
        groups.dedup();
        let mut decided = Decided::default();
        for groups in groups.chunk_by(|a, b| a[0] == b[0]) {
            if progress.cancelled() {
                return Err(Error::Interrupted);
            }
            Component::new(self, groups)?.decide(&mut decided, progress)?;
        }
        Ok(decided)
    }
}

/// The rows of a component, in order of preference, and the groups that link them.
struct Component<'a> {
    decider: &'a Decider<'a>,
    rows: Vec<(u32, Node)>,
    /// Places of the rows of each group.
    groups_of: Vec<Vec<u32>>,
    groups: usize,
    cache: Vec<Option<Rc<[u32]>>>,
    cached: usize,
}

impl<'a> Component<'a> {
    fn new(decider: &'a Decider<'a>, groups: &[Vec<u32>]) -> Result<Self> {
        let mut numbers: Vec<u32> = groups.iter().flat_map(|group| &group[1..]).copied().collect();
        numbers.sort_unstable();
        numbers.dedup();
        let read = |number: &u32| Ok((*number, Node::read(decider.nodes, *number)?));
        let mut rows: Vec<(u32, Node)> = numbers.iter().map(read).collect::<Result<_>>()?;
        rows.sort_unstable_by_key(|(number, node)| (!node.given, node.rank, Reverse(node.words), node.id, *number));
        let mut places = vec![0; rows.len()];
        for (place, (number, _)) in rows.iter().enumerate() {
            places[numbers.binary_search(number).unwrap_or(0)] = place;
        }
        let mut groups_of = vec![Vec::new(); rows.len()];
        for (group, members) in (0..).zip(groups) {
            for number in &members[1..] {
                groups_of[places[numbers.binary_search(number).unwrap_or(0)]].push(group);
            }
        }
        let cache = vec![None; rows.len()];
        Ok(Self { decider, rows, groups_of, groups: groups.len(), cache, cached: 0 })
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
        Gone { node: self.rows[place].0, by: self.rows[by].0, similarity }
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
        let (numbers, _) = bytes.as_chunks();
        let set: Rc<[u32]> = numbers.iter().map(|number| u32::from_le_bytes(*number)).collect();
        if self.cached + bytes.len() <= CACHE_BYTES {
            self.cached += bytes.len();
            self.cache[place] = Some(set.clone());
        }
        Ok(set)
    }
}
