//! Areas under ROC curves: how well the second of two answers is told from the first, in all rows and beside the terms of groups.
//!
//! Those beside a term are of Borkan et al. 2019 (arXiv 1903.04561): within the rows that have it, of its negative rows against the positive ones
//! without it (BPSN), and of its positive rows against the negative ones without it (BNSP).

/// Rows in the order of their scores.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// Numbers of rows, those of equal scores together, the least first.
    groups: Vec<Vec<usize>>,
    rows: usize,
}

/// The rows that count as positive and as negative ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sides {
    positive: Vec<bool>,
    negative: Vec<bool>,
}

impl Ranked {
    /// Of the scores of rows.
    pub fn new(scores: &[f64]) -> Self {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
        let groups = order.chunk_by(|a, b| scores[*a].total_cmp(&scores[*b]).is_eq()).map(<[usize]>::to_vec).collect();
        Self { groups, rows: scores.len() }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// The mean of the areas of these sides, each row there as often as `rows` names it. No number if a side has no row.
    #[allow(clippy::cast_precision_loss, reason = "counts of rows")]
    pub fn mean(&self, sides: &[Sides], rows: impl Iterator<Item = usize>) -> f64 {
        let mut times = vec![0_u32; self.rows];
        rows.for_each(|row| times[row] += 1);
        sides.iter().map(|sides| self.area(sides, &times)).sum::<f64>() / sides.len() as f64
    }

    /// The share of pairs of a positive and a negative row whose positive one has the greater score; an equal score is half a pair.
    fn area(&self, sides: &Sides, times: &[u32]) -> f64 {
        let (mut ahead, mut positives, mut negatives) = (0.0, 0.0, 0.0);
        for group in &self.groups {
            let count =
                |side: &[bool]| group.iter().filter(|row| side[**row]).map(|row| f64::from(times[*row])).sum::<f64>();
            let (positive, negative) = (count(&sides.positive), count(&sides.negative));
            ahead += positive * (negatives + negative / 2.0);
            positives += positive;
            negatives += negative;
        }
        ahead / (positives * negatives)
    }
}

impl Sides {
    /// All rows, by whether they are positive.
    pub fn all(positive: &[bool]) -> Self {
        Self { positive: positive.to_vec(), negative: positive.iter().map(|positive| !positive).collect() }
    }

    /// Of the rows that have a term, and of the background that has not: the area within, BPSN and BNSP.
    pub fn beside(positive: &[bool], term: &[bool]) -> [Self; 3] {
        let of = |right: bool, inside: bool| -> Vec<bool> {
            positive.iter().zip(term).map(|(positive, has)| *positive == right && *has == inside).collect()
        };
        [(true, true), (false, true), (true, false)]
            .map(|(positives, negatives)| Self { positive: of(true, positives), negative: of(false, negatives) })
    }

    /// Whether each side has a row.
    pub fn are_there(&self) -> bool {
        [&self.positive, &self.negative].iter().all(|side| side.contains(&true))
    }
}
