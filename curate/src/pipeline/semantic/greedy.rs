//! The decision: rows in order of preference, each held against those that stay. Blocks of them are compared with all texts that
//! stay, a chunk of these at a time, by products of matrices, and what is left of a block with itself.

use rayon::ThreadPool;
use setaccio_base::{parallel::ordered_map, progress::Progress};

use crate::{
    embedding::{Embedder, Panels},
    error::{Error, Result},
    pipeline::scratch::Places,
};

/// How many texts are in memory at once. What goes does not depend on it.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Texts that are decided on together, about.
    pub block: usize,
    /// Texts that stay.
    pub chunk: usize,
    /// Texts of a block that a thread takes at once.
    pub part: usize,
}

/// Some tens of megabytes, of which a thread's part stays in its cache.
pub const SIZES: Sizes = Sizes { block: 2048, chunk: 4096, part: 96 };

/// Equal vectors have no less: their length is 1 but for what was rounded.
pub(super) const EQUAL: f64 = 1.0 - 1e-6;

/// A row that deduplication leaves and that has vectors.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its name.
    pub order: u64,
    /// Where its texts begin in their file.
    pub at: u64,
    /// How many there are.
    pub texts: u32,
    /// Words of its content.
    pub words: u32,
    /// Place of its source in the order of preference.
    pub rank: u16,
    /// Number of its source.
    pub source: u16,
    /// Hash of its label; 0 if it has none.
    pub label: u64,
    /// Its id.
    pub id: [u8; 16],
}

/// A row that goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gone {
    /// Its place among the rows.
    pub row: usize,
    /// That of the row that stays.
    pub by: usize,
    /// The cosine of two of their texts.
    pub cosine: f32,
    /// The numbers of these.
    pub texts: [u32; 2],
}

/// A text of a row.
#[derive(Clone, Copy)]
pub(super) struct Text {
    pub row: u32,
    pub class: u32,
    pub number: u32,
}

/// Texts with their vectors.
#[derive(Default)]
pub(super) struct Texts {
    pub texts: Vec<Text>,
    pub vectors: Vec<f32>,
}

/// Two texts that are near: their places among those of a block, and among those that these are compared with.
struct Pair {
    left: usize,
    right: usize,
    cosine: f32,
}

/// Bytes of a text in the file: class, number, vector.
pub fn bytes_of_text(dimensions: usize) -> usize {
    8 + 4 * dimensions
}

/// Decides.
pub struct Search<'a> {
    /// The rows, in order of preference.
    pub rows: &'a [Row],
    /// Their texts.
    pub file: &'a Places,
    /// Whose vectors these are.
    pub embedder: &'a Embedder,
    /// Least cosine of two texts that are near.
    pub threshold: f64,
    /// How much is in memory.
    pub sizes: Sizes,
    /// Threads.
    pub pool: &'a ThreadPool,
    /// Who follows it.
    pub progress: &'a dyn Progress,
}

