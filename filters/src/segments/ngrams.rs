//! Runs of n words that are there more than once.

use std::cell::RefCell;

use super::{AsIn, Token, token::mix};

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
    /// Of the words of a text, and of its signs where `as_in` takes them for such.
    ///
    /// In a paper all words of such runs count, each once, and a run that is there once counts nothing. In datatrove a run's
    /// characters, with the spaces in it, count as often as it is there, also if that is once; of the longer ones those behind
    /// the first count, from left to right, without what lies over another.
    ///
    /// A run of n words is there twice only if both runs of n - 1 words in it are, so that most are never looked at.
    pub fn new(tokens: &[Token], as_in: AsIn) -> Self {
        ROOM.with_borrow_mut(|room| room.count(tokens, as_in))
    }
}

thread_local! {
    /// Room for the next text of a thread.
    static ROOM: RefCell<Room> = RefCell::default();
}

/// A run of words.
#[derive(Clone, Copy, Default)]
struct Run {
    /// The number of its first word.
    at: usize,
    hash: u64,
    /// The number of its count.
    count: usize,
}

/// How often a run is there.
#[derive(Clone, Copy)]
struct Count {
    hash: u64,
    times: u32,
    first: usize,
}

#[derive(Default)]
struct Room {
    /// Hashes of words.
    words: Vec<u64>,
    /// Characters before each word, and of all.
    before: Vec<u64>,
    pairs: Vec<u64>,
    /// How many pairs have a hash that begins so.
    alike: Vec<u8>,
    runs: Vec<Run>,
    /// Numbers of counts plus 1, by the hash; 0: none.
    slots: Vec<u32>,
    counts: Vec<Count>,
}

impl Room {
    fn count(&mut self, tokens: &[Token], as_in: AsIn) -> Ngrams {
        self.words.clear();
        self.before.clear();
        let mut sum = 0_u64;
        self.before.push(0);
        for token in tokens.iter().filter(|token| token.word || as_in == AsIn::Datatrove) {
            self.words.push(token.hash);
            sum += u64::from(token.chars);
            self.before.push(sum);
        }
        let mut found = Ngrams { chars: sum, ..Ngrams::default() };
        self.pairs_alike();
        for n in *TOP.start()..=*DUPLICATE.end() {
            if n > 2 {
                self.lengthen(n);
            }
            self.count_runs();
            if TOP.contains(&n) {
                found.top[n - TOP.start()] = self.top(n, as_in);
            }
            self.runs.retain(|run| self.counts[run.count].times > 1);
            if DUPLICATE.contains(&n) {
                found.duplicate[n - DUPLICATE.start()] = match as_in {
                    AsIn::Paper => self.covered(|_| true, n),
                    AsIn::Datatrove => self.behind_the_first(n),
                };
            }
        }
        found
    }

    /// The pairs of words of which another may be: most are told from all others by a few bits.
    fn pairs_alike(&mut self) {
        let slots = (self.words.len() * 8).next_power_of_two();
        self.alike.clear();
        self.alike.resize(slots, 0);
        let slot = |hash: u64| usize::try_from(hash >> 20).unwrap_or(0) & (slots - 1);
        self.pairs.clear();
        self.pairs.extend(self.words.windows(2).map(|pair| mix(pair[0], pair[1]) | 1));
        for hash in &self.pairs {
            let alike = &mut self.alike[slot(*hash)];
            *alike = alike.saturating_add(1);
        }
        self.runs.clear();
        self.runs.resize(self.pairs.len(), Run::default());
        // Each is written, and the next over those that are none.
        let mut kept = 0;
        for (at, hash) in self.pairs.iter().enumerate() {
            self.runs[kept] = Run { at, hash: *hash, count: 0 };
            kept += usize::from(self.alike[slot(*hash)] > 1);
        }
        self.runs.truncate(kept);
    }

    /// Runs of `n` words from those of one word fewer.
    fn lengthen(&mut self, n: usize) {
        let mut kept = 0;
        for number in 1..self.runs.len() {
            let (Run { at, hash, .. }, next) = (self.runs[number - 1], self.runs[number].at);
            if at + 1 == next {
                self.runs[kept] = Run { at, hash: mix(hash, self.words[at + n - 1]) | 1, count: 0 };
                kept += 1;
            }
        }
        self.runs.truncate(kept);
    }

    /// Count hashes, in the order in which they come first.
    fn count_runs(&mut self) {
        self.slots.clear();
        self.counts.clear();
        if self.runs.is_empty() {
            return;
        }
        self.slots.resize((self.runs.len() * 2).next_power_of_two(), 0);
        let mask = self.slots.len() - 1;
        for run in &mut self.runs {
            let mut slot = usize::try_from(run.hash >> 20).unwrap_or(0) & mask;
            run.count = loop {
                match self.slots[slot] as usize {
                    0 => {
                        self.counts.push(Count { hash: run.hash, times: 0, first: run.at });
                        self.slots[slot] = u32::try_from(self.counts.len()).unwrap_or(u32::MAX);
                        break self.counts.len() - 1;
                    }
                    number if self.counts[number - 1].hash == run.hash => break number - 1,
                    _ => slot = (slot + 1) & mask,
                }
            };
            self.counts[run.count].times += 1;
        }
    }

    fn length(&self, start: usize, n: usize) -> u64 {
        self.before[start + n] - self.before[start]
    }

    /// Characters of the most frequent run.
    fn top(&self, n: usize, as_in: AsIn) -> u64 {
        let best = self.counts.iter().reduce(|best, next| if next.times > best.times { next } else { best });
        let best = best.filter(|best| best.times > 1);
        match (as_in, best) {
            (AsIn::Paper, None) => 0,
            (AsIn::Paper, Some(best)) => self.covered(|run| run.hash == best.hash, n),
            (AsIn::Datatrove, _) if self.words.len() < n => 0,
            (AsIn::Datatrove, best) => {
                let (first, times) = best.map_or((0, 1), |best| (best.first, best.times));
                (self.length(first, n) + n as u64 - 1) * u64::from(times)
            }
        }
    }

    /// Characters of all words of some runs, each once.
    fn covered(&self, which: impl Fn(&Run) -> bool, n: usize) -> u64 {
        let (mut sum, mut until) = (0, 0);
        for run in self.runs.iter().filter(|run| which(run)) {
            let start = run.at.max(until);
            until = run.at + n;
            sum += self.length(start, until - start);
        }
        sum
    }

    /// Characters of runs that were there before, from left to right; what such a run covers begins none.
    fn behind_the_first(&mut self, n: usize) -> u64 {
        let (mut sum, mut from) = (0, 0);
        for number in 0..self.runs.len() {
            let Run { at, count, .. } = self.runs[number];
            if at < from {
                continue;
            }
            // Of what was counted the number is no longer needed: 0 says that it was there.
            if std::mem::replace(&mut self.counts[count].times, 0) > 0 {
                from = at + 1;
            } else {
                sum += self.length(at, n);
                from = at + n;
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, as_in: AsIn) -> Ngrams {
        let token = |word: &str| {
            let chars = u32::try_from(word.len()).unwrap_or(0);
            Token { hash: super::super::hash(word.as_bytes()), chars, word: true }
        };
        let words: Vec<Token> = text.split(' ').map(token).collect();
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
