//! Statistics of what was written: a table of how many rows have which length, small whatever the size
//! of the data, that polars turns into the figures of the ledger.

use std::collections::BTreeMap;

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{Int32Type, UInt16Type, UInt32Type},
};
use polars::prelude::{Column, DataFrame, Expr, IntoLazy, LazyFrame, NamedFrom, Series, col, lit};

use crate::{
    carried::HIDDEN,
    error::{Error, Result},
    ledger::{Ledger, Length, Mix},
    merge::Kept,
    plan::Plan,
};

const SPLITS: [&str; 2] = ["train", "validation"];
const MEASURES: [&str; 4] = ["characters", "words", "turns", "tokens"];

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cell {
    split: u8,
    source: u16,
    language: String,
    measure: u8,
    /// The length, to three significant digits.
    value: u64,
}

#[derive(Clone, Copy, Debug)]
struct Rows {
    count: u64,
    total: u64,
    min: u64,
    max: u64,
}

/// Counts of rows by split, source, language and length.
#[derive(Default)]
pub struct Stats {
    cells: BTreeMap<Cell, Rows>,
}

impl Stats {
    /// Count `rows` of a carried batch for the split of this number (0 train, 1 validation).
    pub fn count(&mut self, split: usize, batch: &RecordBatch, rows: &[Kept]) {
        let languages = batch.column(HIDDEN + 1).as_string::<i32>();
        let sources = batch.column(2).as_primitive::<UInt16Type>();
        let measured = [4, 5, 6].map(|c| batch.column(c).as_primitive::<UInt32Type>());
        let tokens = batch.column_by_name("tokens").map(arrow::array::AsArray::as_primitive::<Int32Type>);
        for kept in rows {
            let i = kept.row as usize;
            let language = if languages.is_null(i) { "und" } else { languages.value(i) };
            let tokens = tokens.map(|t| u64::try_from(t.value(i)).unwrap_or(0));
            let lengths = measured.map(|m| Some(u64::from(m.value(i)))).into_iter().chain([tokens]);
            for (measure, length) in (0..).zip(lengths) {
                let Some(length) = length else { continue };
                let split = u8::from(split > 0);
                let source = sources.value(i);
                let cell = Cell { split, source, language: language.to_owned(), measure, value: three_digits(length) };
                let one = Rows { count: 1, total: length, min: length, max: length };
                self.cells.entry(cell).and_modify(|c| c.add(&one)).or_insert(one);
            }
        }
    }

    /// Add another's counts to this one.
    pub fn add(&mut self, other: &Stats) {
        for (cell, rows) in &other.cells {
            self.cells.entry(cell.clone()).and_modify(|c| c.add(rows)).or_insert(*rows);
        }
    }

    /// Put lengths and mix into the ledger.
    ///
    /// # Errors
    /// Never, but for a fault of ours.
    pub fn summarise(&self, plan: &Plan, ledger: &mut Ledger) -> Result<()> {
        let table = self.table().map_err(Error::encode("length statistics"))?;
        ledger.lengths = lengths(table.clone().lazy()).map_err(Error::encode("length statistics"))?;
        let sources = &plan.loaded.recipe.source;
        let name = |source: u32| sources.get(source as usize).map_or_else(String::new, |s| s.name.clone());
        ledger.mix = mix(table.lazy(), name).map_err(Error::encode("mix statistics"))?;
        Ok(())
    }

