//! The runs of words of all items, and where in which text each stands.

use std::mem::size_of;

use setaccio_dataset::{
    decontamination::{Decontamination, Measure},
    recipe::ShingleUnit,
};

use crate::words::Words;

/// Multiplier of the rolling sum: odd, so that no word is lost from it.
const BASE: u64 = 0x9e37_79b9_7f4a_7c15;

/// Slots for every three keys: a table that is three fifths full is looked up in two steps.
const SLOTS: (usize, usize) = (5, 3);

/// Bits of the front for each key: one look-up in 8 of what is not there goes on to the table.
const FRONT_BITS: usize = 8;

/// Sums over all runs of one length in a list of word hashes.
pub struct Runs {
    length: usize,
    /// [`BASE`] to the power of the length.
    power: u64,
}

impl Runs {
    /// Runs of so many words, at least one.
    pub fn new(length: usize) -> Self {
        let power = (0..length).fold(1_u64, |power, _| power.wrapping_mul(BASE));
        Self { length, power }
    }

    /// Words in a run.
    pub fn length(&self) -> u32 {
        to_u32(self.length)
    }

    /// Give the key of each run to `each`, from the first.
    pub fn each(&self, words: impl Iterator<Item = u64> + Clone, mut each: impl FnMut(usize, u64)) {
        let mut sum = 0_u64;
        let mut leaving = words.clone();
        for (at, word) in words.enumerate() {
            sum = sum.wrapping_mul(BASE).wrapping_add(word);
            if at + 1 < self.length {
                continue;
            }
            if at + 1 > self.length {
                sum = sum.wrapping_sub(leaving.next().unwrap_or(0).wrapping_mul(self.power));
            }
            each(at + 1 - self.length, self.key(sum));
        }
    }

