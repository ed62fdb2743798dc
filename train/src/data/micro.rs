//! What one forward pass of training sees: texts, pairs of answers, or unpaired answers, each of which was
//! wanted or not.

use std::ops::Range;

use super::batch::{Batch, Example};

/// Where a document's targets are among those of its batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetSpans {
    /// All of them.
    pub text: Range<usize>,
    /// Those of the answer.
    pub answer: Range<usize>,
}

/// Pairs: two documents each, the second goes on from the first's question.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PairBatch {
    /// Chosen, rejected, chosen, rejected, ...
    pub batch: Batch,
    /// Of chosen and rejected.
    pub targets: Vec<[TargetSpans; 2]>,
    /// Log-probabilities of both answers under the reference, in nats, if they are known.
    pub reference: Option<Vec<[f64; 2]>>,
}

/// Unpaired answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UnpairedBatch {
    /// A document each.
    pub batch: Batch,
    /// Of each.
    pub targets: Vec<TargetSpans>,
    /// Whether each was wanted.
    pub desirable: Vec<bool>,
    /// Every question with the answer of the one before it, the first with the last's.
    pub rotated: Batch,
    /// Of each.
    pub rotated_targets: Vec<TargetSpans>,
}

/// A micro-batch.
#[derive(Clone, Debug, PartialEq)]
pub enum MicroBatch {
    /// Texts.
    Texts(Batch),
    /// Pairs of answers.
    Pairs(PairBatch),
    /// Unpaired answers.
    Unpaired(UnpairedBatch),
}

impl MicroBatch {
    /// What is learned from.
    pub fn batch(&self) -> &Batch {
        match self {
            Self::Texts(batch) => batch,
            Self::Pairs(pairs) => &pairs.batch,
            Self::Unpaired(answers) => &answers.batch,
        }
    }

    /// Tokens of its texts; a question that two answers share counts for each.
    pub fn tokens(&self) -> u64 {
        let batch = self.batch();
        batch.tokens() as u64 + batch.shared.iter().map(|n| u64::from(*n)).sum::<u64>()
    }
}

/// Add a document, and say where its targets are: `seen` is how many there were before.
fn add(batch: &mut Batch, shared: usize, example: &Example, row: u32, seen: &mut usize) -> TargetSpans {
    let answer = example.trained.iter().skip(1).filter(|t| **t).count();
    batch.push_after(shared, example, row);
    let text = *seen..*seen + answer;
    *seen = text.end;
    TargetSpans { answer: text.clone(), text }
}

/// Tokens of a question, of which every answer's text has all.
pub fn asked(example: &Example) -> usize {
    example.trained.iter().take_while(|t| !**t).count()
}

/// Tokens of a question that need not be laid down twice: all but the last, which has two tokens to foretell.
pub fn shared(chosen: &Example, rejected: &Example) -> usize {
    let n = asked(chosen).min(asked(rejected)).saturating_sub(1);
    if chosen.ids[..n] == rejected.ids[..n] { n } else { 0 }
}

/// Whether a question is learned together with its chosen answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// It is: ORPO's NLL is over both.
    Learned,
    /// Only answers are.
    Given,
}

impl PairBatch {
    /// Of (row, chosen, rejected).
    pub fn new(rows: &[(u32, Example, Example)], question: Question) -> Self {
        let (mut made, mut seen) = (Self::default(), 0);
        for (row, chosen, rejected) in rows {
            let shared = shared(chosen, rejected);
            let better = if question == Question::Learned {
                let all = Example { ids: chosen.ids.clone(), trained: vec![true; chosen.ids.len()] };
                let targets = add(&mut made.batch, 0, &all, *row, &mut seen);
                let answer = targets.text.start + asked(chosen).saturating_sub(1)..targets.text.end;
                TargetSpans { answer, ..targets }
            } else {
                add(&mut made.batch, 0, chosen, *row, &mut seen)
            };
            let other = add(&mut made.batch, shared, rejected, *row, &mut seen);
            made.targets.push([better, other]);
        }
        made
    }
}

