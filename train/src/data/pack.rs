//! Packing: rows of like and unlike length into sequences of at most `max` tokens, best fit decreasing.
//!
//! From the longest row to the shortest, each goes where it leaves the least space. Never more than 11/9 of
//! the fewest possible sequences, plus one (Johnson et al., 1974); a few per mille in practice.

use std::collections::BTreeMap;

/// Put rows into bins. `order` lists rows, `lengths[row]` their tokens; rows of the same length are taken in
/// that order, so it decides who shares a bin. O(n log n); the same input gives the same bins.
///
/// A row longer than `max` gets a bin of its own.
pub fn best_fit(order: &[usize], lengths: &[u32], max: u32) -> Vec<Vec<u32>> {
    let mut rows = order.to_vec();
    rows.sort_by_key(|row| std::cmp::Reverse(lengths[*row]));
    let mut bins: Vec<Vec<u32>> = Vec::new();
    // Bins by the tokens left in them; full ones are gone.
    let mut tokens_left: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for row in rows {
        let length = lengths[row];
        let snug = tokens_left.range(length..).next().map(|(left, _)| *left);
        let found = snug.and_then(|left| Some((tokens_left.get_mut(&left)?.pop()?, left)));
        let (bin, left) = found.unwrap_or_else(|| {
            bins.push(Vec::new());
            (bins.len() - 1, max)
        });
        if snug.is_some_and(|left| tokens_left.get(&left).is_some_and(Vec::is_empty)) {
            tokens_left.remove(&left);
        }
        bins[bin].push(u32::try_from(row).unwrap_or(u32::MAX));
        let left = left.saturating_sub(length);
        if left > 0 {
            tokens_left.entry(left).or_default().push(bin);
        }
    }
    bins
}

/// Share of the bins that tokens fill, 0 to 1.
#[allow(clippy::cast_precision_loss, reason = "a share, for people")]
pub fn fill(bins: usize, tokens: u64, max: u32) -> f64 {
    if bins == 0 { 0.0 } else { tokens as f64 / (bins as f64 * f64::from(max)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{bits, key};

    #[test]
    fn the_snuggest_bin_is_taken() {
        // 6 and 5 open bins with 4 and 5 left; 4 fills the first, 3 goes beside 5, 2 fills that.
        let lengths = [3, 6, 2, 5, 4];
        assert_eq!(best_fit(&[0, 1, 2, 3, 4], &lengths, 10), [vec![1, 4], vec![3, 0, 2]]);
        assert_eq!(best_fit(&[], &[], 10), [[0; 0]; 0]);
        assert_eq!(best_fit(&[0, 1], &[12, 10], 10), [[0], [1]]);
        // Equals go in the order given.
        assert_eq!(best_fit(&[2, 0, 1], &[5, 5, 5], 10), [vec![2, 0], vec![1]]);
    }

    #[test]
    fn every_row_is_in_one_bin_that_holds_it() {
        let k = key(5, "pack");
        for (n, max) in [(1, 16), (500, 16), (3000, 1024)] {
            let lengths: Vec<u32> = (0..n).map(|i| u32::try_from(1 + bits(k, i) % u64::from(max)).unwrap()).collect();
            let order: Vec<usize> = (0..lengths.len()).collect();
            let bins = best_fit(&order, &lengths, max);
            let mut rows: Vec<usize> = bins.iter().flatten().map(|r| *r as usize).collect();
            rows.sort_unstable();
            assert_eq!(rows, order);
            let held = |bin: &Vec<u32>| bin.iter().map(|r| lengths[*r as usize]).sum::<u32>();
            assert!(bins.iter().all(|b| held(b) <= max));
            let tokens = lengths.iter().map(|l| u64::from(*l)).sum();
            assert!(n < 500 || fill(bins.len(), tokens, max) > 0.97, "{}", fill(bins.len(), tokens, max));
        }
    }
}
