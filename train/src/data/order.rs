//! Which rows a step sees: a function of the seed and the step's number alone, so that a run that is
//! resumed needs to know nothing else.
//!
//! An epoch is a list of sequences, each of one row or more; `batch` of them are a micro-batch, and
//! `accumulation` of those a step. The last step of an epoch may be smaller, as the Hugging Face Trainer's.

use std::sync::{Arc, Mutex, PoisonError};

use super::{dataset::Dataset, micro::MicroBatch, pack};
use crate::{
    random::{child, key, permutation},
    recipe::Packing,
};

/// Batches that are sorted together by `length` packing.
const SORTED: usize = 50;

/// The shape of a step.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// How rows share a sequence.
    pub packing: Packing,
    /// Longest sequence in tokens, for packing.
    pub max_length: usize,
    /// Sequences in a micro-batch.
    pub batch: usize,
    /// MicroBatch-batches in a step.
    pub accumulation: usize,
}

/// The sequences of an epoch, end to end.
#[derive(Debug, Default)]
pub struct Epoch {
    rows: Vec<u32>,
    ends: Vec<usize>,
}

impl Epoch {
    fn push(&mut self, rows: &[u32]) {
        self.rows.extend_from_slice(rows);
        self.ends.push(self.rows.len());
    }

    /// Sequences.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Rows of sequence `i`.
    ///
    /// # Panics
    /// There is no such sequence.
    pub fn sequence(&self, i: usize) -> &[u32] {
        &self.rows[if i == 0 { 0 } else { self.ends[i - 1] }..self.ends[i]]
    }
}

/// MicroBatch-batches of sequences of row numbers.
pub type Step = Vec<Vec<Vec<u32>>>;

/// The order of a run.
#[derive(Debug)]
pub struct Order {
    lengths: Vec<u32>,
    shape: Shape,
    key: u64,
    /// Sequences in an epoch; the same in every one.
    sequences: usize,
    /// The epoch that was asked for last.
    last: Mutex<Option<(u64, Arc<Epoch>)>>,
}

impl Order {
    /// Of rows with these lengths in tokens.
    pub fn new(lengths: Vec<u32>, shape: Shape, seed: u64) -> Self {
        let mut order = Self { lengths, shape, key: key(seed, "order"), sequences: 0, last: Mutex::new(None) };
        order.sequences = order.epoch(0).len();
        order
    }

    /// Sequences in an epoch.
    pub fn sequences(&self) -> usize {
        self.sequences
    }

