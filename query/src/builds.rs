//! The tables of a build: its rows, and what its ledger counts.

use std::path::Path;

use arrow_schema::DataType as Arrow;
use polars::prelude::{DataFrame, DataType, Field, IntoLazy as _, LazyFrame, Schema, UnionArgs, concat, lit};
use serde::Serialize;
use serde_json::{Map, Value, json};
use setaccio_curate::{pipeline::rejects, report::card};
use setaccio_dataset::{
    folder::{DATA, REJECTS},
    ledger::{FileEntry, Ledger},
};

use crate::{
    error::Result,
    frame::{
        self,
        Holds::{self, Float, Integer, Text},
        fields,
    },
    scan::{self, Known},
    table::Table,
};

/// The column of a row's split, or the first of these that the data set has no column of its own of.
const SPLIT: [&str; 2] = ["split", "split_of_build"];

/// The tables of the build in `out`.
///
/// # Errors
/// There is no build, or it is not as it was written.
pub fn tables(out: &Path) -> Result<Vec<Table>> {
    let (ledger, lock) = card::sound(out)?;
    let mut tables = Vec::new();
    tables.extend(shards(out, &ledger)?);
    let dropped = of_folder(&ledger, REJECTS);
    let (frame, rows) = if dropped.is_empty() {
        (nothing(rejects::schema(lock.recipe.kind).fields()), 0)
    } else {
        scan::files(out, &dropped)?
    };
    tables.push(Table::new("rejects", rows, frame, true)?);
    tables.push(frame::table("ledger", &LEDGER, &rules(&ledger))?);
    tables.push(frame::table("stages", &STAGES, &flows(&ledger))?);
    tables.push(frame::table("lengths", &LENGTHS, &objects(&ledger.lengths))?);
    tables.push(frame::table("mix", &MIX, &objects(&ledger.mix))?);
    tables.push(frame::table("files", &FILES, &objects(&ledger.files))?);
    Ok(tables)
}

/// What each rule did to each source, zeros included, so that every sum over them is right.
const LEDGER: [(&str, Holds); 8] = [
    ("stage", Text),
    ("rule", Text),
    ("source", Text),
    ("dropped", Integer),
    ("dropped_bytes", Integer),
    ("rows_edited", Integer),
    ("lines_dropped", Integer),
    ("lines_edited", Integer),
];

/// What went into each stage of each source, and what came out.
const STAGES: [(&str, Holds); 6] = [
    ("stage", Text),
    ("source", Text),
    ("rows_in", Integer),
    ("bytes_in", Integer),
    ("rows_out", Integer),
    ("bytes_out", Integer),
];

const LENGTHS: [(&str, Holds); 10] = [
    ("split", Text),
    ("measure", Text),
    ("rows", Integer),
    ("total", Integer),
    ("mean", Float),
    ("min", Integer),
    ("p5", Integer),
    ("median", Integer),
    ("p95", Integer),
    ("max", Integer),
];

const MIX: [(&str, Holds); 4] = [("source", Text), ("language", Text), ("rows", Integer), ("characters", Integer)];

const FILES: [(&str, Holds); 4] = [("path", Text), ("rows", Integer), ("bytes", Integer), ("sha256", Text)];

/// The rows of all splits.
fn shards(out: &Path, ledger: &Ledger) -> Result<Option<Table>> {
    let all = of_folder(ledger, DATA);
    let name = |split: &str| format!("{DATA}/{split}-");
    let mut rows = 0;
    let mut frames = Vec::new();
    for split in &ledger.splits {
        let of: Vec<Known<'_>> =
            all.iter().filter(|file| file.path.starts_with(&name(&split.split))).copied().collect();
        if of.is_empty() {
            continue;
        }
        let (mut frame, more) = scan::files(out, &of)?;
        let own = frame.collect_schema()?;
        let column = SPLIT.into_iter().find(|name| !own.contains(name)).unwrap_or(SPLIT[0]);
        frames.push(frame.with_columns([lit(split.split.as_str()).alias(column)]));
        rows += more;
    }
    if frames.is_empty() {
        return Ok(None);
    }
    Table::new("shards", rows, concat(frames, UnionArgs::default())?, true).map(Some)
}

