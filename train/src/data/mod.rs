//! From curated shards to batches of tokens.

pub mod cache;
pub mod dataset;
pub mod mask;
pub mod order;
pub mod pack;
pub mod shards;
pub mod show;
pub mod spans;

pub use dataset::{Counts, Dataset, Watch};
pub use order::{Order, Shape, in_order};
pub use shards::Split;

/// What the loss ignores.
pub const IGNORE: u32 = u32::MAX;

/// One row as tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Example {
    /// Token ids, [length].
    pub ids: Vec<u32>,
    /// Whether the model learns to produce each token, [length]; never the first.
    pub trained: Vec<bool>,
}

/// Sequences laid end to end without padding: what one forward pass sees. T tokens in D documents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Token ids, [T].
    pub ids: Vec<u32>,
    /// Position of each token in its document, [T].
    pub positions: Vec<u32>,
    /// Where each document starts, and T at the end, [D + 1]. No token attends outside its document.
    pub starts: Vec<u32>,
    /// The token that should follow each token, or [`IGNORE`], [T]; the last of a document is always ignored.
    pub labels: Vec<u32>,
    /// Number of each document's row in the data set, [D].
    pub rows: Vec<u32>,
}

impl Batch {
    /// Tokens.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Tokens that count in the loss.
    pub fn targets(&self) -> usize {
        self.labels.iter().filter(|l| **l != IGNORE).count()
    }

    /// Add a document at the end.
    #[allow(clippy::cast_possible_truncation, reason = "a batch is far below 4 billion tokens")]
    pub fn push(&mut self, example: &Example, row: u32) {
        if self.starts.is_empty() {
            self.starts.push(0);
        }
        let n = example.ids.len();
        self.ids.extend(&example.ids);
        self.positions.extend(0..n as u32);
        self.labels.extend((1..n).map(|i| if example.trained[i] { example.ids[i] } else { IGNORE }));
        self.labels.extend((n > 0).then_some(IGNORE));
        self.starts.push(self.ids.len() as u32);
        self.rows.push(row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_label_reaches_into_the_next_document() {
        let row = |ids: &[u32], trained: &[u8]| Example {
            ids: ids.to_vec(),
            trained: trained.iter().map(|t| *t == 1).collect(),
        };
        let mut batch = Batch::default();
        batch.push(&row(&[5, 6, 7, 8], &[0, 0, 1, 1]), 3);
        batch.push(&row(&[9, 10], &[0, 1]), 0);
        batch.push(&row(&[11], &[0]), 4);
        assert_eq!(batch.ids, [5, 6, 7, 8, 9, 10, 11]);
        assert_eq!(batch.labels, [IGNORE, 7, 8, IGNORE, 10, IGNORE, IGNORE]);
        assert_eq!(batch.positions, [0, 1, 2, 3, 0, 1, 0]);
        assert_eq!((batch.starts.as_slice(), batch.rows.as_slice()), (&[0, 4, 6, 7][..], &[3, 0, 4][..]));
        assert_eq!((batch.tokens(), batch.targets()), (7, 3));
    }
}
