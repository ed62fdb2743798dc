//! Rows as tokens, and sequences of them that one forward pass sees.

use crate::kernels::Span;

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
    /// How many of the first tokens of the document before it each document goes on from without holding them, [D];
    /// 0 for one that stands alone.
    pub shared: Vec<u32>,
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
    pub fn push(&mut self, example: &Example, row: u32) {
        self.push_after(0, example, row);
    }

    /// Add a document whose first `shared` tokens are those of the document before it, and are not laid down again:
    /// what follows them sees the keys and values that are there.
    #[allow(clippy::cast_possible_truncation, reason = "a batch is far below 4 billion tokens")]
    pub fn push_after(&mut self, shared: usize, example: &Example, row: u32) {
        if self.starts.is_empty() {
            self.starts.push(0);
        }
        let n = example.ids.len();
        self.ids.extend(&example.ids[shared..]);
        self.positions.extend(shared as u32..n as u32);
        self.labels.extend((shared + 1..n).map(|i| if example.trained[i] { example.ids[i] } else { IGNORE }));
        self.labels.extend((n > shared).then_some(IGNORE));
        self.starts.push(self.ids.len() as u32);
        self.shared.push(shared as u32);
        self.rows.push(row);
    }

    /// The documents as spans of queries that see the keys of the same document, and, where documents share tokens,
    /// which token's key and value each of those keys is, [S].
    pub fn spans(&self) -> (Vec<Span>, Option<Vec<u32>>) {
        let documents = self.starts.iter().zip(self.starts.iter().skip(1)).zip(&self.shared);
        if self.shared.iter().all(|shared| *shared == 0) {
            let alone = |((start, end), _): ((&u32, &u32), &u32)| {
                let (first, len) = (*start as usize, (end - start) as usize);
                Span { q: first, q_len: len, k: first, k_len: len }
            };
            return (documents.map(alone).collect(), None);
        }
        let (mut spans, mut keys, mut before) = (Vec::new(), Vec::new(), 0);
        for ((start, end), shared) in documents {
            let k = keys.len();
            // The document before may itself go on from another: its keys begin there.
            keys.extend_from_within(before..before + *shared as usize);
            keys.extend(*start..*end);
            let (q_len, k_len) = ((end - start) as usize, keys.len() - k);
            spans.push(Span { q: *start as usize, q_len, k, k_len });
            before = k;
        }
        (spans, Some(keys))
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
        let span = |q, q_len, k, k_len| Span { q, q_len, k, k_len };
        assert_eq!(batch.spans(), (vec![span(0, 4, 0, 4), span(4, 2, 4, 2), span(6, 1, 6, 1)], None));
    }

    #[test]
    fn a_document_goes_on_from_the_one_before() {
        let row = |ids: &[u32], trained: &[u8]| Example {
            ids: ids.to_vec(),
            trained: trained.iter().map(|t| *t == 1).collect(),
        };
        let mut batch = Batch::default();
        batch.push(&row(&[9, 9], &[0, 1]), 0);
        batch.push(&row(&[1, 2, 3, 4], &[0, 0, 0, 1]), 1);
        // The last token of the question is there twice: it has two tokens to foretell.
        batch.push_after(2, &row(&[1, 2, 3, 5, 6], &[0, 0, 0, 1, 1]), 1);
        assert_eq!(batch.ids, [9, 9, 1, 2, 3, 4, 3, 5, 6]);
        assert_eq!(batch.labels, [9, IGNORE, IGNORE, IGNORE, 4, IGNORE, 5, 6, IGNORE]);
        assert_eq!(batch.positions, [0, 1, 0, 1, 2, 3, 2, 3, 4]);
        let span = |q, q_len, k, k_len| Span { q, q_len, k, k_len };
        let keys = vec![0, 1, 2, 3, 4, 5, 2, 3, 6, 7, 8];
        assert_eq!(batch.spans(), (vec![span(0, 2, 0, 2), span(2, 4, 2, 4), span(6, 3, 6, 5)], Some(keys)));
    }
}
