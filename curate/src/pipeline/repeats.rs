//! What rows lose because other rows hold it: found before anything is written (`find_repeats.rs`), read a partition at a time.

use std::ops::Range;

use setaccio_base::numbers::counted;
use setaccio_dataset::recipe::Repeats as Settings;
use setaccio_filters::{sentences, spaceless::count_words, units};

use super::{ranges::Ranges, shuffle::Shuffle};
use crate::error::Result;

/// What is left of a row that loses some of its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The row's name, which its copies share.
    pub order: u64,
    /// Bytes of what is left.
    pub bytes: u64,
    /// Units that go,
    pub gone: u32,
    /// of so many,
    pub units: u32,
    /// and their characters, with the white space that goes with them.
    pub characters: u32,
    /// Words that are left.
    pub words: u32,
    /// Sentences that are left.
    pub sentences: u32,
}

impl Change {
    /// Bytes that one takes in a file.
    pub const BYTES: usize = 36;

    /// What becomes of `text` without the units at these places, which are apart and ascend; an empty list changes nothing.
    pub fn new(order: u64, text: &str, settings: &Settings, gone: &[Range<u32>]) -> (Self, String) {
        let units = units::cut(text, settings.unit);
        let goes = |number: usize| {
            let next = gone.partition_point(|units| units.end <= to_u32(number));
            gone.get(next).is_some_and(|units| units.start <= to_u32(number))
        };
        let left = units::without(text, &units, goes);
        let characters = to_u32(text.chars().count() - left.chars().count());
        let sentences = to_u32(left.lines().map(|line| sentences::count(line, usize::MAX)).sum());
        let change = Self {
            order,
            bytes: left.len() as u64,
            gone: gone.iter().map(|units| units.end - units.start).sum(),
            units: to_u32(units.len()),
            characters,
            words: to_u32(count_words(&left)),
            sentences,
        };
        (change, left)
    }

    /// As it lies in a file: sorted, they are in the order of the output.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.order.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.bytes.to_be_bytes());
        let counts = [self.gone, self.units, self.characters, self.words, self.sentences];
        for (place, count) in bytes[16..].chunks_exact_mut(4).zip(counts) {
            place.copy_from_slice(&count.to_be_bytes());
        }
        bytes
    }

    fn of_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let wide = |from: usize| bytes[from..].first_chunk().map_or(0, |b| u64::from_be_bytes(*b));
        let count = |from: usize| bytes[from..].first_chunk().map_or(0, |b| u32::from_be_bytes(*b));
        let [gone, units, characters, words, sentences] = [16, 20, 24, 28, 32].map(count);
        Self { order: wide(0), bytes: wide(8), gone, units, characters, words, sentences }
    }

    /// Why the row goes, if too little is left of it.
    pub fn too_little(&self, settings: &Settings) -> Option<String> {
        let Self { gone, units, words, sentences, .. } = *self;
        let enough = words >= settings.min_words.max(1) && sentences >= settings.min_sentences;
        let [least_words, least_sentences] = [settings.min_words, settings.min_sentences];
        (!enough).then(|| {
            let of = settings.unit.counted(units.into());
            let [words, sentences] = [(words, "word"), (sentences, "sentence")].map(|(n, what)| counted(n.into(), what));
            format!(
                "{gone} of {of} stand in other rows or before: {words} and {sentences} are left, at least {least_words} and \
                 {least_sentences}"
            )
        })
    }
}

/// A span that goes: the row's name, then the place of its first unit there.
pub type Gone = [u8; 12];

/// That of a row of this name.
pub fn gone(order: u64, first: u32) -> Gone {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&order.to_be_bytes());
    bytes[8..].copy_from_slice(&first.to_be_bytes());
    bytes
}

/// What all rows lose.
pub struct Repeats {
    /// Spans that go, where partitions of the output find them.
    pub gone: Shuffle<12>,
    /// What is left of the rows of each partition that lose something.
    pub changes: Shuffle<{ Change::BYTES }>,
    /// The partitions.
    pub ranges: Ranges,
}

impl Repeats {
    /// What the rows of a partition lose, which begins with this bucket, in spans of so many units.
    pub fn of(&self, partition: &Range<u32>, span: u32) -> Result<Edits> {
        let number = self.ranges.beginning_with(partition.start);
        let changes = self.changes.read_of(number, 0)?.iter().map(Change::of_bytes).collect();
        Ok(Edits { changes, places: Places::read(&self.gone, number, span)? })
    }
}

/// What rows of a partition lose.
#[derive(Default)]
pub struct Edits {
    /// The rows that lose something, by name, ascending.
    pub changes: Vec<Change>,
    /// What they lose.
    pub places: Places,
}

/// The units that rows of a partition lose.
#[derive(Default)]
pub struct Places(Vec<Run>);

/// Units of a row that follow each other and go.
struct Run {
    order: u64,
    units: Range<u32>,
}

impl Places {
    /// Those of a partition, in spans of so many units. Spans that overlap are one run.
    pub fn read(gone: &Shuffle<12>, partition: usize, span: u32) -> Result<Self> {
        let mut runs: Vec<Run> = Vec::new();
        for gone in gone.read(partition)? {
            let order = gone.first_chunk().map_or(0, |b| u64::from_be_bytes(*b));
            let first = gone.last_chunk().map_or(0, |b| u32::from_be_bytes(*b));
            let end = first.saturating_add(span);
            match runs.last_mut() {
                Some(run) if run.order == order && first <= run.units.end => run.units.end = end,
                _ => runs.push(Run { order, units: first..end }),
            }
        }
        Ok(Self(runs))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of the row of this name, ascending.
    pub fn of(&self, order: u64) -> Vec<Range<u32>> {
        let start = self.0.partition_point(|run| run.order < order);
        self.0[start..].iter().take_while(|run| run.order == order).map(|run| run.units.clone()).collect()
    }
}

/// A number of units.
pub fn to_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
