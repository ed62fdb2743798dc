//! Rows that a page shows: each is read once, and its texts are cut to what there is room for.

use std::{collections::BTreeMap, ops::Range, path::Path};

use arrow_array::RecordBatch;
use setaccio_base::{
    page::{PageRow, Text},
    row::{self, Content, Kind},
};
use setaccio_dataset::{
    columns::{ContentColumns, content_names},
    ledger::FileEntry,
};

use super::{
    super::rows::{fetch, position, text},
    dropped::Place,
    marks,
};
use crate::{
    error::Result,
    pipeline::{filter::DECONTAMINATION, rejects::MESSAGE},
};

/// Texts of a conversation that are shown.
const TEXTS: usize = 8;

/// Columns that tell of a row; shards have few of them.
const TOLD: [&str; 10] = ["rule", "detail", MESSAGE, "source", "file", "row_group", "row", "id", "raw", "meta"];

/// A row as it lies in a file.
pub struct Row {
    /// Its place, for a person.
    place: String,
    /// Hash of its content.
    pub id: String,
    /// Its source.
    pub source: String,
    language: Option<String>,
    /// The rule that dropped it.
    pub rule: String,
    /// What it was dropped for; empty where it was kept.
    pub detail: String,
    message: Option<String>,
    /// What it says; of one that could not be read there is none.
    pub content: Option<Content>,
    raw: String,
    /// Its other columns, as JSON.
    meta: String,
}

/// The rows at these `places`.
///
/// # Errors
/// A file is missing or damaged.
pub fn read(
    (out, files, kind): (&Path, &[FileEntry], Kind),
    places: impl IntoIterator<Item = Place>,
) -> Result<BTreeMap<Place, Row>> {
    let mut wanted: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
    for (number, row) in places {
        wanted.entry(number).or_default().push(row);
    }
    let mut found = BTreeMap::new();
    for (number, mut rows) in wanted {
        let entry = &files[number];
        rows.sort_unstable();
        rows.dedup();
        let names = TOLD.iter().copied().chain(["language"]).chain(content_names(kind).iter().copied());
        let batches = fetch(&out.join(&entry.path), entry.rows, &rows, names)?;
        for (row, batch) in rows.iter().zip(&batches) {
            found.insert((number, *row), Row::of(batch, kind, (&entry.path, *row)));
        }
    }
    Ok(found)
}

impl Row {
    /// The first of a batch, which is row `number` of the file `path`.
    pub fn of(batch: &RecordBatch, kind: Kind, (path, number): (&str, u64)) -> Self {
        let told = |name| text(batch, name, 0);
        let content = ContentColumns::new(batch, kind).and_then(|columns| columns.get(0)).ok();
        let place = match told("file") {
            Some(file) => format!("read from {file}, {}", position(batch, 0)),
            None => format!("{path}, row {number} (from 0)"),
        };
        let filled = |name| told(name).unwrap_or_default();
        Self {
            place,
            id: filled("id"),
            source: filled("source"),
            language: told("language"),
            rule: filled("rule"),
            detail: filled("detail"),
            message: told(MESSAGE),
            content,
            raw: filled("raw"),
            meta: filled("meta"),
        }
    }

    /// What it says, text by text: a label, and what is marked, which is what it was dropped for, or `mark`.
    pub fn marked(&self, mark: Option<&str>) -> Vec<(String, &str, Vec<Range<usize>>)> {
        let texts: Vec<(String, &str)> = match &self.content {
            Some(Content::Text(text)) => vec![(String::new(), text.as_str())],
            Some(content) => (0..).map_while(|i| content.message_name(i)).zip(content.texts()).collect(),
            None => vec![("as it was read".into(), self.raw.as_str())],
        };
        let marks = |label: &str, text: &str| {
            // What is said of one message is not looked for in others.
            let meant = self.message.as_ref().is_none_or(|message| message == label);
            match mark {
                Some(mark) => marks::find(text, mark),
                None if !meant => Vec::new(),
                None if self.rule == DECONTAMINATION => marks::span(text, &self.detail).into_iter().collect(),
                None => marks::find(text, &self.detail),
            }
        };
        let marked = texts.into_iter().map(|(label, text)| {
            let marks = marks(&label, text);
            (label, text, marks)
        });
        marked.collect()
    }

    /// As a page shows it, in `budget` bytes. Marked is what it was dropped for, or `mark`.
    pub fn shown(&self, mark: Option<&str>, budget: usize) -> PageRow {
        let texts = self.marked(mark);
        // The first texts, and of the others those that are meant.
        let is_shown = |i: &usize| {
            *i < TEXTS - 1 || self.message.as_ref() == Some(&texts[*i].0) || (*i < TEXTS && texts.len() == TEXTS)
        };
        let shown: Vec<usize> = (0..texts.len()).filter(is_shown).collect();
        let mut left = budget;
        let mut cut = Vec::new();
        for (done, i) in shown.iter().enumerate() {
            let (label, text, marked) = &texts[*i];
            let others = shown.len() - done - 1;
            // What short ones leave is for those behind them; a marked one gets twice as much.
            let part = if marked.is_empty() { left / (others + 1) } else { 2 * left / (others + 2) };
            let text: Text = marks::cut(label.clone(), text, marked, part);
            let taken: usize = text.parts.iter().flat_map(|part| part.chars()).map(setaccio_base::page::size).sum();
            left = left.saturating_sub(taken);
            cut.push(text);
        }
        PageRow { why: self.why(budget), more: texts.len() - cut.len(), texts: cut, ..self.named() }
    }

    /// As a page names it, without what it says.
    pub fn named(&self) -> PageRow {
        PageRow {
            id: self.id.clone(),
            source: self.source.clone(),
            language: self.language.clone(),
            place: self.place.clone(),
            ..PageRow::default()
        }
    }

    /// What its messages hold beside their texts: names, and JSON.
    pub fn further(&self) -> Vec<(String, String)> {
        let Some(content) = &self.content else { return Vec::new() };
        let mut further = Vec::new();
        for (i, message) in content.messages().enumerate() {
            let name = content.message_name(i).unwrap_or_default();
            further.extend(message.others().map(|(field, value)| (format!("{name} {field}"), value.to_string())));
        }
        further
    }

    /// As it was read; of one that could not be read there is none.
    pub fn document(&self) -> Option<row::Row> {
        let mut row = row::Row::new(self.content.clone()?);
        row.language.clone_from(&self.language);
        row.columns = serde_json::from_str(&self.meta).unwrap_or_default();
        Some(row)
    }

    /// What it was dropped for, and in which message.
    fn why(&self, budget: usize) -> String {
        let message = self.message.as_ref().map_or_else(String::new, |message| format!("{message}: "));
        let Text { parts, after, .. } = marks::cut(String::new(), &self.detail, &[], budget / 2);
        let dots = if after > 0 { "\u{2026}" } else { "" };
        format!("{message}{}{dots}", parts.concat())
    }
}