/// The files of the ledger in a folder of the build.
fn of_folder<'l>(ledger: &'l Ledger, folder: &str) -> Vec<Known<'l>> {
    let below = |file: &&FileEntry| file.path.split('/').next() == Some(folder);
    let known = |file: &'l FileEntry| Known { path: &file.path, bytes: file.bytes, rows: Some(file.rows) };
    ledger.files.iter().filter(below).map(known).collect()
}

/// A table of these columns without rows.
fn nothing(fields: &arrow_schema::Fields) -> LazyFrame {
    let schema: Schema = fields.iter().map(|field| Field::new(field.name().into(), kind(field.data_type()))).collect();
    DataFrame::empty_with_schema(&schema).lazy()
}

/// What the engine calls a type that a build writes.
fn kind(arrow: &Arrow) -> DataType {
    match arrow {
        Arrow::Int32 => DataType::Int32,
        Arrow::UInt64 => DataType::UInt64,
        Arrow::List(item) => DataType::List(Box::new(kind(item.data_type()))),
        Arrow::Struct(fields) => {
            DataType::Struct(fields.iter().map(|f| Field::new(f.name().into(), kind(f.data_type()))).collect())
        }
        _ => DataType::String,
    }
}

fn objects<T: Serialize>(of: &[T]) -> Vec<Map<String, Value>> {
    of.iter().map(fields).collect()
}

fn rules(ledger: &Ledger) -> Vec<Map<String, Value>> {
    let mut rows = Vec::new();
    for stage in &ledger.stages {
        for rule in &stage.rules {
            for flow in &stage.sources {
                let of = rule.sources.iter().find(|of| of.source == flow.source);
                let mut row = fields(&json!({"stage": stage.stage, "rule": rule.rule, "source": flow.source}));
                row.extend(fields(&of.map(|of| of.tally).unwrap_or_default()));
                rows.push(row);
            }
        }
    }
    rows
}

fn flows(ledger: &Ledger) -> Vec<Map<String, Value>> {
    let mut rows = Vec::new();
    for stage in &ledger.stages {
        for flow in &stage.sources {
            let mut row = fields(&json!({"stage": stage.stage}));
            row.extend(fields(flow));
            rows.push(row);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use setaccio_base::{filter_report::Tally, row::Kind};
    use setaccio_dataset::ledger::{Flow, RuleCount, SourceFlow, SourceTally, Stage};

    use super::*;

    #[test]
    fn every_rule_has_a_row_of_every_source() {
        let flow = |source: &str| SourceFlow { source: source.into(), flow: Flow { rows_in: 5, ..Flow::default() } };
        let tally = Tally { dropped: 2, ..Tally::default() };
        let rule = RuleCount { rule: "length".into(), tally, sources: vec![SourceTally { source: "b".into(), tally }] };
        let stage = Stage {
            stage: "screen".into(),
            sources: vec![flow("a"), flow("b")],
            rules: vec![rule],
            ..Stage::default()
        };
        let ledger = Ledger { stages: vec![stage], ..Ledger::default() };
        let dropped: Vec<(String, u64)> = rules(&ledger)
            .iter()
            .map(|row| (row["source"].as_str().unwrap_or_default().to_owned(), row["dropped"].as_u64().unwrap_or(9)))
            .collect();
        assert_eq!(dropped, [("a".to_owned(), 0), ("b".to_owned(), 2)]);
        assert_eq!(flows(&ledger)[1]["rows_in"], 5);
        for (columns, rows) in [(&LEDGER[..], rules(&ledger)), (&STAGES[..], flows(&ledger))] {
            assert!(rows[0].keys().eq(columns.iter().map(|(name, _)| name)), "{:?}", rows[0]);
        }
    }

    #[test]
    fn a_build_that_drops_nothing_has_the_columns_of_its_rejects() -> Result<()> {
        let frame = nothing(rejects::schema(Kind::Preference).fields());
        let table = Table::new("rejects", 0, frame, true)?;
        let names: Vec<&str> = table.names().collect();
        assert!(names.starts_with(&["stage", "rule", "detail", "message"]) && names.contains(&"rejected"), "{names:?}");
        let chosen = crate::table::type_name(table.columns.get("chosen").unwrap_or(&DataType::Null));
        assert_eq!(chosen, "list of (role text, content text)");
        Ok(())
    }
}
