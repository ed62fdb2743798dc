//! The decision: rows in order of preference, each held against those that stay. Blocks of them are compared with all texts that
//! stay, a chunk of these at a time, by products of matrices, and what is left of a block with itself.

use rayon::ThreadPool;
use setaccio_base::{parallel::ordered_map, progress::Progress};

use crate::{
    embedding::{Embedder, Panels},
    error::{Error, Result},
    pipeline::scratch::Places,
};

/// Texts that are decided on at once, about.
const BLOCK: usize = 2048;
/// Texts that stay and are in memory at once.
const CHUNK: usize = 4096;
/// Texts of a block that a thread takes at once.
const PART: usize = 96;

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
struct Text {
    row: u32,
    class: u32,
    number: u32,
}

/// Texts with their vectors.
#[derive(Default)]
struct Texts {
    texts: Vec<Text>,
    vectors: Vec<f32>,
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
            for (number, texts) in stay.chunks(CHUNK).enumerate() {
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
    fn end_of_block(&self, start: usize) -> usize {
        let mut texts = 0;
        let more = self.rows[start..].iter().take_while(|row| {
            let fits = texts == 0 || texts + row.texts as usize <= BLOCK;
            texts += row.texts as usize;
            fits
        });
        start + more.count()
    }

    /// The texts of some rows.
    fn read(&self, start: usize, end: usize) -> Result<Texts> {
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
        kept.read((number * CHUNK * one) as u64, &mut bytes)?;
        let vectors: Vec<f32> = bytes.as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect();
        Ok(self.embedder.panels(&vectors))
    }

    /// Those of the pairs of texts, of a block at the places `left` and of others, that are near.
    fn compare(&self, block: &Texts, left: &[usize], right: &[Text], panels: &Panels, of: Of) -> Result<Vec<Pair>> {
        let dimensions = self.embedder.dimensions();
        let parts: Vec<&[usize]> = left.chunks(PART).collect();
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
                    if f64::from(*cosine) < self.threshold || !self.may_be_near(one, &right[place], of) {
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

    fn may_be_near(&self, one: &Text, other: &Text, of: Of) -> bool {
        let label = |text: &Text| self.rows[text.row as usize].label;
        let contradict = label(one) != 0 && label(other) != 0 && label(one) != label(other);
        one.class == other.class && !contradict && (of == Of::First || other.row < one.row)
    }
}

/// Which pairs of a text are told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
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