impl UnpairedBatch {
    /// Of (row, answer, whether it was wanted); rotated texts keep their first `max` tokens.
    pub fn new(rows: &[(u32, Example, bool)], max: usize) -> Self {
        let (mut made, mut seen) = (Self::default(), [0, 0]);
        for (i, (row, example, desirable)) in rows.iter().enumerate() {
            made.targets.push(add(&mut made.batch, 0, example, *row, &mut seen[0]));
            made.desirable.push(*desirable);
            let before = &rows[(i + rows.len() - 1) % rows.len()].1;
            let (own, theirs) = (asked(example), asked(before));
            let ids = example.ids[..own].iter().chain(&before.ids[theirs..]).copied().take(max).collect::<Vec<_>>();
            let other = Example { trained: (0..ids.len()).map(|t| t >= own).collect(), ids };
            made.rotated_targets.push(add(&mut made.rotated, 0, &other, *row, &mut seen[1]));
        }
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::IGNORE;

    fn row(ids: &[u32], asked: usize) -> Example {
        Example { ids: ids.to_vec(), trained: (0..ids.len()).map(|i| i >= asked).collect() }
    }

    /// The tokens that each range of targets foretells.
    fn told(batch: &Batch, range: &Range<usize>) -> Vec<u32> {
        batch.labels.iter().copied().filter(|l| *l != IGNORE).collect::<Vec<_>>()[range.clone()].to_vec()
    }

    #[test]
    fn pairs_share_their_question() {
        let rows = [
            (4, row(&[1, 2, 3, 4, 5], 3), row(&[1, 2, 3, 6], 3)),
            (0, row(&[7, 8], 1), row(&[7, 9], 1)),
            // Cut in different places, they share nothing.
            (2, row(&[1, 2, 3], 2), row(&[2, 2, 5], 2)),
        ];
        for question in [Question::Given, Question::Learned] {
            let pairs = PairBatch::new(&rows, question);
            assert_eq!(pairs.batch.shared, [0, 2, 0, 0, 0, 0]);
            assert_eq!(pairs.batch.ids, [1, 2, 3, 4, 5, 3, 6, 7, 8, 7, 9, 1, 2, 3, 2, 2, 5]);
            assert_eq!(pairs.batch.rows, [4, 4, 0, 0, 2, 2]);
            let answers: Vec<_> = pairs.targets.iter().flatten().map(|s| told(&pairs.batch, &s.answer)).collect();
            assert_eq!(answers, [vec![4, 5], vec![6], vec![8], vec![9], vec![3], vec![5]]);
            let texts: Vec<_> = pairs.targets.iter().map(|s| told(&pairs.batch, &s[0].text)).collect();
            let all = [vec![2, 3, 4, 5], vec![8], vec![2, 3]];
            assert_eq!(texts, if question == Question::Learned { all } else { [vec![4, 5], vec![8], vec![3]] });
        }
    }

    #[test]
    fn answers_go_round() {
        let rows = [(0, row(&[1, 2, 3], 2), true), (1, row(&[4, 5, 6, 7], 1), false), (2, row(&[8, 9], 1), true)];
        let judged = UnpairedBatch::new(&rows, 4);
        assert_eq!(judged.batch.ids, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(judged.desirable, [true, false, true]);
        assert_eq!(judged.rotated.ids, [1, 2, 9, 4, 3, 8, 5, 6, 7]);
        let answers = judged.rotated_targets.iter().map(|s| told(&judged.rotated, &s.answer));
        assert_eq!(answers.collect::<Vec<_>>(), [vec![9], vec![3], vec![5, 6, 7]]);
        assert_eq!(UnpairedBatch::new(&rows, 3).rotated.ids, [1, 2, 9, 4, 3, 8, 5, 6]);
    }
}
