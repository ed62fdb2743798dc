//! How sure the numbers of an audit are. Templates ask of the same words again and again, so what is resampled and permuted is words.

use setaccio_train::random::{bits, child, key, permutation};

use crate::statistics::{RESAMPLES, middle};

/// Permutations that are drawn where there are too many to try all.
pub const DRAWS: u64 = 10_000;

/// p-values as Holm (1979) has them: sorted, each times the number of those that are left, and none below one before it.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]).then(a.cmp(b)));
    let (mut adjusted, mut least) = (vec![1.0; p.len()], 0.0_f64);
    for (rank, at) in order.into_iter().enumerate() {
        #[allow(clippy::cast_precision_loss, reason = "a count of tests")]
        let left = (p.len() - rank) as f64;
        least = least.max((p[at] * left).min(1.0));
        adjusted[at] = least;
    }
    adjusted
}

/// How probable a difference of two lists' means is to be as large as theirs, either way, if what is in which list is chance: of all ways
/// to part them if these are few, else of [`DRAWS`] drawn ones and theirs.
#[allow(clippy::cast_precision_loss, reason = "counts")]
pub fn permuted(x: &[f64], y: &[f64], seed: u64) -> f64 {
    let all: Vec<f64> = x.iter().chain(y).copied().collect();
    let (n, total) = (x.len(), all.iter().sum::<f64>());
    if n == 0 || y.is_empty() {
        return 1.0;
    }
    let difference = |sum: f64| (sum / n as f64 - (total - sum) / y.len() as f64).abs();
    // Sums of the same values in another order differ in their last digits.
    let found = difference(x.iter().sum()) * (1.0 - 1e-9) - 1e-12;
    if let Some(ways) = ways(all.len(), n).filter(|ways| *ways <= DRAWS) {
        let mut as_large = 0;
        parts(&all, n, 0, 0.0, &mut |sum| as_large += u64::from(difference(sum) >= found));
        return as_large as f64 / ways as f64;
    }
    let stream = key(seed, "permutation");
    let as_large = (0..DRAWS).filter(|i| {
        let order = permutation(child(stream, *i), all.len());
        difference(order[..n].iter().map(|at| all[*at]).sum()) >= found
    });
    (as_large.count() as f64 + 1.0) / (DRAWS as f64 + 1.0)
}

/// How many ways there are to take `k` of `n`, as long as that is no huge number.
fn ways(n: usize, k: usize) -> Option<u64> {
    (0..k.min(n - k) as u64).try_fold(1_u64, |ways, i| Some(ways.checked_mul(n as u64 - i)? / (i + 1)))
}

/// The sum of every choice of `left` of the values from `at` on, on top of `sum`.
fn parts(all: &[f64], left: usize, at: usize, sum: f64, each: &mut dyn FnMut(f64)) {
    if left == 0 {
        return each(sum);
    }
    for i in at..=all.len() - left {
        parts(all, left - 1, i + 1, sum + all[i], each);
    }
}

/// Where 95% of the values lie that a measure has on resamples of `sizes` entries of its lists; it is given the numbers of the entries.
pub fn resampled(sizes: &[usize], seed: u64, measure: &dyn Fn(&[Vec<usize>]) -> f64) -> Option<[f64; 2]> {
    if sizes.iter().any(|n| *n < 2) {
        return None;
    }
    let stream = key(seed, "resample");
    let value = |i: u64| {
        let lists = sizes.iter().enumerate().map(|(list, n)| {
            let stream = child(child(stream, i), list as u64);
            (0..*n as u64).map(|at| usize::try_from(bits(stream, at) % *n as u64).unwrap_or(0)).collect()
        });
        measure(&lists.collect::<Vec<_>>())
    };
    middle((0..RESAMPLES).map(value).collect())
}

/// The mean, 0 of nothing.
#[allow(clippy::cast_precision_loss, reason = "counts")]
pub fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (n, sum) = values.into_iter().fold((0_u64, 0.0), |(n, sum), x| (n + 1, sum + x));
    if n == 0 { 0.0 } else { sum / n as f64 }
}
