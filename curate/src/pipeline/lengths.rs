//! Lengths and languages of what was written, from a table of how many rows have which length: small whatever the
//! size of the data, for lengths are kept to three significant digits.

use std::collections::BTreeMap;

use arrow_array::{
    Array, RecordBatch,
    cast::AsArray,
    types::{Int32Type, UInt16Type, UInt32Type},
};
use serde::{Deserialize, Serialize};
use setaccio_dataset::{
    ledger::{Length, Mix},
    recipe::Source,
};

use super::{
    resolver::KeepRow,
    spill::{self, CHARACTERS, LANGUAGE, SOURCE, TOKENS, TURNS, WORDS},
};
use crate::error::Result;

/// Names of the splits, by their numbers.
pub const SPLITS: [&str; 2] = ["train", "validation"];
const MEASURES: [&str; 4] = ["characters", "words", "turns", "tokens"];

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Cell {
    split: u8,
    source: u16,
    language: String,
    measure: u8,
    /// The length, to three significant digits.
    value: u64,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Rows {
    count: u64,
    total: u64,
    min: u64,
    max: u64,
}

impl Default for Rows {
    fn default() -> Self {
        Self { count: 0, total: 0, min: u64::MAX, max: 0 }
    }
}

/// Counts of rows by split, source, language and length.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<(Cell, Rows)>", into = "Vec<(Cell, Rows)>")]
pub struct LengthTable {
    cells: BTreeMap<Cell, Rows>,
}

impl From<Vec<(Cell, Rows)>> for LengthTable {
    fn from(cells: Vec<(Cell, Rows)>) -> Self {
        Self { cells: cells.into_iter().collect() }
    }
}

impl From<LengthTable> for Vec<(Cell, Rows)> {
    fn from(LengthTable { cells }: LengthTable) -> Self {
        cells.into_iter().collect()
    }
}

impl LengthTable {
    /// Count `rows` of a spill batch for the split of this number in [`SPLITS`].
    pub fn count(&mut self, split: u8, batch: &RecordBatch, rows: &[KeepRow]) -> Result<()> {
        let languages = spill::column(batch, LANGUAGE)?.as_string::<i32>();
        let sources = spill::column(batch, SOURCE)?.as_primitive::<UInt16Type>();
        let [characters, words, turns] = [CHARACTERS, WORDS, TURNS].map(|name| spill::column(batch, name));
        let measures = [characters?, words?, turns?].map(AsArray::as_primitive::<UInt32Type>);
        let tokens = batch.column_by_name(TOKENS).map(AsArray::as_primitive::<Int32Type>);
        for kept in rows {
            let i = kept.row as usize;
            let language = if languages.is_null(i) { "und" } else { languages.value(i) };
            let tokens = tokens.map(|t| u64::try_from(t.value(i)).unwrap_or(0));
            let lengths = measures.map(|m| Some(u64::from(m.value(i)))).into_iter().chain([tokens]);
            for (measure, length) in (0..).zip(lengths) {
                let Some(length) = length else { continue };
                let (source, language) = (sources.value(i), language.to_owned());
                let cell = Cell { split, source, language, measure, value: three_digits(length) };
                let one = Rows { count: 1, total: length, min: length, max: length };
                self.cells.entry(cell).or_default().add(&one);
            }
        }
        Ok(())
    }

    /// Add another's counts to this one.
    pub fn add(&mut self, other: &Self) {
        for (cell, rows) in &other.cells {
            self.cells.entry(cell.clone()).or_default().add(rows);
        }
    }

    /// Lengths of each split by each measure.
    pub fn lengths(&self) -> Vec<Length> {
        let mut measured: BTreeMap<(u8, u8), (Rows, BTreeMap<u64, u64>)> = BTreeMap::new();
        for (cell, rows) in &self.cells {
            let (sum, counts) = measured.entry((cell.split, cell.measure)).or_default();
            sum.add(rows);
            *counts.entry(cell.value).or_default() += rows.count;
        }
        // A text has no turns; a measure that is 0 everywhere says nothing.
        let told = measured.into_iter().filter(|(_, (sum, _))| sum.max > 0);
        told.map(|((split, measure), (sum, counts))| {
            let quantile = |share| quantile(&counts, sum.count, share).clamp(sum.min, sum.max);
            #[allow(clippy::cast_precision_loss, reason = "a mean is a float")]
            let mean = (sum.total as f64 / sum.count.max(1) as f64 * 100.0).round() / 100.0;
            Length {
                split: SPLITS[usize::from(split)].into(),
                measure: MEASURES[usize::from(measure)].into(),
                rows: sum.count,
                total: sum.total,
                mean,
                min: sum.min,
                p5: quantile(0.05),
                median: quantile(0.5),
                p95: quantile(0.95),
                max: sum.max,
            }
        })
        .collect()
    }

    /// Rows and characters of each source in each language; `sources` are the recipe's.
    pub fn mix(&self, sources: &[Source]) -> Vec<Mix> {
        let mut mixed: BTreeMap<(u16, &str), Rows> = BTreeMap::new();
        for (cell, rows) in self.cells.iter().filter(|(cell, _)| MEASURES[usize::from(cell.measure)] == "characters") {
            mixed.entry((cell.source, &cell.language)).or_default().add(rows);
        }
        let name = |source: u16| sources.get(usize::from(source)).map_or_else(String::new, |s| s.name.clone());
        let mix = |((source, language), rows): ((u16, &str), Rows)| Mix {
            source: name(source),
            language: language.to_owned(),
            rows: rows.count,
            characters: rows.total,
        };
        mixed.into_iter().map(mix).collect()
    }
}

impl Rows {
    fn add(&mut self, other: &Rows) {
        self.count += other.count;
        self.total += other.total;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }
}

/// Round half up to three significant digits, so that the table stays small.
fn three_digits(n: u64) -> u64 {
    let unit = 10_u64.pow(n.checked_ilog10().unwrap_or(0).saturating_sub(2));
    (n + unit / 2) / unit * unit
}

/// The least value that at least this share of `rows` is at or below; `counts` says how many have which.
#[allow(clippy::cast_precision_loss, reason = "rows are far below 2^53")]
fn quantile(counts: &BTreeMap<u64, u64>, rows: u64, share: f64) -> u64 {
    let mut below = 0;
    let reached = counts.iter().find(|(_, count)| {
        below += **count;
        below as f64 >= rows as f64 * share
    });
    reached.map_or(0, |(value, _)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_weigh_rows_and_sums_are_exact() {
        let mut table = LengthTable::default();
        let mut put = |length: u64, rows: u64| {
            let cell = Cell { split: 0, source: 0, language: "it".into(), measure: 0, value: three_digits(length) };
            let cells = Rows { count: rows, total: length * rows, min: length, max: length };
            table.cells.entry(cell).or_default().add(&cells);
        };
        put(10, 90);
        put(200, 9);
        put(12_345, 1);
        // 90 of 100 rows are 10 long, so the half lies there and the 95th lies among the 200s.
        let expected = Length {
            split: "train".into(),
            measure: "characters".into(),
            rows: 100,
            total: 900 + 1800 + 12_345,
            mean: 150.45,
            min: 10,
            p5: 10,
            median: 10,
            p95: 200,
            max: 12_345,
        };
        assert_eq!(table.lengths(), [expected]);
        let counts = BTreeMap::from([(1, 1), (2, 3)]);
        assert_eq!([0.25, 0.26].map(|share| quantile(&counts, 4, share)), [1, 2], "a share met exactly is met");
        let source = "name = 'web'\nschema = 'text'\nrepo = ''\nrevision = ''\nfiles = []\nsamples = ''\nlicense = ''";
        let source = toml::from_str(source).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(
            table.mix(&[source]),
            [Mix { source: "web".into(), language: "it".into(), rows: 100, characters: 15_045 }]
        );
    }

    #[test]
    fn three_digits_are_kept() {
        for (n, rounded) in [(0, 0), (7, 7), (999, 999), (1004, 1000), (1005, 1010), (12_345, 12_300)] {
            assert_eq!(three_digits(n), rounded);
        }
    }
}
