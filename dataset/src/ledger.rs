//! The ledger: rows and bytes in and out of every stage, per source and per rule. Cards, reports and
//! `verify` read from it; nothing else is asked what happened.

use std::path::Path;

use serde::{Deserialize, Serialize};
use setaccio_base::{
    filter_report::Tally,
    row::{Kind, Renamed},
};

use crate::{columns::Extras, names::LEDGER};

/// Names of the stages, in order.
pub const STAGES: [&str; 5] = ["read", "screen", "dedup", "sample", "split"];

/// What a build did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// Version of this format.
    pub format: u32,
    /// SHA-256 of this file with 64 zeros here, hex. Builds of before have none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// The recipe's name.
    pub recipe: String,
    /// Hash of everything that decides the output: recipe, inputs, lists, engine.
    pub fingerprint: String,
    /// SHA-256 of `recipe.lock.toml` as it was written, hex. Builds of before have none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub recipe_lock_sha256: String,
    /// What every row is.
    pub kind: Option<Kind>,
    /// The stages in order.
    pub stages: Vec<Stage>,
    /// Rows of each split.
    pub splits: Vec<SplitRows>,
    /// Lengths of the rows that were written.
    pub lengths: Vec<Length>,
    /// Rows written per source and language.
    pub mix: Vec<Mix>,
    /// What its conversations hold beside roles and contents.
    #[serde(default, skip_serializing_if = "Extras::is_empty")]
    pub extras: Extras,
    /// What no schema, filter or output read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<ColumnRows>,
    /// Roles and fields that are called otherwise than in their sources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub renamed: Vec<RenamedRows>,
    /// What templates of sources ask for and rows are without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<ColumnRows>,
    /// What rows were held against, set by set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evaluations: Vec<EvaluationCount>,
    /// What was removed of texts because other rows hold it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<RepeatCount>,
    /// What a person should know, in sentences.
    pub notes: Vec<String>,
    /// Every published Parquet file.
    pub files: Vec<FileEntry>,
}

/// Rows and bytes (UTF-8 of the content) on both sides of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// Rows that came in.
    pub rows_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Rows that went on.
    pub rows_out: u64,
    /// Their bytes, after edits.
    pub bytes_out: u64,
}

impl Flow {
    /// Count a row that goes in with `bytes_in` and, if it goes on, comes out with `bytes_out`.
    pub fn count(&mut self, bytes_in: u64, bytes_out: Option<u64>) {
        self.rows_in += 1;
        self.bytes_in += bytes_in;
        if let Some(bytes) = bytes_out {
            self.rows_out += 1;
            self.bytes_out += bytes;
        }
    }

    /// Add another's counts to this one.
    pub fn add(&mut self, other: &Flow) {
        self.rows_in += other.rows_in;
        self.bytes_in += other.bytes_in;
        self.rows_out += other.rows_out;
        self.bytes_out += other.bytes_out;
    }
}

/// One stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// One of [`STAGES`].
    pub stage: String,
    /// All sources together.
    #[serde(flatten)]
    pub flow: Flow,
    /// Each source by itself, in the recipe's order.
    pub sources: Vec<SourceFlow>,
    /// What each rule did, in order.
    pub rules: Vec<RuleCount>,
}

/// A source's part in a stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceFlow {
    /// The source's name.
    pub source: String,
    /// Its rows.
    #[serde(flatten)]
    pub flow: Flow,
}

/// A rule's part in a stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RuleCount {
    /// The name in the rejects.
    pub rule: String,
    /// All sources together.
    #[serde(flatten)]
    pub tally: Tally,
    /// Each source that it touched, in the recipe's order.
    pub sources: Vec<SourceTally>,
}

/// A rule's work on one source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceTally {
    /// The source's name.
    pub source: String,
    /// What it did there.
    #[serde(flatten)]
    pub tally: Tally,
}

/// One split.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SplitRows {
    /// `train` or `validation`.
    pub split: String,
    /// Its rows.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Size of its rows in Arrow's memory layout, as `datasets` counts it.
    pub arrow_bytes: u64,
}

/// How one measure is distributed. Quantiles are rounded to three significant digits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Length {
    /// `train` or `validation`.
    pub split: String,
    /// `characters`, `words`, `tokens` or `turns`.
    pub measure: String,
    /// Rows measured.
    pub rows: u64,
    /// Sum over the rows.
    pub total: u64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Least.
    pub min: u64,
    /// 5% of the rows are at most this.
    pub p5: u64,
    /// Half of the rows are at most this.
    pub median: u64,
    /// 95% of the rows are at most this.
    pub p95: u64,
    /// Greatest.
    pub max: u64,
}

/// Rows written of one source in one language.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mix {
    /// The source's name.
    pub source: String,
    /// ISO 639-1 code, or `und` where none is known.
    pub language: String,
    /// Rows over all splits.
    pub rows: u64,
    /// Characters over all splits.
    pub characters: u64,
}