    /// Well mixed, told from those of other lengths, and not zero.
    fn key(&self, sum: u64) -> u64 {
        let mut key = sum ^ (self.length as u64).wrapping_mul(0xd6e8_feb8_6659_fd93);
        key = (key ^ (key >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        key = (key ^ (key >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        (key ^ (key >> 32)).max(1)
    }
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The number of the text.
    pub text: u32,
    /// The run's first word; the highest bit marks the last place of a key.
    at: u32,
}

const LAST: u32 = 1 << 31;

impl Place {
    /// The number of the run's first word.
    pub fn at(self) -> u32 {
        self.at & !LAST
    }
}

/// A text of an item.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    /// The number of the item.
    pub item: u32,
    /// Its words.
    pub words: u32,
}

/// An evaluation set, counted.
#[derive(Clone, Debug, Default)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// Its items.
    pub items: u64,
    /// Items of too few words to be looked for.
    pub short: u64,
    /// The number of its first item.
    first: u32,
}

/// Everything that rows are held against.
pub struct Index {
    /// What counts.
    pub measure: Measure,
    /// Whether numbers keep their values.
    pub numbers: bool,
    /// The sets, in the recipe's order.
    pub sets: Vec<Set>,
    /// What items are called, one after another.
    names: String,
    /// Where the name of each item ends.
    ends: Vec<u32>,
    texts: Vec<Text>,
    lengths: Vec<Runs>,
    front: Vec<u64>,
    keys: Vec<u64>,
    /// Where the places of each slot's key begin.
    starts: Vec<u32>,
    places: Vec<Place>,
}

impl Index {
    /// Bytes that it takes in memory.
    pub fn bytes(&self) -> u64 {
        let bytes = (self.front.len() + self.keys.len()) * size_of::<u64>()
            + (self.starts.len() + self.ends.len()) * size_of::<u32>()
            + self.places.len() * size_of::<Place>()
            + self.texts.len() * size_of::<Text>()
            + self.names.len();
        bytes as u64
    }

    /// Items of all sets.
    pub fn items(&self) -> u64 {
        self.ends.len() as u64
    }

    /// Lengths of runs that are looked for.
    pub fn lengths(&self) -> &[Runs] {
        &self.lengths
    }

    /// A text of this number.
    pub fn text(&self, number: u32) -> Text {
        self.texts[number as usize]
    }

    /// The number of the set that an item is of.
    pub fn set_of(&self, item: u32) -> usize {
        self.sets.partition_point(|set| set.first <= item).saturating_sub(1)
    }

    /// What an item is called.
    pub fn name(&self, item: u32) -> &str {
        let item = item as usize;
        let start = item.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.names[start as usize..self.ends[item] as usize]
    }

    /// The slot of a key, if any item has it.
    #[inline]
    pub fn slot(&self, key: u64) -> Option<u32> {
        let bit = reduce(key.rotate_left(32), self.front.len() * 64);
        if self.front[bit / 64] >> (bit % 64) & 1 == 0 {
            return None;
        }
        let mut slot = reduce(key, self.keys.len());
        loop {
            match self.keys[slot] {
                0 => return None,
                found if found == key => return u32::try_from(slot).ok(),
                _ => slot = (slot + 1) % self.keys.len(),
            }
        }
    }

    /// Where the run of a slot stands, in the order of texts.
    pub fn places(&self, slot: u32) -> &[Place] {
        let places = &self.places[self.starts[slot as usize] as usize..];
        let last = places.iter().position(|place| place.at & LAST != 0).map_or(places.len(), |last| last + 1);
        &places[..last]
    }
}

/// A hash as a number below `n`.
fn reduce(hash: u64, n: usize) -> usize {
    usize::try_from((u128::from(hash) * n as u128) >> 64).unwrap_or(0)
}

/// Puts items together.
pub struct Builder {
    measure: Measure,
    numbers: bool,
    min_words: u32,
    sets: Vec<Set>,
    names: String,
    ends: Vec<u32>,
    texts: Vec<Text>,
    whole: Runs,
    /// Lengths of texts below n words.
    short: Vec<usize>,
    words: Words,
    found: Vec<(u64, Place)>,
}

impl Builder {
    /// None yet, where numbers keep their values or not.
    pub fn new(settings: &Decontamination, numbers: bool) -> Self {
        let measure = settings.measure();
        Self {
            measure,
            numbers,
            min_words: settings.min_words,
            sets: Vec::new(),
            names: String::new(),
            ends: Vec::new(),
            texts: Vec::new(),
            whole: Runs::new(to_usize(measure.ngram)),
            short: Vec::new(),
            words: Words::new(numbers),
            found: Vec::new(),
        }
    }

    /// The items that follow are of this set.
    pub fn set(&mut self, name: &str) {
        self.sets.push(Set { name: name.to_owned(), first: to_u32(self.ends.len()), ..Set::default() });
    }

    /// Bytes that the index would take, about.
    pub fn bytes(&self) -> u64 {
        (self.found.len() * 32 + self.texts.len() * size_of::<Text>() + self.names.len()) as u64
    }

    /// Whether there is room for more: numbers of texts and places are of 31 bits.
    pub fn is_full(&self) -> bool {
        self.found.len() >= (1 << 31) - (1 << 24) || self.texts.len() >= (1 << 31) || self.names.len() >= 1 << 31
    }

    /// Add an item, as its texts.
    pub fn item<'t>(&mut self, name: &str, texts: impl IntoIterator<Item = &'t str>) {
        let item = to_u32(self.ends.len());
        self.names.push_str(name);
        self.ends.push(to_u32(self.names.len()));
        let texts = texts.into_iter().map(|text| {
            self.words.clear(ShingleUnit::Words);
            self.words.add(text);
            self.words.hashes().collect::<Vec<u64>>()
        });
        let mut texts: Vec<Vec<u64>> = texts.collect();
        let longest = texts.iter().map(Vec::len).max().unwrap_or(0);
        let ngram = to_usize(self.measure.ngram);
        // Of a short text there is nothing to find but all of it, and a question of few words is asked about many things.
        texts.retain(|words| words.len() >= ngram.min(longest));
        texts.dedup();
        let Some(set) = self.sets.last_mut() else { return };
        set.items += 1;
        if longest < to_usize(self.min_words).max(1) {
            set.short += 1;
            return;
        }
        for words in texts {
            let text = to_u32(self.texts.len());
            self.texts.push(Text { item, words: to_u32(words.len()) });
            let short = (words.len() < ngram).then(|| Runs::new(words.len()));
            if short.is_some() && !self.short.contains(&words.len()) {
                self.short.push(words.len());
            }
            let runs = short.as_ref().unwrap_or(&self.whole);
            runs.each(words.iter().copied(), |at, key| self.found.push((key, Place { text, at: to_u32(at) })));
        }
    }

    /// Whether every item of the last set has too few words to be looked for.
    pub fn all_short(&self) -> bool {
        self.sets.last().is_some_and(|set| set.items == set.short)
    }

    /// All of it, to be looked up.
    pub fn finish(mut self) -> Index {
        self.found.sort_unstable();
        let keys = self.found.chunk_by(|a, b| a.0 == b.0).count();
        let slots = keys * SLOTS.0 / SLOTS.1 + 1;
        let mut index = Index {
            measure: self.measure,
            numbers: self.numbers,
            sets: self.sets,
            names: self.names,
            ends: self.ends,
            texts: self.texts,
            lengths: Vec::new(),
            front: vec![0; (keys * FRONT_BITS).div_ceil(64).max(1)],
            keys: vec![0; slots],
            starts: vec![0; slots],
            places: Vec::with_capacity(self.found.len()),
        };
        for places in self.found.chunk_by(|a, b| a.0 == b.0) {
            let key = places[0].0;
            let bit = reduce(key.rotate_left(32), index.front.len() * 64);
            index.front[bit / 64] |= 1 << (bit % 64);
            let mut slot = reduce(key, slots);
            while index.keys[slot] != 0 {
                slot = (slot + 1) % slots;
            }
            (index.keys[slot], index.starts[slot]) = (key, to_u32(index.places.len()));
            index.places.extend(places.iter().map(|(_, place)| *place));
            if let Some(last) = index.places.last_mut() {
                last.at |= LAST;
            }
        }
        self.short.sort_unstable();
        // Where every item is shorter, nothing is of the whole length.
        index.lengths = self.short.into_iter().map(Runs::new).chain([self.whole]).collect();
        index
    }
}

fn to_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rolling_sum_is_that_of_each_run() {
        let words: Vec<u64> = (0..40_u64).map(|i| (i * i + 7).wrapping_mul(BASE)).collect();
        for length in [1, 2, 8, 40] {
            let runs = Runs::new(length);
            let mut rolled = Vec::new();
            runs.each(words.iter().copied(), |at, key| rolled.push((at, key)));
            let alone = words.windows(length).enumerate().map(|(at, run)| {
                let sum = run.iter().fold(0_u64, |sum, word| sum.wrapping_mul(BASE).wrapping_add(*word));
                (at, runs.key(sum))
            });
            assert_eq!(rolled, alone.collect::<Vec<_>>());
        }
        Runs::new(8).each(words[..7].iter().copied(), |_, _| panic!("too few words"));
    }

    #[test]
    fn every_run_is_found_and_no_other() {
        let mut builder = Builder::new(&Decontamination { ngram: Some(2), ..Decontamination::default() }, true);
        builder.set("a");
        builder.item("a1", ["uno due tre", "due tre"]);
        builder.item("a2", [" ?"]);
        builder.set("b");
        builder.item("b1", ["zero uno due"]);
        let index = builder.finish();
        let told: Vec<_> = index.sets.iter().map(|set| (set.name.as_str(), set.items, set.short)).collect();
        assert_eq!(told, [("a", 2, 1), ("b", 1, 0)]);
        assert_eq!((index.name(0), index.name(2), index.set_of(1), index.set_of(2)), ("a1", "b1", 0, 1));
        let mut words = Words::new(true);
        words.add("uno due nove");
        let mut found = Vec::new();
        Runs::new(2).each(words.hashes().collect::<Vec<_>>().into_iter(), |at, key| {
            let slot = index.slot(key);
            let places = slot.map(|slot| index.places(slot).iter().map(|p| (p.text, p.at())).collect::<Vec<_>>());
            found.push((at, places));
        });
        assert_eq!(found, [(0, Some(vec![(0, 0), (2, 1)])), (1, None)]);
    }
}