    /// Steps in an epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        (self.sequences.div_ceil(self.shape.batch).div_ceil(self.shape.accumulation)) as u64
    }

    /// Steps in so many epochs, rounded up as the Trainer does.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn steps(&self, epochs: f64) -> u64 {
        (epochs * self.steps_per_epoch() as f64).ceil() as u64
    }

    /// Share of the packed sequences that tokens fill, 0 to 1; of the longest row's length without packing.
    pub fn fill(&self) -> f64 {
        let tokens = self.lengths.iter().map(|l| u64::from(*l)).sum();
        let longest = self.lengths.iter().copied().max().unwrap_or(0);
        let max = if self.shape.packing == Packing::Bfd { self.max() } else { longest };
        pack::fill(self.sequences, tokens, max)
    }

    /// The rows of step `k`, counted from 0 over all epochs: nothing for a data set without rows.
    pub fn step(&self, k: u64) -> Step {
        if self.sequences == 0 {
            return Vec::new();
        }
        let epoch = self.epoch(k / self.steps_per_epoch());
        let at = usize::try_from(k % self.steps_per_epoch()).unwrap_or(0);
        let (batch, step) = (self.shape.batch, self.shape.batch * self.shape.accumulation);
        let numbers: Vec<usize> = (at * step..((at + 1) * step).min(epoch.len())).collect();
        let sequences = |part: &[usize]| part.iter().map(|i| epoch.sequence(*i).to_vec()).collect();
        numbers.chunks(batch).map(sequences).collect()
    }

    /// Tokens of the largest micro-batch of step `k`.
    pub fn largest(&self, k: u64) -> usize {
        let tokens =
            |batch: &Vec<Vec<u32>>| batch.iter().flatten().map(|row| self.lengths[*row as usize] as usize).sum();
        self.step(k).iter().map(tokens).max().unwrap_or(0)
    }

    /// The micro-batches of step `k` as tokens.
    pub fn batches(&self, data: &Dataset, k: u64) -> Vec<MicroBatch> {
        self.step(k).into_iter().map(|sequences| data.micro(sequences.into_iter().flatten())).collect()
    }

    /// The sequences of an epoch, in their order.
    pub fn epoch(&self, epoch: u64) -> Arc<Epoch> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((number, found)) if *number == epoch => found.clone(),
            _ => {
                let made = Arc::new(self.make(epoch));
                *last = Some((epoch, made.clone()));
                made
            }
        }
    }

    fn max(&self) -> u32 {
        u32::try_from(self.shape.max_length).unwrap_or(u32::MAX)
    }

    fn make(&self, epoch: u64) -> Epoch {
        let key = child(self.key, epoch);
        let shuffled = permutation(key, self.lengths.len());
        let mut made = Epoch::default();
        match self.shape.packing {
            Packing::None => shuffled.iter().for_each(|row| made.push(&[number(*row)])),
            Packing::Bfd => {
                // The shuffle decides which rows of a length meet, then where their sequences come.
                let bins = pack::best_fit(&shuffled, &self.lengths, self.max());
                for i in permutation(child(key, 0), bins.len()) {
                    made.push(&bins[i]);
                }
            }
            Packing::Length => self.sorted(shuffled, key).iter().for_each(|row| made.push(&[number(*row)])),
        }
        made
    }

    /// Rows of like length side by side: shuffled, sorted within 50 batches, and the batches shuffled. The
    /// longest row comes first, so that a run it does not fit fails at once.
    fn sorted(&self, mut rows: Vec<usize>, key: u64) -> Vec<usize> {
        let batch = self.shape.batch;
        rows.chunks_mut(SORTED * batch).for_each(|c| c.sort_by_key(|row| std::cmp::Reverse(self.lengths[*row])));
        let (whole, rest) = rows.split_at(rows.len() / batch * batch);
        let batches: Vec<&[usize]> = whole.chunks(batch).collect();
        let mut order = permutation(child(key, 0), batches.len());
        let longest = |i: &usize| batches[*i].iter().map(|row| self.lengths[*row]).max();
        // Of equals the last in `order` is taken, which is as good as any and always the same.
        if let Some(first) = (0..order.len()).max_by_key(|i| longest(&order[*i])) {
            order.swap(0, first);
        }
        order.into_iter().flat_map(|i| batches[i]).chain(rest).copied().collect()
    }
}

fn number(row: usize) -> u32 {
    u32::try_from(row).unwrap_or(u32::MAX)
}