    fn table(&self) -> polars::prelude::PolarsResult<DataFrame> {
        let column = |name: &str, value: &dyn Fn(&Cell, &Rows) -> u64| {
            Column::from(Series::new(name.into(), self.cells.iter().map(|(c, r)| value(c, r)).collect::<Vec<_>>()))
        };
        let languages: Vec<&str> = self.cells.keys().map(|c| c.language.as_str()).collect();
        DataFrame::new_infer_height(vec![
            column("split", &|c, _| c.split.into()),
            column("source", &|c, _| c.source.into()),
            Column::from(Series::new("language".into(), languages)),
            column("measure", &|c, _| c.measure.into()),
            column("value", &|c, _| c.value),
            column("rows", &|_, r| r.count),
            column("total", &|_, r| r.total),
            column("min", &|_, r| r.min),
            column("max", &|_, r| r.max),
        ])
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

fn lengths(table: LazyFrame) -> polars::prelude::PolarsResult<Vec<Length>> {
    // The least value that at least this share of the rows is at or below.
    let quantile = |share: f64, name: &str| -> Expr {
        col("value").filter(col("rows").cum_sum(false).gt_eq(col("rows").sum() * lit(share))).min().alias(name)
    };
    let keys = [col("split"), col("measure")];
    let frame = table
        .sort(["split", "measure", "value"], polars::prelude::SortMultipleOptions::default())
        .group_by_stable(keys)
        .agg([
            col("rows").sum().alias("n"),
            col("total").sum(),
            col("min").min(),
            col("max").max(),
            quantile(0.05, "p5"),
            quantile(0.5, "median"),
            quantile(0.95, "p95"),
        ])
        .collect()?;
    let [split, measure, n, total, min, max, p5, median, p95] =
        numbers(&frame, ["split", "measure", "n", "total", "min", "max", "p5", "median", "p95"])?;
    #[allow(clippy::cast_precision_loss, reason = "a mean is a float")]
    let mean = |i: usize| (total[i] as f64 / n[i].max(1) as f64 * 100.0).round() / 100.0;
    // A text has no turns; a measure that is 0 everywhere says nothing.
    let told = (0..frame.height()).filter(|i| max[*i] > 0);
    Ok(told
        .map(|i| Length {
            split: named(&SPLITS, split[i]),
            measure: named(&MEASURES, measure[i]),
            rows: n[i],
            total: total[i],
            mean: mean(i),
            min: min[i],
            p5: p5[i].clamp(min[i], max[i]),
            median: median[i].clamp(min[i], max[i]),
            p95: p95[i].clamp(min[i], max[i]),
            max: max[i],
        })
        .collect())
}

fn mix(table: LazyFrame, name: impl Fn(u32) -> String) -> polars::prelude::PolarsResult<Vec<Mix>> {
    let frame = table
        .filter(col("measure").eq(lit(0_u64)))
        .group_by([col("source"), col("language")])
        .agg([col("rows").sum(), col("total").sum()])
        .sort(["source", "language"], polars::prelude::SortMultipleOptions::default())
        .collect()?;
    let [source, rows, total] = numbers(&frame, ["source", "rows", "total"])?;
    let languages = frame.column("language")?.str()?;
    Ok((0..frame.height())
        .map(|i| Mix {
            source: name(u32::try_from(source[i]).unwrap_or(u32::MAX)),
            language: languages.get(i).unwrap_or_default().to_owned(),
            rows: rows[i],
            characters: total[i],
        })
        .collect())
}

/// Columns of whole numbers, none of them null.
fn numbers<const N: usize>(frame: &DataFrame, names: [&str; N]) -> polars::prelude::PolarsResult<[Vec<u64>; N]> {
    let mut columns = [const { Vec::new() }; N];
    for (column, name) in columns.iter_mut().zip(names) {
        *column = frame.column(name)?.u64()?.into_no_null_iter().collect();
    }
    Ok(columns)
}

fn named(names: &[&str], number: u64) -> String {
    usize::try_from(number).ok().and_then(|i| names.get(i)).map_or_else(String::new, |n| (*n).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_weigh_rows_and_sums_are_exact() {
        let mut stats = Stats::default();
        let mut put = |length: u64, rows: u64| {
            let cell = Cell { split: 0, source: 0, language: "it".into(), measure: 0, value: three_digits(length) };
            let cells = Rows { count: rows, total: length * rows, min: length, max: length };
            stats.cells.entry(cell).and_modify(|c| c.add(&cells)).or_insert(cells);
        };
        put(10, 90);
        put(200, 9);
        put(12_345, 1);
        let table = stats.table().unwrap_or_else(|e| panic!("{e}"));
        let lengths = lengths(table.clone().lazy()).unwrap_or_else(|e| panic!("{e}"));
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
        assert_eq!(lengths, [expected]);
        let mix = mix(table.lazy(), |_| "web".into()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(mix, [Mix { source: "web".into(), language: "it".into(), rows: 100, characters: 15_045 }]);
    }

    #[test]
    fn three_digits_are_kept() {
        for (n, rounded) in [(0, 0), (7, 7), (999, 999), (1004, 1000), (1005, 1010), (12_345, 12_300)] {
            assert_eq!(three_digits(n), rounded);
        }
    }
}
