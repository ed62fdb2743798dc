//! What one forward pass of training sees: texts, pairs of answers, or answers that were judged one by one.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{Batch, Example};

/// What the rows of a data set are made into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// One text a row.
    #[default]
    Texts,
    /// A question and two answers a row. The question keeps its last `longest_prompt` tokens, 0 for all of them; it is
    /// learned together with the chosen answer if `whole`.
    Pairs { longest_prompt: usize, whole: bool },
    /// A question and one answer each.
    Judged { longest_prompt: usize },
}

/// Where a document's targets are among those of its batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// All of them.
    pub text: Range<usize>,
    /// Those of the answer.
    pub answer: Range<usize>,
}

/// Pairs: two documents each, the second goes on from the first's question.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pairs {
    /// Chosen, rejected, chosen, rejected, ...
    pub batch: Batch,
    /// Of chosen and rejected.
    pub said: Vec<[Said; 2]>,
    /// Log-probabilities of both answers under the reference, in nats, if they are known.
    pub reference: Option<Vec<[f64; 2]>>,
}

/// Judged answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judged {
    /// A document each.
    pub batch: Batch,
    /// Of each.
    pub said: Vec<Said>,
    /// Whether each was wanted.
    pub desirable: Vec<bool>,
    /// Every question with the answer of the one before it, the first with the last's.
    pub rotated: Batch,
    /// Of each.
    pub rotated_said: Vec<Said>,
}

/// A micro-batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Micro {
    /// Texts.
    Texts(Batch),
    /// Pairs of answers.
    Pairs(Pairs),
    /// Judged answers.
    Judged(Judged),
}

impl Micro {
    /// What is learned from.
    pub fn batch(&self) -> &Batch {
        match self {
            Self::Texts(batch) => batch,
            Self::Pairs(pairs) => &pairs.batch,
            Self::Judged(judged) => &judged.batch,
        }
    }

    /// Tokens of its texts; a question that two answers share counts for each.
    pub fn tokens(&self) -> u64 {
        let batch = self.batch();
        batch.tokens() as u64 + batch.shared.iter().map(|n| u64::from(*n)).sum::<u64>()
    }
}

/// Add a document, and say where its targets are: `seen` is how many there were before.
fn add(batch: &mut Batch, shared: usize, example: &Example, row: u32, seen: &mut usize) -> Said {
    let answer = example.trained.iter().skip(1).filter(|t| **t).count();
    batch.push_after(shared, example, row);
    let text = *seen..*seen + answer;
    *seen = text.end;
    Said { answer: text.clone(), text }
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

impl Pairs {
    /// Of (row, chosen, rejected).
    pub fn new(rows: &[(u32, Example, Example)], whole: bool) -> Self {
        let (mut made, mut seen) = (Self::default(), 0);
        for (row, chosen, rejected) in rows {
            let shared = shared(chosen, rejected);
            let better = if whole {
                let all = Example { ids: chosen.ids.clone(), trained: vec![true; chosen.ids.len()] };
                let said = add(&mut made.batch, 0, &all, *row, &mut seen);
                let answer = said.text.start + asked(chosen).saturating_sub(1)..said.text.end;
                Said { answer, ..said }
            } else {
                add(&mut made.batch, 0, chosen, *row, &mut seen)
            };
            let other = add(&mut made.batch, shared, rejected, *row, &mut seen);
            made.said.push([better, other]);
        }
        made
    }
}

impl Judged {
    /// Of (row, answer, whether it was wanted); rotated texts keep their first `max` tokens.
    pub fn new(rows: &[(u32, Example, bool)], max: usize) -> Self {
        let (mut made, mut seen) = (Self::default(), [0, 0]);
        for (i, (row, example, desirable)) in rows.iter().enumerate() {
            made.said.push(add(&mut made.batch, 0, example, *row, &mut seen[0]));
            made.desirable.push(*desirable);
            let before = &rows[(i + rows.len() - 1) % rows.len()].1;
            let (own, theirs) = (asked(example), asked(before));
            let ids = example.ids[..own].iter().chain(&before.ids[theirs..]).copied().take(max).collect::<Vec<_>>();
            let other = Example { trained: (0..ids.len()).map(|t| t >= own).collect(), ids };
            made.rotated_said.push(add(&mut made.rotated, 0, &other, *row, &mut seen[1]));
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
        for whole in [false, true] {
            let pairs = Pairs::new(&rows, whole);
            assert_eq!(pairs.batch.shared, [0, 2, 0, 0, 0, 0]);
            assert_eq!(pairs.batch.ids, [1, 2, 3, 4, 5, 3, 6, 7, 8, 7, 9, 1, 2, 3, 2, 2, 5]);
            assert_eq!(pairs.batch.rows, [4, 4, 0, 0, 2, 2]);
            let answers: Vec<_> = pairs.said.iter().flatten().map(|s| told(&pairs.batch, &s.answer)).collect();
            assert_eq!(answers, [vec![4, 5], vec![6], vec![8], vec![9], vec![3], vec![5]]);
            let texts: Vec<_> = pairs.said.iter().map(|s| told(&pairs.batch, &s[0].text)).collect();
            let all = [vec![2, 3, 4, 5], vec![8], vec![2, 3]];
            assert_eq!(texts, if whole { all } else { [vec![4, 5], vec![8], vec![3]] });
        }
    }

    #[test]
    fn answers_go_round() {
        let rows = [(0, row(&[1, 2, 3], 2), true), (1, row(&[4, 5, 6, 7], 1), false), (2, row(&[8, 9], 1), true)];
        let judged = Judged::new(&rows, 4);
        assert_eq!(judged.batch.ids, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(judged.desirable, [true, false, true]);
        assert_eq!(judged.rotated.ids, [1, 2, 9, 4, 3, 8, 5, 6, 7]);
        let answers = judged.rotated_said.iter().map(|s| told(&judged.rotated, &s.answer));
        assert_eq!(answers.collect::<Vec<_>>(), [vec![9], vec![3], vec![5, 6, 7]]);
        assert_eq!(Judged::new(&rows, 3).rotated.ids, [1, 2, 9, 4, 3, 8, 5, 6]);
    }
}
