//! Runs of n words that are there more than once.

use super::{AsIn, mix};

/// How much of a text its most frequent runs, and the runs that are there twice, make up.
#[derive(Debug, Default, PartialEq)]
pub struct Ngrams {
    /// Characters of the words.
    pub chars: u64,
    /// Characters of the most frequent run of 2, 3 and 4 words; of equally frequent ones the first.
    pub top: [u64; 3],
    /// Characters of runs of 5 to 10 words that are there twice.
    pub duplicate: [u64; 6],
}

/// Lengths of runs.
const TOP: std::ops::RangeInclusive<usize> = 2..=4;
const DUPLICATE: std::ops::RangeInclusive<usize> = 5..=10;

impl Ngrams {
    /// Of words, each by its hash and its characters.
    ///
    /// In a paper all words of such runs count, each once, and a run that is there once counts nothing. In datatrove a run's
    /// characters, with the spaces in it, count as often as it is there, also if that is once; of the longer ones those behind
    /// the first count, from left to right, without what lies over another.
    ///
    /// A run of n words is there twice only if both runs of n - 1 words in it are, so that most are never looked at.
    pub fn new(words: &[(u64, u32)], as_in: AsIn) -> Self {
        let mut before = Vec::with_capacity(words.len() + 1);
        let mut sum = 0_u64;
        before.push(0);
        for (_, chars) in words {
            sum += u64::from(*chars);
            before.push(sum);
        }
        let length = |start: usize, n: usize| before[start + n] - before[start];
        let mut found = Self { chars: sum, ..Self::default() };
        // Where runs may be there twice, and their hashes.
        let mut runs: Vec<(usize, u64)> = words.iter().map(|(hash, _)| *hash).enumerate().collect();
        let mut counter = Counter::default();
        for n in *TOP.start()..=*DUPLICATE.end() {
            runs = longer(&runs, words, n);
            let counts = counter.count(&runs);
            if TOP.contains(&n) {
                let best =
                    counts.iter().copied().reduce(|best, next| if next.times > best.times { next } else { best });
                found.top[n - TOP.start()] = match as_in {
                    AsIn::Paper => best.filter(|b| b.times > 1).map_or(0, |best| {
                        let places = runs.iter().filter(|(_, hash)| *hash == best.hash).map(|(at, _)| *at);
                        covered(places, n, length)
                    }),
                    AsIn::Datatrove if words.len() < n => 0,
                    AsIn::Datatrove => {
                        let (first, count) = best.map_or((0, 1), |best| (best.first, u64::from(best.times)));
                        let (first, count) = if count > 1 { (first, count) } else { (0, 1) };
                        (length(first, n) + n as u64 - 1) * count
                    }
                };
            }
            counter.keep_repeated(&mut runs);
            if DUPLICATE.contains(&n) {
                found.duplicate[n - DUPLICATE.start()] = match as_in {
                    AsIn::Paper => covered(runs.iter().map(|(at, _)| *at), n, length),
                    AsIn::Datatrove => behind_the_first(&runs, n, length),
                };
            }
        }
        found
    }
}

/// Runs of `n` words from those of one word fewer.
fn longer(shorter: &[(usize, u64)], words: &[(u64, u32)], n: usize) -> Vec<(usize, u64)> {
    let neighbours = shorter.windows(2).filter(|pair| pair[0].0 + 1 == pair[1].0);
    neighbours.map(|pair| (pair[0].0, mix(pair[0].1, words[pair[0].0 + n - 1].0) | 1)).collect()
}

/// Characters of all words of runs of `n` words at these places, each once.
fn covered(places: impl Iterator<Item = usize>, n: usize, length: impl Fn(usize, usize) -> u64) -> u64 {
    let (mut sum, mut until) = (0, 0);
    for place in places {
        let start = place.max(until);
        until = place + n;
        sum += length(start, until - start);
    }
    sum
}

/// Characters of runs that were there before, from left to right; what such a run covers begins none.
fn behind_the_first(runs: &[(usize, u64)], n: usize, length: impl Fn(usize, usize) -> u64) -> u64 {
    let (mut sum, mut from) = (0, 0);
    let mut seen = std::collections::HashSet::new();
    for (at, hash) in runs {
        if *at < from {
        } else if seen.insert(*hash) {
            from = at + 1;
        } else {
            sum += length(*at, n);
            from = at + n;
        }
    }
    sum
}

/// How often a run is there.
#[derive(Clone, Copy)]
struct Count {
    hash: u64,
    times: u32,
    first: usize,
}

/// Counts hashes, in the order in which they come first; keeps its room.
#[derive(Default)]
struct Counter {
    /// Numbers of counts plus 1, by the hash; 0: none.
    slots: Vec<u32>,
    counts: Vec<Count>,
    /// The number of each run's count.
    of: Vec<u32>,
}

impl Counter {
    fn count(&mut self, runs: &[(usize, u64)]) -> &[Count] {
        self.slots.clear();
        self.slots.resize((runs.len() * 2).next_power_of_two(), 0);
        self.counts.clear();
        self.of.clear();
        let mask = self.slots.len() - 1;
        for (at, hash) in runs {
            let mut slot = usize::try_from(*hash >> 20).unwrap_or(0) & mask;
            let number = loop {
                match self.slots[slot] {
                    0 => {
                        self.counts.push(Count { hash: *hash, times: 0, first: *at });
                        let number = u32::try_from(self.counts.len()).unwrap_or(u32::MAX);
                        self.slots[slot] = number;
                        break number - 1;
                    }
                    number if self.counts[number as usize - 1].hash == *hash => break number - 1,
                    _ => slot = (slot + 1) & mask,
                }
            };
            self.counts[number as usize].times += 1;
            self.of.push(number);
        }
        &self.counts
    }

    /// Leave of the runs that were counted those that are there more than once.
    fn keep_repeated(&self, runs: &mut Vec<(usize, u64)>) {
        let mut of = self.of.iter();
        runs.retain(|_| of.next().is_some_and(|number| self.counts[*number as usize].times > 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, as_in: AsIn) -> Ngrams {
        let words: Vec<(u64, u32)> =
            text.split(' ').map(|w| (super::super::hash(w.as_bytes()), u32::try_from(w.len()).unwrap_or(0))).collect();
        Ngrams::new(&words, as_in)
    }

    #[test]
    fn overlaps_count_once_and_single_runs_nothing() {
        let ten = ["a"; 10].join(" ");
        assert_eq!(of(&ten, AsIn::Paper).top, [10, 10, 10]);
        assert_eq!(of(&ten, AsIn::Datatrove).top, [27, 40, 49]);
        assert_eq!(of("uno due tre quattro", AsIn::Paper).top, [0, 0, 0]);
        assert_eq!(of("uno due tre quattro", AsIn::Datatrove).top, [7, 11, 19]);
        let twice = "a b c d e x a b c d e";
        assert_eq!(of(twice, AsIn::Paper).duplicate, [10, 0, 0, 0, 0, 0]);
        assert_eq!(of(twice, AsIn::Datatrove).duplicate, [5, 0, 0, 0, 0, 0]);
        assert_eq!(of("", AsIn::Paper).top, [0, 0, 0]);
    }
}
