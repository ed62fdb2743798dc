//! MinHash sketches ([Broder, 1997](https://doi.org/10.1109/SEQUEN.1997.666900)) cut into bands: two rows that agree in all
//! hashes of a band are candidates. All of it is arithmetic of integers, so that every processor makes the same.

use setaccio_dataset::recipe::Near;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Sketches do not depend on a recipe's seed: those of two data sets can be compared.
const SEED: u64 = 0x6e65_6172;

/// Hash functions that are computed side by side; a compiler makes vector instructions of it.
const LANES: usize = 16;

/// Makes the band hashes of rows.
pub struct Sketcher {
    /// `a` and `b` of each hash function `a x + b` modulo 2^32, `a` odd, in blocks.
    functions: Vec<([u32; LANES], [u32; LANES])>,
    bands: usize,
    rows: usize,
    minima: Vec<u8>,
}

impl Sketcher {
    /// For the bands of `near`.
    pub fn new(near: &Near) -> Self {
        let [bands, rows] = [near.bands, near.rows_per_band].map(|n| usize::try_from(n).unwrap_or(0));
        let number = |k: usize| xxh3_64_with_seed(&(k as u64).to_le_bytes(), SEED);
        let block = |block: usize| {
            let halves = |i: usize| {
                let bits = number(block * LANES + i).to_le_bytes();
                let [a0, a1, a2, a3, b0, b1, b2, b3] = bits;
                (u32::from_le_bytes([a0, a1, a2, a3]) | 1, u32::from_le_bytes([b0, b1, b2, b3]))
            };
            (std::array::from_fn(|i| halves(i).0), std::array::from_fn(|i| halves(i).1))
        };
        let functions = (0..(bands * rows).div_ceil(LANES)).map(block).collect();
        Self { functions, bands, rows, minima: Vec::new() }
    }

    /// Give the hash of each band of a row with these shingles to `each`; nothing of a row that has none.
    pub fn bands(&mut self, shingles: &[u32], mut each: impl FnMut(u64)) {
        if shingles.is_empty() {
            return;
        }
        self.minima.clear();
        for (a, b) in &self.functions {
            let mut least = [u32::MAX; LANES];
            for shingle in shingles {
                for i in 0..LANES {
                    least[i] = least[i].min(a[i].wrapping_mul(*shingle).wrapping_add(b[i]));
                }
            }
            self.minima.extend(least.iter().flat_map(|minimum| minimum.to_le_bytes()));
        }
        self.minima.chunks_exact(self.rows * 4).take(self.bands).for_each(|band| each(xxh3_64(band)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shingles of two rows that have `share` of theirs in common.
    fn pair(seed: u64, share: f64) -> [Vec<u32>; 2] {
        let shingle = |i: u64| u32::try_from(xxh3_64_with_seed(&i.to_le_bytes(), seed) >> 32).unwrap_or(0);
        let n = 400_u64;
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "small"
        )]
        let both = (n as f64 * share) as u64;
        let own = (n - both) / 2;
        [(0..both + own).map(shingle).collect(), (0..both).chain(both + own..n).map(shingle).collect()]
    }

    #[test]
    fn pairs_are_found_as_often_as_theory_says() {
        let near = Near::default();
        let mut sketcher = Sketcher::new(&near);
        for share in [0.5, 0.7, 0.8, 0.9] {
            let rows = 600;
            let mut found = 0;
            for seed in 0..rows {
                let [a, b] = pair(seed, share).map(|shingles| {
                    let mut bands = Vec::new();
                    sketcher.bands(&shingles, |hash| bands.push(hash));
                    bands
                });
                assert_eq!(a.len(), 14);
                found += u32::from(a.iter().zip(&b).any(|(a, b)| a == b));
            }
            #[allow(clippy::cast_precision_loss, reason = "small")]
            let (expected, n) = (near.found(share), rows as f64);
            // Four standard deviations; hashes of one family are not quite independent.
            let most = 4.0 * (expected * (1.0 - expected) / n).sqrt() + 0.01;
            let share_found = f64::from(found) / n;
            assert!((share_found - expected).abs() < most, "{share}: {share_found} of {expected}");
        }
    }

    #[test]
    fn a_sketch_is_the_same_everywhere() {
        let mut hashes = Vec::new();
        let near = Near { bands: 2, rows_per_band: 3, ..Near::default() };
        let mut sketcher = Sketcher::new(&near);
        sketcher.bands(&[1, 2, 3], |hash| hashes.push(hash));
        // `bands_of_1_2_3` of tests/oracles/near_duplicates.py.
        assert_eq!(hashes, ORACLE);
        sketcher.bands(&[], |_| panic!("no shingles, no bands"));
    }

    const ORACLE: [u64; 2] = [14_775_064_251_273_635_721, 3_333_862_396_205_660_539];
}