impl Search<'_> {
    /// The rows that go, in order; `kept` becomes the file of what stays.
    ///
    /// # Errors
    /// The disk is full or fails, Ctrl-C.
    pub fn decide(&self, mut kept: Places) -> Result<Vec<Gone>> {
        let dimensions = self.embedder.dimensions();
        let (mut stay, mut gone): (Vec<Text>, Vec<Gone>) = (Vec::new(), Vec::new());
        self.progress.stage("meaning", self.rows.len() as u64);
        let mut start = 0;
        while start < self.rows.len() {
            let end = self.end_of_block(start);
            let block = self.read(start, end)?;
            let mut found: Vec<Option<Gone>> = vec![None; end - start];
            let place = |text: &Text| text.row as usize - start;
            let open = |found: &[Option<Gone>]| -> Vec<usize> {
                (0..block.texts.len()).filter(|i| found[place(&block.texts[*i])].is_none()).collect()
            };
            for (number, texts) in stay.chunks(self.sizes.chunk).enumerate() {
                let left = open(&found);
                if left.is_empty() {
                    break;
                }
                let panels = self.chunk(&kept, number, texts.len())?;
                for pair in self.compare(&block, &left, texts, &panels, Of::First)? {
                    let (one, other) = (&block.texts[pair.left], &texts[pair.right]);
                    let held = &mut found[place(one)];
                    // What stays lies in order of preference.
                    if held.is_none_or(|held| (other.row as usize, one.number) < (held.by, held.texts[0])) {
                        *held = Some(near(one, other, pair.cosine));
                    }
                }
            }
            let left = open(&found);
            let texts: Vec<Text> = left.iter().map(|i| block.texts[*i]).collect();
            let panels = self.embedder.panels(&block.pick(&left, dimensions));
            let mut pairs = self.compare(&block, &left, &texts, &panels, Of::Earlier)?;
            pairs.sort_unstable_by_key(|pair| {
                let (one, other) = (&block.texts[pair.left], &texts[pair.right]);
                (one.row, other.row, one.number, other.number)
            });
            // Whatever comes first stays, and takes away what is near.
            for pair in pairs {
                let (one, other) = (&block.texts[pair.left], &texts[pair.right]);
                if found[place(other)].is_none() && found[place(one)].is_none() {
                    found[place(one)] = Some(near(one, other, pair.cosine));
                }
            }
            let left = open(&found);
            let bytes: Vec<u8> = block.pick(&left, dimensions).iter().flat_map(|x| x.to_le_bytes()).collect();
            kept.append(&bytes)?;
            stay.extend(left.iter().map(|i| block.texts[*i]));
            gone.extend(found.into_iter().flatten());
            self.progress.advance((end - start) as u64, "");
            start = end;
        }
        Ok(gone)
    }

    /// Where the block ends that begins with this row.
    pub(super) fn end_of_block(&self, start: usize) -> usize {
        let mut texts = 0;
        let more = self.rows[start..].iter().take_while(|row| {
            let fits = texts == 0 || texts + row.texts as usize <= self.sizes.block;
            texts += row.texts as usize;
            fits
        });
        start + more.count()
    }

    /// The texts of some rows.
    pub(super) fn read(&self, start: usize, end: usize) -> Result<Texts> {
        let mut read = Texts::default();
        let one = bytes_of_text(self.embedder.dimensions());
        for (number, row) in (start..).zip(&self.rows[start..end]) {
            let mut bytes = vec![0; row.texts as usize * one];
            self.file.read(row.at, &mut bytes)?;
            for text in bytes.chunks_exact(one) {
                let (words, _) = text.as_chunks();
                let [class, number_in_row, vector @ ..] = words else { continue };
                let [class, number_in_row] = [class, number_in_row].map(|word| u32::from_le_bytes(*word));
                let row = u32::try_from(number).unwrap_or(u32::MAX);
                read.texts.push(Text { row, class, number: number_in_row });
                read.vectors.extend(vector.iter().map(|word| f32::from_le_bytes(*word)));
            }
        }
        Ok(read)
    }

    /// The vectors of a chunk of what stays, of so many texts.
    fn chunk(&self, kept: &Places, number: usize, texts: usize) -> Result<Panels> {
        let one = 4 * self.embedder.dimensions();
        let mut bytes = vec![0; texts * one];
        kept.read((number * self.sizes.chunk * one) as u64, &mut bytes)?;
        let vectors: Vec<f32> = bytes.as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect();
        Ok(self.embedder.panels(&vectors))
    }

    /// Those of the pairs of texts, of a block at the places `left` and of others, that are near.
    fn compare(&self, block: &Texts, left: &[usize], right: &[Text], panels: &Panels, of: Of) -> Result<Vec<Pair>> {
        let (dimensions, least) = (self.embedder.dimensions(), self.threshold.min(EQUAL));
        let parts: Vec<&[usize]> = left.chunks(self.sizes.part).collect();
        let mut pairs = Vec::new();
        let part = |i: usize| {
            if self.progress.cancelled() {
                return Err(Error::Interrupted);
            }
            let mut cosines = vec![0.0; parts[i].len() * right.len()];
            self.embedder.cosines(&block.pick(parts[i], dimensions), panels, &mut cosines);
            let mut near = Vec::new();
            for (left, cosines) in parts[i].iter().zip(cosines.chunks_exact(right.len().max(1))) {
                let one = &block.texts[*left];
                for (place, cosine) in cosines.iter().enumerate() {
                    // Seldom true, so that it is asked first.
                    if f64::from(*cosine) < least || !self.may_be_near(one, &right[place], of) {
                        continue;
                    }
                    near.push(Pair { left: *left, right: place, cosine: *cosine });
                    if of == Of::First {
                        break;
                    }
                }
            }
            Ok(near)
        };
        ordered_map(self.pool, parts.len(), part, |near| {
            pairs.extend(near);
            Ok::<_, Error>(())
        })?;
        Ok(pairs)
    }

    pub(super) fn may_be_near(&self, one: &Text, other: &Text, of: Of) -> bool {
        let label = |text: &Text| self.rows[text.row as usize].label;
        let contradict = label(one) != 0 && label(other) != 0 && label(one) != label(other);
        one.class == other.class && !contradict && (of == Of::First || other.row < one.row)
    }
}