/// The whole data set in order, `batch` rows at a time: for evaluation.
pub fn in_order(data: &Dataset, batch: usize) -> impl Iterator<Item = MicroBatch> + '_ {
    let mut rows: Vec<u32> = (0..data.len()).map(number).collect();
    // Answers to one question lie side by side, and what is judged is compared with answers to others.
    rows.sort_by_key(|row| !data.desirable(*row as usize));
    let starts = (0..rows.len()).step_by(batch.max(1));
    starts.map(move |at| data.micro(rows[at..(at + batch.max(1)).min(rows.len())].iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::bits;

    fn order(n: u64, packing: Packing, batch: usize, accumulation: usize, seed: u64) -> Order {
        let k = key(1, "lengths");
        let lengths = (0..n).map(|i| u32::try_from(1 + bits(k, i) % 64).unwrap()).collect();
        Order::new(lengths, Shape { packing, max_length: 64, batch, accumulation }, seed)
    }

    const ALL: [Packing; 3] = [Packing::None, Packing::Bfd, Packing::Length];

    #[test]
    fn every_epoch_has_every_row_once() {
        for packing in ALL {
            let order = order(103, packing, 4, 3, 42);
            for epoch in 0..3 {
                let steps = epoch * order.steps_per_epoch()..(epoch + 1) * order.steps_per_epoch();
                let steps: Vec<Step> = steps.map(|k| order.step(k)).collect();
                let (last, full) = steps.split_last().unwrap();
                assert!(full.iter().all(|s| s.len() == 3 && s.iter().all(|b| b.len() == 4)));
                assert!(!last.is_empty() && last.iter().all(|b| !b.is_empty()));
                let mut rows: Vec<u32> = steps.into_iter().flatten().flatten().flatten().collect();
                assert_ne!(rows[..20], (0..20).collect::<Vec<_>>()[..], "{packing:?}");
                rows.sort_unstable();
                assert_eq!(rows, (0..103).collect::<Vec<_>>(), "{packing:?}");
            }
            assert_ne!(order.step(0), order.step(order.steps_per_epoch()), "epochs differ");
        }
    }

    #[test]
    fn any_step_can_be_had_at_any_time() {
        for packing in ALL {
            let there = order(97, packing, 2, 2, 7);
            let steps = 3 * there.steps_per_epoch();
            let sequential: Vec<Step> = (0..steps).map(|k| there.step(k)).collect();
            let here = order(97, packing, 2, 2, 7);
            for k in permutation(3, sequential.len()) {
                assert_eq!(here.step(k as u64), sequential[k], "{packing:?} {k}");
            }
            assert_ne!(order(97, packing, 2, 2, 8).step(0), sequential[0], "the seed decides");
        }
    }

    #[test]
    fn steps_are_counted_as_the_trainer_counts_them() {
        // 103 rows: 26 micro-batches of 4, 9 steps of 3; 1.5 epochs are 13.5 steps, so 14.
        let order = order(103, Packing::None, 4, 3, 1);
        assert_eq!((order.sequences(), order.steps_per_epoch()), (103, 9));
        assert_eq!([1.5, 3.0, 0.01].map(|e| order.steps(e)), [14, 27, 1]);
        let none = self::order(0, Packing::Bfd, 4, 3, 1);
        assert_eq!((none.steps(2.0), none.step(0)), (0, Step::new()));
    }

    #[test]
    fn lengths_are_grouped_and_the_longest_comes_first() {
        let spread = |packing| {
            let order = order(1000, packing, 8, 1, 5);
            let range = |batch: &Vec<Vec<u32>>| {
                let lengths = || batch.iter().flatten().map(|r| order.lengths[*r as usize]);
                lengths().max().unwrap() - lengths().min().unwrap()
            };
            let spread: u32 = (0..order.steps_per_epoch()).map(|k| range(&order.step(k)[0])).sum();
            let first = order.step(0)[0].iter().flatten().map(|r| order.lengths[*r as usize]).max();
            (spread, first)
        };
        let (grouped, first) = spread(Packing::Length);
        assert!(grouped * 10 < spread(Packing::None).0, "{grouped}");
        assert_eq!(first, Some(64));
    }

    #[test]
    fn packing_fills_its_sequences() {
        let packed = order(1000, Packing::Bfd, 1, 1, 5);
        assert!(packed.fill() > 0.98, "{}", packed.fill());
        let held = |epoch: &Epoch, i: usize| epoch.sequence(i).iter().map(|r| packed.lengths[*r as usize]).sum::<u32>();
        let epoch = packed.epoch(1);
        assert!((0..epoch.len()).all(|i| held(&epoch, i) <= 64));
        assert_eq!(epoch.len(), packed.sequences());
    }
}
