//! The decision for so many texts that each cannot be held against every other: bands of signs of random hyperplanes say which pairs
//! are looked at, and their cosine decides.
//!
//! Two vectors at an angle a lie on one side of a random hyperplane with probability 1 - a / pi (Charikar, "Similarity estimation
//! techniques from rounding algorithms", 2002). Texts that agree in all signs of a band meet; there are so many bands that a pair at
//! the threshold meets somewhere with the probability that the recipe asks for. What goes is justified as in the exact search: a row
//! that stays has a text of so large a cosine. What may be left are pairs that met nowhere.
//!
//! In memory are 64 bytes a row, 16 a text, and what a band has of a part of the texts; 12 bytes a text and band of a batch, and 20 a
//! near pair and band lie in files.

use std::{f64::consts::PI, path::Path};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::greedy::{EQUAL, Gone, Of, Search, Text, bytes_of_text};
use crate::{
    embedding::Panels,
    error::Result,
    pipeline::{scratch::Buckets, stage::each},
};

/// How pairs meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bands {
    /// How many there are.
    pub bands: u32,
    /// Signs in each.
    pub signs: u32,
}

/// Pairs that are not near which meet in a band, a text.
const STRANGERS: f64 = 8.0;
/// A band's signs are one number.
const MOST_SIGNS: u32 = 63;
/// Each of them is a file's part, and a product.
const MOST_BANDS: f64 = 2000.0;
/// Texts that are looked at to see how near strangers are.
const TRIED: usize = 1024;
/// Bands of which the texts' signs lie in files at once.
const BATCH: u32 = 16;
/// Texts of a band that are sorted at once, about.
const SORTED: usize = 1 << 20;
/// Texts that meet of which every pair is looked at. Of more each is held against those that are near none before them.
const PAIRS: usize = 1024;
/// Of the texts before it that it is near to, a text names so many a band.
const NAMED: usize = 16;

/// Texts that share a band: the signs, then the number of the text.
type Met = [u8; 12];
/// A near pair: the later row, the earlier one, the numbers of their texts, the cosine.
type Edge = [u8; 20];

impl Bands {
    /// As few and short ones as find a pair of this cosine with probability `recall`, where so many texts have pairs of `strangers`
    /// cosines.
    pub fn choose(texts: usize, threshold: f64, recall: f64, strangers: &[f32]) -> Self {
        let least = threshold.min(EQUAL);
        let strangers: Vec<f64> = strangers.iter().map(|c| f64::from(*c)).filter(|c| *c < least).map(agree).collect();
        #[allow(clippy::cast_precision_loss, reason = "a mean")]
        let (many, pairs) = (texts as f64, strangers.len().max(1) as f64);
        let meet = |signs: u32| many * strangers.iter().map(|p| power(*p, signs)).sum::<f64>() / pairs;
        let bands = |signs: u32| ((1.0 - recall).ln() / (-power(agree(least), signs)).ln_1p()).ceil().max(1.0);
        let mut signs = 1;
        while signs < MOST_SIGNS && meet(signs) > STRANGERS && bands(signs + 1) <= MOST_BANDS {
            signs += 1;
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most MOST_BANDS")]
        Self { bands: bands(signs).min(MOST_BANDS) as u32, signs }
    }

    /// Products of two vectors that a text takes, about.
    pub fn products_a_text(self) -> f64 {
        f64::from(self.bands) * (f64::from(self.signs) + STRANGERS)
    }

    /// Bytes that a text takes in files at the same time, if it is near to none.
    pub fn work_bytes_a_text(self) -> f64 {
        12.0 * f64::from(self.bands.min(BATCH))
    }

    /// The probability that a pair of this cosine is looked at.
    pub fn found(self, cosine: f64) -> f64 {
        1.0 - power(1.0 - power(agree(cosine.min(EQUAL)), self.signs), self.bands)
    }
}

/// The probability that two vectors of this cosine lie on one side of a hyperplane.
fn agree(cosine: f64) -> f64 {
    1.0 - cosine.clamp(-1.0, 1.0).acos() / PI
}

fn power(base: f64, exponent: u32) -> f64 {
    base.powi(i32::try_from(exponent).unwrap_or(i32::MAX))
}

/// The vectors that are normal to hyperplanes: each value is the sum of four uniform ones, nearly normal, and the same everywhere.
fn planes(seed: u64, numbers: std::ops::Range<u32>, dimensions: usize) -> Vec<f32> {
    let value = |plane: u32, dimension: usize| {
        let hash = xxh3_64_with_seed(&[plane.to_le_bytes(), to_u32(dimension).to_le_bytes()].concat(), seed);
        let parts = [0, 16, 32, 48].map(|shift| u16::try_from(hash >> shift & 0xffff).unwrap_or(0));
        parts.into_iter().map(|part| f32::from(part) - 32767.5).sum::<f32>()
    };
    numbers.flat_map(|plane| (0..dimensions).map(move |dimension| value(plane, dimension))).collect()
}

fn to_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// All texts, and where they lie.
struct All<'a> {
    search: &'a Search<'a>,
    texts: Vec<Text>,
    /// The number of the first text of each row.
    first: Vec<u32>,
}