/// Which pairs of a text are told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// The first.
    First,
    /// All with texts of rows before its own.
    Earlier,
}

impl Texts {
    /// The vectors at these places, one after another.
    fn pick(&self, places: &[usize], dimensions: usize) -> Vec<f32> {
        places.iter().flat_map(|i| &self.vectors[i * dimensions..(i + 1) * dimensions]).copied().collect()
    }
}

fn near(one: &Text, other: &Text, cosine: f32) -> Gone {
    Gone { row: one.row as usize, by: other.row as usize, cosine, texts: [one.number, other.number] }
}

#[cfg(all(test, feature = "semantic"))]
mod tests {
    use std::path::Path;

    use setaccio_base::parallel::thread_pool;

    use super::*;

    /// The texts of a row.
    type Held = Vec<(Text, Vec<f32>)>;

    /// Rows of one to three texts whose vectors lie about a tenth as many directions, so that many are near, with labels here and there.
    fn rows(many: u32, dimensions: usize, file: &mut Places) -> Result<(Vec<Row>, Vec<Held>)> {
        let mut state = 7_u32;
        let mut next = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 8
        };
        let mut unit = |around: Option<&[f32]>| {
            let mut vector: Vec<f32> =
                (0..dimensions).map(|_| f32::from(u16::try_from(next() % 2001).unwrap_or(0)) - 1000.0).collect();
            for (x, y) in vector.iter_mut().zip(around.into_iter().flatten()) {
                *x = *x / 4000.0 + y;
            }
            let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
            for x in &mut vector {
                *x /= length;
            }
            vector
        };
        let centres: Vec<Vec<f32>> = (0..many / 10).map(|_| unit(None)).collect();
        let (mut rows, mut held) = (Vec::new(), Vec::new());
        for number in 0..many {
            let texts: Held = (0..=number % 3)
                .map(|i| {
                    let vector = unit(Some(&centres[((number * 7 + i * 13) % (many / 10)) as usize]));
                    (Text { row: number, class: i % 2, number: i }, vector)
                })
                .collect();
            let bytes = texts.iter().flat_map(|(text, vector)| {
                let head = [text.class.to_le_bytes(), text.number.to_le_bytes()];
                head.into_iter().chain(vector.iter().map(|x| x.to_le_bytes())).flatten().collect::<Vec<u8>>()
            });
            rows.push(Row {
                order: u64::from(number),
                at: file.append(&bytes.collect::<Vec<u8>>())?,
                texts: u32::try_from(texts.len()).unwrap_or(0),
                words: 1,
                rank: 0,
                source: 0,
                label: u64::from(number % 5 == 0) * u64::from(number % 2 + 1),
                id: [0; 16],
            });
            held.push(texts);
        }
        Ok((rows, held))
    }

    /// One row after another against all that stay.
    fn one_by_one(rows: &[Row], held: &[Held], threshold: f64) -> Vec<Gone> {
        let (mut stay, mut gone): (Vec<usize>, Vec<Gone>) = (Vec::new(), Vec::new());
        for row in 0..rows.len() {
            let labels = |other: usize| [rows[row].label, rows[other].label];
            let found = stay
                .iter()
                .filter(|other| !matches!(labels(**other), [a, b] if a != 0 && b != 0 && a != b))
                .find_map(|other| {
                    held[row].iter().find_map(|(one, x)| {
                        held[*other].iter().find_map(|(text, y)| {
                            let cosine = x.iter().zip(y).fold(0.0, |sum, (a, b)| sum + a * b);
                            let is_near = one.class == text.class && f64::from(cosine) >= threshold;
                            is_near.then(|| near(one, text, cosine))
                        })
                    })
                });
            match found {
                Some(found) => gone.push(found),
                None => stay.push(row),
            }
        }
        gone
    }

    #[test]
    fn blocks_chunks_and_threads_change_nothing() -> Result<()> {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/oracles/semantic/model2vec");
        let embedder = Embedder::open(&model, "model")?;
        let dir = tempfile::tempdir().map_err(Error::io("create", "temp"))?;
        let mut file = Places::create(&dir.path().join("vectors"), 0)?;
        let (rows, held) = rows(400, embedder.dimensions(), &mut file)?;
        let expected = one_by_one(&rows, &held, 0.9);
        assert!((100..380).contains(&expected.len()), "{}", expected.len());
        for (jobs, block, chunk, part) in
            [(1, 2048, 4096, 96), (2, 1, 1, 1), (3, 17, 5, 4), (2, 50, 33, 7), (1, 300, 64, 96)]
        {
            let pool = thread_pool(jobs)?;
            let sizes = Sizes { block, chunk, part };
            let search = Search {
                rows: &rows,
                file: &file,
                embedder: &embedder,
                threshold: 0.9,
                sizes,
                pool: &pool,
                progress: &(),
            };
            let gone = search.decide(Places::create(&dir.path().join("kept"), 0)?)?;
            assert_eq!(gone.len(), expected.len(), "{sizes:?}");
            for (found, expected) in gone.iter().zip(&expected) {
                // A chunk may end between two texts of a row that stays, and another of its texts is then told.
                assert_eq!((found.row, found.by), (expected.row, expected.by), "{sizes:?}");
            }
        }
        Ok(())
    }

    #[test]
    fn bands_find_what_the_exact_search_finds_but_for_what_they_are_allowed_to_miss() -> Result<()> {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/oracles/semantic/model2vec");
        let embedder = Embedder::open(&model, "model")?;
        let dir = tempfile::tempdir().map_err(Error::io("create", "temp"))?;
        let mut file = Places::create(&dir.path().join("vectors"), 0)?;
        let (rows, held) = rows(3000, embedder.dimensions(), &mut file)?;
        let threshold = 0.9;
        let exact = one_by_one(&rows, &held, threshold);
        // Whether a row has a text near one of another row before it.
        let is_near = |row: usize, other: usize| {
            let labels = [rows[row].label, rows[other].label];
            let cosine = |x: &[f32], y: &[f32]| x.iter().zip(y).fold(0.0, |sum, (a, b)| sum + a * b);
            !matches!(labels, [a, b] if a != 0 && b != 0 && a != b)
                && held[row].iter().any(|(one, x)| {
                    held[other].iter().any(|(two, y)| one.class == two.class && f64::from(cosine(x, y)) >= threshold)
                })
        };
        let mut first: Option<Vec<Gone>> = None;
        for (jobs, recall, block, part) in
            [(1, 0.95, 2048, 96), (2, 0.95, 33, 7), (5, 0.95, 500, 64), (2, 0.6, 2048, 96)]
        {
            let pool = thread_pool(jobs)?;
            let sizes = Sizes { block, chunk: 4096, part };
            let (rows, file, embedder, pool) = (&rows, &file, &embedder, &pool);
            let search = Search { rows, file, embedder, threshold, sizes, pool, progress: &() };
            let (gone, bands) = search.decide_by_bands(42, recall, dir.path())?;
            assert!(bands.found(threshold) >= recall, "{bands:?}");
            let mut stays = vec![true; rows.len()];
            for gone in &gone {
                stays[gone.row] = false;
            }
            for gone in &gone {
                assert!(
                    stays[gone.by] && gone.by < gone.row && is_near(gone.row, gone.by),
                    "{gone:?} is not justified"
                );
                assert!(f64::from(gone.cosine) >= threshold, "{gone:?}");
            }
            // Rows that stay although one that stays before them is near.
            let stay: Vec<usize> = (0..rows.len()).filter(|row| stays[*row]).collect();
            let left = stay.iter().enumerate().filter(|(i, row)| stay[..*i].iter().any(|other| is_near(**row, *other)));
            let left = left.count();
            #[allow(clippy::cast_precision_loss, reason = "counts of rows")]
            let found = gone.len() as f64 / (gone.len() + left) as f64;
            assert!(found >= recall, "{found} of {bands:?}");
            assert!(
                gone.len() <= exact.len() + left && gone.len() > exact.len() / 2,
                "{} of {}",
                gone.len(),
                exact.len()
            );
            if recall > 0.9 {
                let same = first.get_or_insert_with(|| gone.clone());
                assert_eq!(*same, gone, "{jobs} threads, {sizes:?}");
            } else {
                assert!(left > 0, "so few bands miss some");
            }
        }
        Ok(())
    }
}
