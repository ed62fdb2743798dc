//! Reading some files of a source instead of all: which ones, and what that does to a sample.

use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::{card::grouped, recipe::Sample};

/// A source of which some files are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subset {
    /// The source's name.
    pub source: String,
    /// Files that are read.
    pub read: usize,
    /// Files that there are.
    pub of: usize,
}

/// The `count` items whose names have the smallest seeded hashes, in the order they came in; all of them if
/// `count` says nothing. It goes by names alone, so that nothing has to be read to choose.
pub fn choose<T>(seed: u64, count: Option<u32>, items: Vec<T>, name: impl Fn(&T) -> String) -> Vec<T> {
    let count = count.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
    if items.len() <= count {
        return items;
    }
    let hash = |item: &T| {
        let name = name(item);
        (xxh3_128_with_seed(name.as_bytes(), seed), name)
    };
    let mut order: Vec<(_, usize)> = items.iter().map(hash).zip(0..).collect();
    order.sort();
    let mut chosen = vec![false; items.len()];
    order[..count].iter().for_each(|(_, i)| chosen[*i] = true);
    items.into_iter().zip(chosen).filter_map(|(item, chosen)| chosen.then_some(item)).collect()
}

impl Subset {
    /// What card and output say of it.
    pub fn note(&self, sample: &Sample) -> String {
        let [read, of] = [self.read, self.of].map(|n| grouped(n as u64));
        let rows = match (sample.rows, sample.fraction) {
            (Some(rows), _) => format!("the sample of {} rows", grouped(rows)),
            (None, Some(fraction)) => format!("the sample of {}% of the rows", fraction * 100.0),
            (None, None) => "every row".into(),
        };
        format!(
            "Of the {of} files of `{}` {read} were read, chosen by a seeded hash of their names (`sample.files`), and \
             {rows} comes from these. Before anything is read every file has the same chance, so no kind of row is \
             favoured as long as the files hold about as many rows each. Rows of one file come or stay away together: \
             figures of this sample vary from seed to seed more than those of a sample over all files, unless its \
             publisher had shuffled the rows before cutting them into files.",
            self.source
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_go_by_their_names_and_the_seed() {
        let names = |n: usize| (0..n).map(|i| format!("c4-it.{i:05}.json.gz")).collect::<Vec<_>>();
        let few = choose(42, Some(8), names(1024), Clone::clone);
        assert_eq!(few.len(), 8);
        assert!(few.is_sorted(), "they stay in order");
        let mut turned = names(1024);
        turned.reverse();
        let mut other = choose(42, Some(8), turned, Clone::clone);
        other.reverse();
        assert_eq!(few, other, "the order that they are listed in is no matter");
        assert_ne!(few, choose(43, Some(8), names(1024), Clone::clone));
        assert!(choose(42, Some(9), names(1024), Clone::clone).iter().filter(|n| few.contains(n)).count() == 8);
        assert_eq!(choose(42, Some(2000), names(10), Clone::clone).len(), 10);
        assert_eq!(choose(42, None, names(10), Clone::clone).len(), 10);
    }

    #[test]
    fn every_file_has_about_the_same_chance() {
        let mut times = [0_u32; 64];
        for seed in 0..4000 {
            for i in choose(seed, Some(8), (0..64_usize).collect(), |i| format!("file-{i}")) {
                times[i] += 1;
            }
        }
        // Each is expected 500 times, with a standard deviation of about 21.
        assert!(times.iter().all(|n| (400..=600).contains(n)), "{times:?}");
    }
}
