//! How sure a number is: standard errors, intervals by bootstrap, tests of differences.

use setaccio_train::random::{bits, child, key};

use crate::metrics::Items;

/// Samples that an interval is made of.
pub const RESAMPLES: u64 = 1000;

/// A number with how sure it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The number.
    pub value: f64,
    /// Of a mean: the sample deviation over the root of the number of rows.
    pub standard_error: Option<f64>,
    /// Where 95% of the resampled numbers lie, from and to.
    pub interval: Option<[f64; 2]>,
}

/// A difference of two models on the same rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// The second's number less the first's.
    pub value: f64,
    /// Where 95% of the resampled differences lie, from and to.
    pub interval: Option<[f64; 2]>,
    /// Of numbers that are 0 or 1 a row: how probable rows that differ are to be as uneven by chance (McNemar 1947), exactly.
    pub p: Option<f64>,
}

/// The rows of resample number `i` of `n` rows. They depend on the seed alone, so that models are compared on the same.
fn resampled(seed: u64, i: u64, n: usize) -> impl Iterator<Item = usize> {
    let stream = child(key(seed, "bootstrap"), i);
    // The bias of a remainder of 64 bits is below 2^-32 for any n in memory.
    (0..n as u64).map(move |at| usize::try_from(bits(stream, at) % n as u64).unwrap_or(0))
}

/// A measure, and how sure it is.
pub fn estimate(items: &Items, seed: u64) -> Estimate {
    let n = items.len();
    let standard_error = match items {
        Items::Means(values) if n > 1 => Some(deviation_of_mean(values)),
        _ => None,
    };
    let interval = interval(n, |i| items.value(resampled(seed, i, n)));
    Estimate { value: items.all(), standard_error, interval }
}

/// How a second model's measure differs from a first one's, of the same rows.
pub fn difference(first: &Items, second: &Items, seed: u64) -> Difference {
    let n = first.len().min(second.len());
    let differ = |i| second.value(resampled(seed, i, n)) - first.value(resampled(seed, i, n));
    Difference { value: second.all() - first.all(), interval: interval(n, differ), p: mcnemar(first, second) }
}

/// The sample deviation over the root of the number of values.
#[allow(clippy::cast_precision_loss, reason = "counts of rows")]
pub fn deviation_of_mean(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|x| (x - mean) * (x - mean)).sum();
    (squares / (n - 1.0)).sqrt() / n.sqrt()
}

/// Percentiles 2.5 and 97.5 of what resamples give.
fn interval(n: usize, value: impl Fn(u64) -> f64) -> Option<[f64; 2]> {
    if n < 2 {
        return None;
    }
    middle((0..RESAMPLES).map(value).collect())
}

/// Where the middle 95% of values lie, from and to; nowhere if one is no number.
pub fn middle(mut values: Vec<f64>) -> Option<[f64; 2]> {
    if values.iter().any(|value| value.is_nan()) {
        return None;
    }
    values.sort_by(f64::total_cmp);
    Some([0.025, 0.975].map(|share| percentile(&values, share)))
}

/// Of sorted values, between two of them where need be, as numpy does.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "places in a short list"
)]
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    low + (high - low) * place.fract()
}

/// The two-sided exact test of McNemar: of the rows where one model is right and the other is not, each is as likely to be the
/// one's as the other's.
fn mcnemar(first: &Items, second: &Items) -> Option<f64> {
    let (Items::Means(first), Items::Means(second)) = (first, second) else { return None };
    let yes_or_no = |x: &f64| x.to_bits() == 0 || x.to_bits() == 1.0_f64.to_bits();
    if !first.iter().chain(second).all(yes_or_no) {
        return None;
    }
    let ahead = |a: &[f64], b: &[f64]| a.iter().zip(b).filter(|(a, b)| a > b).count();
    Some(binomial(ahead(first, second), ahead(second, first)))
}

/// How probable heads and tails of a fair coin are to be as uneven as this.
#[allow(clippy::cast_precision_loss, reason = "counts of rows")]
pub fn binomial(heads: usize, tails: usize) -> f64 {
    let (n, few) = (heads + tails, heads.min(tails));
    // Logarithms: a term of many rows is less than the least number.
    let mut term = -(n as f64) * std::f64::consts::LN_2;
    let mut sum = term.exp();
    for k in 1..=few {
        term += ((n - k + 1) as f64).ln() - (k as f64).ln();
        sum += term.exp();
    }
    (2.0 * sum).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exact_test_is_that_of_scipy() {
        // scipy.stats.binomtest(heads, heads + tails).pvalue
        for (heads, tails, p) in
            [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 0.0625), (3, 10, 0.092_285_156_25), (7, 7, 1.0), (400, 500, BINOMIAL)]
        {
            assert!(
                (binomial(heads, tails) / p - 1.0_f64).abs() < 1e-10,
                "{heads} {tails}: {}",
                binomial(heads, tails)
            );
        }
    }

    #[test]
    fn standard_errors_are_those_of_the_harness() {
        // lm_eval.api.metrics, mean_stderr of ([1, 0, 0, 1, 1])
        assert!((deviation_of_mean(&[1.0, 0.0, 0.0, 1.0, 1.0]) - 0.244_948_974_278_317_8).abs() < 1e-15);
        assert!((percentile(&[1.0, 2.0, 4.0], 0.75) - 3.0).abs() < 1e-15);
    }

    #[test]
    fn intervals_are_where_a_normal_mean_lies_and_stay_the_same() {
        let values: Vec<f64> = setaccio_train::random::normal_vec(7, 400, 1.0).into_iter().map(f64::from).collect();
        let items = Items::Means(values.clone());
        let found = estimate(&items, 42);
        let [low, high] = found.interval.unwrap_or_default();
        let standard_error = found.standard_error.unwrap_or_default();
        for (end, expected) in [(low, found.value - 1.96 * standard_error), (high, found.value + 1.96 * standard_error)]
        {
            assert!((end - expected).abs() < 0.2 * standard_error, "{found:?}");
        }
        assert_eq!(found, estimate(&items, 42));
        assert_ne!(found.interval, estimate(&items, 43).interval);
        // What all rows gain by as much is sure.
        let more = Items::Means(values.iter().map(|x| x + 0.5).collect());
        let gained = difference(&items, &more, 42);
        let sure = gained.interval.is_some_and(|ends| ends.iter().all(|end| (end - 0.5).abs() < 1e-9));
        assert!(sure && gained.p.is_none(), "{gained:?}");
    }

    const BINOMIAL: f64 = 9.564_441_369_189_373e-4;
}