impl Search<'_> {
    /// The rows that go, in order, and by which bands they were found; files lie in `scratch`.
    ///
    /// # Errors
    /// The disk is full or fails, Ctrl-C.
    pub fn decide_by_bands(&self, seed: u64, recall: f64, scratch: &Path) -> Result<(Vec<Gone>, Bands)> {
        let mut all = All { search: self, texts: Vec::new(), first: Vec::with_capacity(self.rows.len()) };
        let blocks = self.blocks();
        for (start, end) in &blocks {
            let block = self.read(*start, *end)?;
            let mut place = all.texts.len();
            for row in &self.rows[*start..*end] {
                all.first.push(to_u32(place));
                place += row.texts as usize;
            }
            all.texts.extend(block.texts);
        }
        let bands = Bands::choose(all.texts.len(), self.threshold, recall, &all.strangers()?);
        let parts = to_u32(all.texts.len().div_ceil(SORTED)).next_power_of_two();
        let rows_a_bucket = self.rows.len().div_ceil(1024).max(1);
        let edges = Buckets::create(scratch.join("edges"), to_u32(self.rows.len().div_ceil(rows_a_bucket).max(1)))?;
        let put = |edge: &Edge| {
            let row = edge.first_chunk().map_or(0, |b| u32::from_be_bytes(*b)) as usize;
            edges.put(to_u32(row / rows_a_bucket), edge)
        };
        let mut done = 0;
        while done < bands.bands {
            let batch = done..(done + BATCH).min(bands.bands);
            done = batch.end;
            let many = batch.end - batch.start;
            let met = Buckets::create(scratch.join("signs"), many * parts)?;
            let dimensions = self.embedder.dimensions();
            let planes = planes(seed, batch.start * bands.signs..batch.end * bands.signs, dimensions);
            let planes = self.embedder.panels(&planes);
            let sign = |i: usize| all.sign(blocks[i], &planes, (bands, many), (&met, parts));
            each("signs", blocks.len(), self.pool, self.progress, sign, Ok)?;
            let look = |i: usize| all.look(&met, to_u32(i), put);
            each("meaning", (many * parts) as usize, self.pool, self.progress, look, Ok)?;
            met.remove()?;
        }
        let gone = self.follow(&edges)?;
        edges.remove()?;
        Ok((gone, bands))
    }

    /// Rows of about as many texts as are decided on together.
    fn blocks(&self) -> Vec<(usize, usize)> {
        let mut blocks = Vec::new();
        let mut start = 0;
        while start < self.rows.len() {
            let end = self.end_of_block(start);
            blocks.push((start, end));
            start = end;
        }
        blocks
    }

    /// Take the rows in order: one goes if it is near to one that stays.
    fn follow(&self, edges: &Buckets<20>) -> Result<Vec<Gone>> {
        let mut goes = vec![false; self.rows.len()];
        let mut found = Vec::new();
        for bucket in 0..edges.buckets() {
            for edge in edges.sorted(bucket..bucket + 1)? {
                let number = |at: usize| edge[at..].first_chunk().map_or(0, |b| u32::from_be_bytes(*b));
                let [row, by] = [number(0) as usize, number(4) as usize];
                // Of a row's pairs the first that says so is told.
                if !goes[row] && !goes[by] {
                    goes[row] = true;
                    let cosine = f32::from_bits(number(16));
                    found.push(Gone { row, by, cosine, texts: [number(8), number(12)] });
                }
            }
        }
        Ok(found)
    }
}

