//! Lengths in bins, five to each factor of ten.

use std::{collections::BTreeMap, sync::LazyLock};

use setaccio_base::page::Histogram;

/// Where bins begin: 0, then the preferred numbers R5 (ISO 3) as whole numbers: 1, 2, 3, 4, 6, 10, 16, 25, 40, 63, 100 and so on.
pub static EDGES: LazyLock<Vec<u64>> = LazyLock::new(|| {
    let mut edges = vec![0, 1, 2, 3, 4, 6];
    for power in 1..=8 {
        edges.extend([100, 160, 250, 400, 630].map(|n| n * 10_u64.pow(power) / 100));
    }
    edges
});

/// Lengths of the rows of each source.
#[derive(Default)]
pub struct Lengths {
    sources: BTreeMap<String, Histogram>,
}

impl Lengths {
    /// Count a row of so great a length.
    pub fn count(&mut self, source: &str, length: u64) {
        if !self.sources.contains_key(source) {
            let bins = vec![0; EDGES.len()];
            let none = Histogram { name: source.to_owned(), rows: 0, min: u64::MAX, max: 0, bins };
            self.sources.insert(source.to_owned(), none);
        }
        let Some(histogram) = self.sources.get_mut(source) else { return };
        histogram.rows += 1;
        histogram.min = histogram.min.min(length);
        histogram.max = histogram.max.max(length);
        histogram.bins[EDGES.partition_point(|edge| *edge <= length) - 1] += 1;
    }

    /// Rows counted.
    pub fn rows(&self) -> u64 {
        self.sources.values().map(|histogram| histogram.rows).sum()
    }

    /// The `most` sources with the most rows, those first.
    pub fn histograms(&self, most: usize) -> Vec<Histogram> {
        let mut all: Vec<&Histogram> = self.sources.values().collect();
        all.sort_by_key(|histogram| (std::cmp::Reverse(histogram.rows), &histogram.name));
        all.into_iter().take(most).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_in_the_bin_that_begins_at_or_before_it() {
        assert_eq!(EDGES[..14], [0, 1, 2, 3, 4, 6, 10, 16, 25, 40, 63, 100, 160, 250]);
        assert!(EDGES.is_sorted() && EDGES[EDGES.len() - 1] == 630_000_000);
        let mut lengths = Lengths::default();
        for length in [0, 5, 6, 9, 10, 10_000_000_000] {
            lengths.count("web", length);
        }
        lengths.count("chat", 1);
        assert_eq!(lengths.rows(), 7);
        let [web, chat] = &lengths.histograms(9)[..] else { panic!("two sources") };
        assert_eq!((web.name.as_str(), web.rows, web.min, web.max), ("web", 6, 0, 10_000_000_000));
        let filled: Vec<(u64, u64)> =
            EDGES.iter().copied().zip(web.bins.iter().copied()).filter(|(_, n)| *n > 0).collect();
        assert_eq!(filled, [(0, 1), (4, 1), (6, 2), (10, 1), (630_000_000, 1)]);
        assert_eq!((chat.name.as_str(), chat.bins.iter().sum::<u64>()), ("chat", 1));
        assert_eq!(lengths.histograms(1).len(), 1);
    }
}
