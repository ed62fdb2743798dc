//! Semantic diversity: which rows go because they mean nearly what one that stays means, whatever their words.
//!
//! ```text
//! task ──> texts ──> vectors, a block a bucket ──> of the rows that deduplication leaves, in order of preference:
//!                                                  block by block held against all texts that stay, then within itself
//! ```
//!
//! Up to a million texts the search is exact: every text is held against every one that stays before it. Beyond, those are that
//! share a band of signs (`bands.rs`). What is in memory is 64 bytes a row, 12 a text that stays, and the vectors of a few
//! thousand texts; the rest lies in files of the work folder. Nothing depends on threads,
//! slices or the order of files, and a cosine has the same bits on every processor.

pub mod bands;
pub mod greedy;
pub mod units;
pub mod vectors;

use serde::{Deserialize, Serialize};
use setaccio_base::{
    numbers::{counted, grouped},
    sha256::hex,
};
use setaccio_dataset::recipe::Semantic;

use self::bands::Bands;
use crate::embedding::Embedder;

/// What became of the texts that were to have vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextCount {
    /// Texts with a vector.
    pub embedded: u64,
    /// Of these, the ones that are longer than the model reads.
    pub truncated: u64,
    /// Texts without one: nothing in them is known to the model.
    pub nothing: u64,
    /// Texts of too few words.
    pub short: u64,
}

impl TextCount {
    /// Whether there were no texts.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Add another's counts to this one.
    pub fn add(&mut self, other: &Self) {
        self.embedded += other.embedded;
        self.truncated += other.truncated;
        self.nothing += other.nothing;
        self.short += other.short;
    }
}

/// A row that goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Twin {
    /// Its name: its place in the output, which its copies share.
    pub order: u64,
    /// The id of the row that stays in its place.
    pub by: [u8; 16],
    /// The number of that row's source.
    pub source: u16,
    /// The cosine of the two.
    pub cosine: f32,
    /// Which text of the one, and which of the other, where texts are compared and not rows.
    pub texts: Option<[u32; 2]>,
}

/// Which rows go.
#[derive(Serialize, Deserialize)]
pub struct Twins {
    /// By name, ascending.
    pub rows: Vec<Twin>,
    /// Rows that were compared.
    pub compared: u64,
    /// Their texts.
    pub texts: u64,
    /// How pairs met, if not each with each.
    pub bands: Option<Bands>,
}

impl Twins {
    /// What is said of the row of this name, if it goes; `source` names sources by their numbers.
    pub fn of<'a>(&self, row: u64, source: impl Fn(u16) -> &'a str) -> Option<String> {
        let place = self.rows.binary_search_by_key(&row, |twin| twin.order).ok()?;
        let Twin { by, source: of, cosine, texts, .. } = &self.rows[place];
        let texts = texts.map_or_else(String::new, |[one, other]| format!(", text {one} to text {other} (from 0)"));
        Some(format!("near in meaning to {} of {}, cosine {cosine:.3}{texts}", hex(by), source(*of)))
    }

    /// What was compared, and how, in a sentence.
    pub fn note(&self, count: &TextCount, settings: &Semantic, embedder: &Embedder) -> String {
        let [texts, rows] = [counted(self.texts, "text"), counted(self.compared, "row")];
        let mut note = format!(
            "Meaning was compared by {}, of the rows that the rest of deduplication leaves: {texts} of {rows}, ",
            embedder.told()
        );
        match self.bands {
            None => note += "each with every one that stays.",
            Some(found @ Bands { bands, signs }) => {
                let bands = counted(bands.into(), "band");
                let found = found.found(settings.threshold);
                let told = format!(
                    "those of them that share one of {bands} of the signs of {signs} random hyperplanes. A pair of cosine {} \
                     shares one with probability {found:.3}, a nearer pair with a larger one: near rows may be left.",
                    settings.threshold
                );
                note += &told;
            }
        }
        let most = embedder.most_tokens().unwrap_or_default();
        let short = counted(settings.min_words.into(), "word");
        let exceptions: Vec<String> = [
            (count.short, format!("had fewer than {short} and were not compared")),
            (count.nothing, "held nothing that the model knows and were not compared".into()),
            (count.truncated, format!("had more than {most} tokens, of which the first {most} were read")),
        ]
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, told)| format!("{} {told}", grouped(n)))
        .collect();
        if !exceptions.is_empty() {
            let all = counted(count.embedded + count.nothing + count.short, "text");
            note.extend([" Before deduplication there were ", &all, ", of which ", &exceptions.join("; "), "."]);
        }
        note
    }
}