/// What was found of an evaluation set, or of an earlier build that counts as one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvaluationCount {
    /// Its name.
    pub set: String,
    /// Its items.
    pub items: u64,
    /// Items of too few words to be looked for.
    pub short: u64,
    /// Items that rows were found to hold.
    pub found: u64,
    /// Rows that were dropped because of it: each because of the item that it holds the most of.
    pub rows: u64,
}

/// What was removed of texts because other rows hold it, or they themselves before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepeatCount {
    /// Rows that lost text and stayed.
    pub rows: u64,
    /// Lines, paragraphs or sentences that they lost.
    pub units: u64,
    /// Characters of these, with the white space that went with them.
    pub characters: u64,
    /// Rows that were dropped, because too little of them was left.
    pub dropped: u64,
}

/// A column of a source, or a field of its messages (`messages[].name`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnRows {
    /// The source's name.
    pub source: String,
    /// The column.
    pub column: String,
    /// Rows that hold something other than null there, where nothing reads it; rows that do not, where a template asks for it.
    pub rows: u64,
}

/// A role or a field of a source that has another name in the rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenamedRows {
    /// The source's name.
    pub source: String,
    /// What is called otherwise.
    #[serde(flatten)]
    pub renamed: Renamed,
    /// Rows that have it.
    pub rows: u64,
}

/// A published file.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileEntry {
    /// Path within the folder, `/` between parts.
    pub path: String,
    /// Rows.
    pub rows: u64,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256, hex.
    pub sha256: String,
}

impl Ledger {
    /// The stage called `name`.
    pub fn stage(&self, name: &str) -> Option<&Stage> {
        self.stages.iter().find(|s| s.stage == name)
    }

    /// Rows written over all splits.
    pub fn rows_out(&self) -> u64 {
        self.splits.iter().map(|s| s.rows).sum()
    }

    /// The stages as if `source` were the only one.
    #[must_use]
    pub fn of_source(&self, source: &str) -> Self {
        let rule = |rule: &RuleCount| {
            let tally = rule.sources.iter().find(|of| of.source == source).map(|of| of.tally).unwrap_or_default();
            RuleCount { rule: rule.rule.clone(), tally, sources: Vec::new() }
        };
        let stage = |stage: &Stage| {
            let flow = stage.sources.iter().find(|of| of.source == source).map(|of| of.flow).unwrap_or_default();
            let rules = stage.rules.iter().map(rule).collect();
            Stage { stage: stage.stage.clone(), flow, sources: Vec::new(), rules }
        };
        Self { stages: self.stages.iter().map(stage).collect(), ..Self::default() }
    }

    /// What dropped how many rows, for a person.
    pub fn drops(&self) -> String {
        let read = self.stages.first().map_or(0, |s| s.flow.rows_in);
        let rules = self.stages.iter().flat_map(|s| &s.rules).filter(|r| r.tally.dropped > 0);
        let dropped: Vec<String> = rules.map(|r| format!("{} by {}", r.tally.dropped, r.rule)).collect();
        let dropped =
            if dropped.is_empty() { "none were dropped".into() } else { format!("dropped {}", dropped.join(", ")) };
        format!("{read} rows read, {dropped}")
    }

    /// The ledger in a folder, if there is one that can be read.
    pub fn of(out: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(out.join(LEDGER)).ok()?).ok()
    }

    /// What does not add up, in sentences; nothing, in every ledger that a build wrote.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for stage in &self.stages {
            let dropped: u64 = stage.rules.iter().map(|r| r.tally.dropped).sum();
            let Flow { rows_in, rows_out, .. } = stage.flow;
            if rows_in != rows_out + dropped {
                faults.push(format!("stage {}: {rows_in} rows in, {rows_out} out, {dropped} dropped", stage.stage));
            }
            for rule in &stage.rules {
                let mut sum = Tally::default();
                rule.sources.iter().for_each(|s| sum.add(&s.tally));
                if sum != rule.tally {
                    faults.push(format!("rule {}: the sources do not add up to the whole", rule.rule));
                }
            }
            let mut sum = Flow::default();
            stage.sources.iter().for_each(|s| sum.add(&s.flow));
            if sum != stage.flow {
                faults.push(format!("stage {}: the sources do not add up to the whole", stage.stage));
            }
        }
        for pair in self.stages.windows(2) {
            if pair[0].flow.rows_out != pair[1].flow.rows_in {
                faults.push(format!(
                    "{} rows left {}, {} entered {}",
                    pair[0].flow.rows_out, pair[0].stage, pair[1].flow.rows_in, pair[1].stage
                ));
            }
        }
        let last = self.stages.last().map_or(0, |s| s.flow.rows_out);
        if last != self.rows_out() {
            faults.push(format!("{last} rows left the last stage, {} are in the splits", self.rows_out()));
        }
        faults
    }
}