impl All<'_> {
    /// Cosines of some texts, evenly taken of all, with each other.
    fn strangers(&self) -> Result<Vec<f32>> {
        let step = self.texts.len().div_ceil(TRIED).max(1);
        let places: Vec<u32> = (0..self.texts.len()).step_by(step).map(to_u32).collect();
        let vectors = self.vectors(&places)?;
        let embedder = self.search.embedder;
        let mut cosines = vec![0.0; places.len() * places.len()];
        embedder.cosines(&vectors, &embedder.panels(&vectors), &mut cosines);
        let pairs = cosines.chunks(places.len().max(1)).enumerate();
        Ok(pairs.flat_map(|(i, row)| row[..i].iter().copied()).collect())
    }

    /// The vectors of texts, one after another.
    fn vectors(&self, places: &[u32]) -> Result<Vec<f32>> {
        let one = bytes_of_text(self.search.embedder.dimensions());
        let mut bytes = vec![0; one - 8];
        let mut vectors = Vec::with_capacity(places.len() * self.search.embedder.dimensions());
        for place in places {
            let row = self.texts[*place as usize].row as usize;
            let at = self.search.rows[row].at + u64::from(place - self.first[row]) * one as u64;
            self.search.file.read(at + 8, &mut bytes)?;
            vectors.extend(bytes.as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)));
        }
        Ok(vectors)
    }

    /// Put the texts of some rows where they meet others.
    fn sign(
        &self,
        (start, end): (usize, usize),
        planes: &Panels,
        (bands, many): (Bands, u32),
        (met, parts): (&Buckets<12>, u32),
    ) -> Result<()> {
        let block = self.search.read(start, end)?;
        let width = (many * bands.signs) as usize;
        let dimensions = self.search.embedder.dimensions();
        let part = self.search.sizes.part;
        let mut sides = vec![0.0; part * width];
        let mut place = self.first.get(start).copied().unwrap_or(0);
        for vectors in block.vectors.chunks(part * dimensions) {
            let texts = vectors.len() / dimensions;
            let sides = &mut sides[..texts * width];
            self.search.embedder.cosines(vectors, planes, sides);
            for sides in sides.chunks_exact(width) {
                for (band, sides) in (0..many).zip(sides.chunks_exact(bands.signs as usize)) {
                    let signs = sides.iter().fold(0_u64, |signs, side| signs << 1 | u64::from(*side >= 0.0));
                    let mut record: Met = [0; 12];
                    record[..8].copy_from_slice(&signs.to_be_bytes());
                    record[8..].copy_from_slice(&place.to_be_bytes());
                    // Neighbouring signs are no more alike than others once they are mixed.
                    let mixed = signs.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
                    let part = u32::try_from(mixed).unwrap_or(0) & (parts - 1);
                    met.put(band * parts + part, &record)?;
                }
                place += 1;
            }
        }
        Ok(())
    }

    /// Hold the texts that meet in a bucket against each other.
    fn look(&self, met: &Buckets<12>, bucket: u32, put: impl Fn(&Edge) -> Result<()>) -> Result<()> {
        let records = met.sorted(bucket..bucket + 1)?;
        for group in records.chunk_by(|a, b| a[..8] == b[..8]).filter(|group| group.len() > 1) {
            let places: Vec<u32> = group.iter().map(|r| r.last_chunk().map_or(0, |b| u32::from_be_bytes(*b))).collect();
            if places.len() <= PAIRS {
                let vectors = self.vectors(&places)?;
                self.hold((&places, &vectors), (&places, &vectors), &put)?;
                continue;
            }
            // Those that are near none before them, and the rest against these.
            let dimensions = self.search.embedder.dimensions();
            let (mut leaders, mut of_leaders): (Vec<u32>, Vec<f32>) = (Vec::new(), Vec::new());
            for block in places.chunks(PAIRS) {
                let vectors = self.vectors(block)?;
                let mut near = vec![false; block.len()];
                for leaders in leaders.chunks(PAIRS).zip(of_leaders.chunks(PAIRS * dimensions)) {
                    let found = self.hold((block, &vectors), leaders, &put)?;
                    near.iter_mut().zip(found).for_each(|(near, found)| *near |= found);
                }
                let open = (0..block.len()).filter(|i| !near[*i]);
                let (places, vectors): (Vec<u32>, Vec<&[f32]>) =
                    open.map(|i| (block[i], &vectors[i * dimensions..(i + 1) * dimensions])).unzip();
                let vectors = vectors.concat();
                let near = self.hold((&places, &vectors), (&places, &vectors), &put)?;
                for (i, place) in places.iter().enumerate().filter(|(i, _)| !near[*i]) {
                    leaders.push(*place);
                    of_leaders.extend(&vectors[i * dimensions..(i + 1) * dimensions]);
                }
            }
        }
        Ok(())
    }

    /// Name the pairs of texts that are near, each text with its vector; says which of those on the left are the later of one.
    fn hold(
        &self,
        left: (&[u32], &[f32]),
        right: (&[u32], &[f32]),
        put: &impl Fn(&Edge) -> Result<()>,
    ) -> Result<Vec<bool>> {
        let Search { embedder, threshold, sizes, .. } = self.search;
        let (dimensions, least) = (embedder.dimensions(), threshold.min(EQUAL));
        let panels = embedder.panels(right.1);
        let mut near = vec![false; left.0.len()];
        let mut cosines = vec![0.0; sizes.part * right.0.len()];
        let parts = left.0.chunks(sizes.part).zip(left.1.chunks(sizes.part * dimensions));
        for ((places, vectors), near) in parts.zip(near.chunks_mut(sizes.part)) {
            let cosines = &mut cosines[..places.len() * right.0.len()];
            embedder.cosines(vectors, &panels, cosines);
            for ((one, near), cosines) in places.iter().zip(near).zip(cosines.chunks_exact(right.0.len())) {
                let one = &self.texts[*one as usize];
                let others = right.0.iter().zip(cosines).filter(|(_, cosine)| f64::from(**cosine) >= least);
                let others = others.map(|(other, cosine)| (&self.texts[*other as usize], cosine));
                let others = others.filter(|(other, _)| self.search.may_be_near(one, other, Of::Earlier));
                for (other, cosine) in others.take(NAMED) {
                    let mut edge: Edge = [0; 20];
                    let numbers = [one.row, other.row, one.number, other.number, cosine.to_bits()];
                    for (place, number) in edge.as_chunks_mut().0.iter_mut().zip(numbers) {
                        *place = number.to_be_bytes();
                    }
                    put(&edge)?;
                    *near = true;
                }
            }
        }
        Ok(near)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_enough_bands_for_the_recall_and_no_more() {
        // Strangers at a right angle agree in half of the signs.
        for (texts, threshold, recall) in
            [(1000, 0.9, 0.95), (1_000_000, 0.9, 0.95), (1_000_000, 0.8, 0.99), (20, 0.5, 0.5)]
        {
            let bands = Bands::choose(texts, threshold, recall, &[0.0; 10]);
            assert!(bands.found(threshold) >= recall, "{bands:?}");
            let fewer = Bands { bands: bands.bands - 1, ..bands };
            assert!(bands.bands == 1 || fewer.found(threshold) < recall, "{bands:?}");
        }
        assert_eq!(Bands::choose(1_000_000, 0.9, 0.95, &[0.0; 10]).signs, 17);
        // 1 - acos(0.9) / pi = 0.856433, by hand; 0.856433^17 = 0.0717.
        assert!((Bands { bands: 1, signs: 17 }.found(0.9) - 0.0717).abs() < 1e-3);
        // Where strangers are near each other bands are longer; equal texts meet in any.
        assert!(Bands::choose(1_000_000, 0.95, 0.95, &[0.8; 10]).signs > 40);
        assert_eq!(Bands::choose(1_000_000, 1.0, 0.95, &[0.0; 10]).bands, 1);
        // However near they are, there is an end.
        let hard = Bands::choose(100_000_000, 0.5, 0.99, &[0.45; 10]);
        assert!(f64::from(hard.bands) <= MOST_BANDS && hard.found(0.5) >= 0.99, "{hard:?}");
    }

    #[test]
    fn signs_differ_as_often_as_the_angle_says() {
        let planes = planes(42, 0..4000, 16);
        let at = |degrees: f64| {
            let mut vector = [0.0_f64; 16];
            (vector[3], vector[11]) = degrees.to_radians().sin_cos();
            vector
        };
        let side = |vector: &[f64; 16], plane: &[f32]| {
            vector.iter().zip(plane).map(|(x, y)| x * f64::from(*y)).sum::<f64>() >= 0.0
        };
        for degrees in [10.0, 25.84, 60.0, 90.0, 170.0] {
            let (one, other) = (at(20.0), at(20.0 + degrees));
            let apart = planes.chunks(16).filter(|plane| side(&one, plane) != side(&other, plane)).count();
            let expected = degrees / 180.0 * 4000.0;
            // Three standard deviations of a binomial are 95 at the most.
            assert!((f64::from(to_u32(apart)) - expected).abs() < 95.0, "{degrees}: {apart}, not {expected}");
        }
    }
}
