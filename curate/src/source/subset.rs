//! Reading some files of a source instead of all: which ones, and what that does to a sample.

use setaccio_base::numbers::grouped;
use setaccio_dataset::recipe::Sample;
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// A source of which a part is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subset {
    /// The source's name.
    pub source: String,
    /// Files that are read.
    pub read: usize,
    /// Files that `sample.files` left.
    pub chosen: usize,
    /// Files that there are.
    pub of: usize,
    /// The limit that cut it short.
    pub limit: Option<u64>,
    /// Whether the Hub could not be asked which files there are.
    pub unlisted: bool,
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
    /// What card and output say of it; `dedup` is whether copies are dropped.
    pub fn note(&self, sample: &Sample, dedup: bool) -> String {
        let [read, chosen, of] = [self.read, self.chosen, self.of].map(|n| grouped(n as u64));
        let source = &self.source;
        if self.unlisted {
            return format!(
                "Which files `{source}` has could not be asked (`HF_HUB_OFFLINE`): read was what the cache held of it, \
                 {read} files. Whether these are all of them, and what kind of rows others would have, is not known."
            );
        }
        if let Some(limit) = self.limit {
            let chosen = if self.chosen < self.of {
                format!(" ({chosen} were chosen by a seeded hash of their names)")
            } else {
                String::new()
            };
            return format!(
                "Of `{source}` the first {} rows were read, in the order of the files' paths, from {read} of {of} \
                 files{chosen}, because of a limit (`read.limit`): they are its head and no sample of it.",
                grouped(limit)
            );
        }
        let rows = match (sample.rows, sample.fraction) {
            (Some(rows), _) => format!("the sample of {} rows", grouped(rows)),
            (None, Some(fraction)) => format!("the sample of {}% of the rows", fraction * 100.0),
            (None, None) => "every row".into(),
        };
        // A fixed number of rows is a larger share of files that hold few.
        let chance = if sample.rows.is_some() {
            "so has every row as long as the files hold about as many rows each; a row that shares its file with more \
             rows is less likely to be here"
        } else {
            "so has every row, however many its file holds; how many rows come together depends on the files"
        };
        let copies = if dedup {
            " Copies were looked for in the files that were read: a text that lies in several files of the whole set is \
             likelier to be here than one that lies in a single file, which is not so when all files are read."
        } else {
            ""
        };
        format!(
            "Of the {of} files of `{source}` {read} were read, chosen by a seeded hash of their names (`sample.files`), \
             and {rows} comes from these. Before anything is read every file has the same chance, and {chance}.{copies} \
             Rows of one file come or stay away together: figures of this sample vary from seed to seed more than those \
             of a sample over all files, unless its publisher had shuffled the rows before cutting them into files."
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

    #[test]
    fn what_the_note_says_of_chances_is_so() {
        let of = |rows, fraction| Sample { rows, fraction, ..Sample::default() };
        let few = Subset { source: "web".into(), read: 2, chosen: 2, of: 8, limit: None, unlisted: false };
        assert!(few.note(&of(Some(10), None), true).contains("as long as the files hold about as many"));
        assert!(few.note(&of(None, Some(0.1)), true).contains("however many its file holds"));
        assert!(few.note(&of(Some(10), None), true).contains("several files of the whole set is likelier"));
        assert!(!few.note(&of(Some(10), None), false).contains("likelier"));
        let head = Subset { limit: Some(5), ..few.clone() }.note(&of(Some(10), None), true);
        assert!(head.contains("the first 5 rows") && head.contains("from 2 of 8 files") && !head.contains("chance"));
        // Two of eight files: a text in one of them is here in 1/4 of all draws, one in four of them in
        // 1 - (4 * 3) / (8 * 7) = 11/14.
        let (mut in_one, mut in_four) = (0, 0);
        for seed in 0..4000 {
            let chosen = choose(seed, Some(2), (0..8_usize).collect(), |i| format!("file-{i}"));
            in_one += usize::from(chosen.contains(&7));
            in_four += usize::from(chosen.iter().any(|i| *i < 4));
        }
        assert!((900..=1100).contains(&in_one), "{in_one} of 4000, where 1000 are expected");
        assert!((3030..=3255).contains(&in_four), "{in_four} of 4000, where 3143 are expected");
    }
}
