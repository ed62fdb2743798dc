//! What a page shows, in the parts that its script knows how to draw.

use std::collections::BTreeMap;

use serde::Serialize;

/// A page.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Page {
    /// Its heading.
    pub title: String,
    /// What it is about, in paragraphs.
    pub about: Vec<String>,
    /// What must not be overlooked.
    pub warnings: Vec<String>,
    /// What can be filtered by.
    pub sources: Vec<String>,
    /// What can be filtered by.
    pub rules: Vec<String>,
    /// What can be filtered by.
    pub languages: Vec<String>,
    /// Rows that the sections name by their numbers here.
    pub rows: Vec<PageRow>,
    /// Its parts.
    pub sections: Vec<Section>,
}

/// A part with a heading.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Section {
    /// The heading.
    pub title: String,
    /// What is said, in paragraphs.
    pub text: Vec<String>,
    /// What is shown.
    pub blocks: Vec<Block>,
}

/// What a filter knows of something; what is `None` is of all.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Of {
    /// The source's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The rule's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The language's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

/// Something that is shown.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "is", rename_all = "lowercase")]
pub enum Block {
    /// Names and what each is.
    Facts {
        /// In order.
        rows: Vec<(String, String)>,
    },
    /// A table.
    Table {
        /// What it shows.
        caption: String,
        /// Names of its columns.
        head: Vec<String>,
        /// Its rows.
        rows: Vec<TableRow>,
    },
    /// A text that is folded.
    Code {
        /// What it is.
        caption: String,
        /// What it says.
        text: String,
    },
    /// Ways to other files.
    Links {
        /// What each leads to, and the way from this file.
        links: Vec<(String, String)>,
    },
    /// From sources through stages to what is kept.
    Flow {
        /// What it shows.
        caption: String,
        /// Names of the stages.
        stages: Vec<String>,
        /// Names of the sources.
        sources: Vec<String>,
        /// Rows into and out of each stage.
        all: Vec<[u64; 2]>,
        /// The same of each source.
        by: BTreeMap<String, Vec<[u64; 2]>>,
    },
    /// Rows before each step and dropped by it.
    Bars {
        /// What it shows.
        caption: String,
        /// In order.
        steps: Vec<Step>,
    },
    /// How lengths are distributed.
    Histograms {
        /// What was counted.
        caption: String,
        /// What is measured.
        unit: String,
        /// Where each bin begins.
        edges: Vec<u64>,
        /// One a source.
        series: Vec<Histogram>,
    },
    /// Values over steps.
    Curves {
        /// What they show.
        caption: String,
        /// Beside each other.
        curves: Vec<Curve>,
    },
    /// What each rule did, with rows to look at.
    Rules {
        /// In order.
        rules: Vec<Rule>,
    },
    /// Rows side by side.
    Groups {
        /// In order.
        groups: Vec<Group>,
    },
}

/// A row of a table.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TableRow {
    /// What a filter knows of it.
    #[serde(flatten)]
    pub of: Of,
    /// One a column.
    pub cells: Vec<Cell>,
}

/// What stands in a table.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Cell {
    /// A count.
    Number(u64),
    /// Words.
    Text(String),
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// A step of the rows.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Step {
    /// Stage, or rule within it.
    pub name: String,
    /// Whether it is a rule rather than a whole stage.
    pub rule: bool,
    /// What it edited.
    pub edits: String,
    /// Rows before it, and dropped by it.
    pub all: [u64; 2],
    /// The same of each source that has rows before it.
    pub by: BTreeMap<String, [u64; 2]>,
}

/// How one measure is distributed in one source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Histogram {
    /// The source's name.
    pub name: String,
    /// Rows measured.
    pub rows: u64,
    /// Least.
    pub min: u64,
    /// Greatest.
    pub max: u64,
    /// Rows of each bin.
    pub bins: Vec<u64>,
}

/// A value over steps.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Curve {
    /// Its name.
    pub name: String,
    /// Step and value.
    pub points: Vec<(u64, f64)>,
}

/// What a rule did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Rule {
    /// Its name in the rejects.
    pub name: String,
    /// The stage.
    pub stage: String,
    /// Its settings.
    pub what: String,
    /// Rows that it dropped.
    pub dropped: u64,
    /// What it edited.
    pub edits: String,
    /// Rows that it dropped of each source that it touched.
    pub by: BTreeMap<String, u64>,
    /// Rows to look at.
    pub lists: Vec<RuleRows>,
}

/// Rows of a rule.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RuleRows {
    /// What became of them.
    pub title: String,
    /// Their numbers in the page.
    pub rows: Vec<usize>,
}

/// Rows side by side.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Group {
    /// What they have in common.
    pub title: String,
    /// The rule that put them together.
    pub rule: String,
    /// What each is, and its number in the page.
    pub rows: Vec<(String, usize)>,
}

/// A row of a data set.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PageRow {
    /// Hash of its content.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The source's name.
    pub source: String,
    /// Its language, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Where it lies.
    pub place: String,
    /// What it was dropped for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// What it says.
    pub texts: Vec<Text>,
    /// Texts that are left out.
    #[serde(skip_serializing_if = "is_zero")]
    pub more: usize,
    /// Whether its texts are to be compared.
    #[serde(skip_serializing_if = "is_false")]
    pub beside: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(n: &usize) -> bool {
    *n == 0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(said: &bool) -> bool {
    !said
}

/// A text of a row, or a part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Text {
    /// Whose it is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// Characters left out before it.
    pub before: usize,
    /// What it says: every second part, from the second, is marked.
    pub parts: Vec<String>,
    /// Characters left out after it.
    pub after: usize,
}
