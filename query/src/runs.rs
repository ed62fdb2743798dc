//! The tables of a run, or of the runs of a chain: what was measured, what the model wrote, how it was evaluated and audited.

use std::{fs, path::Path};

use polars::prelude::{LazyFrame, UnionArgs, concat_lf_diagonal, lit};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use setaccio_base::{
    Error as Base,
    manifest::Sealed,
    run_lock::{self, Outline, RunLock},
};

use crate::{
    error::Result,
    frame::{
        self,
        Holds::{self, Boolean, Float, Integer, Text},
        columns_of, fields,
    },
    scan::{self, Known},
    table::Table,
};

/// There in the folder of a chain.
pub const CHAIN: &str = "chain.lock.toml";
const METRICS: &str = "metrics.jsonl";
/// Folder of evaluations, and what each task has there.
const EVALUATIONS: (&str, &str) = ("eval/", "/results.json");
/// What an audit wrote, line by line.
const WRITTEN: &str = "audit/written.jsonl";

type Row = Map<String, Value>;
/// What was answered, and how many rows that is.
type Answers = (LazyFrame, u64);

/// A run, and the stage of a chain that it is.
struct Run {
    stage: Option<String>,
    folder: Sealed,
}

/// The part of a chain's lock that names its stages.
#[derive(Deserialize)]
struct Stages {
    #[serde(default)]
    stages: Vec<String>,
}

/// The tables of the run in `folder`, finished or not.
///
/// # Errors
/// A file of it is not what was written.
pub fn of_run(folder: &Path) -> Result<Vec<Table>> {
    // It says whether there is a run of this version.
    RunLock::<Outline>::read(&folder.join(run_lock::NAME))?;
    let run = Run { stage: None, folder: Sealed::open(folder)? };
    tables(std::slice::from_ref(&run), &run.folder)
}

/// The tables of the chain in `folder`, of the stages that have begun.
///
/// # Errors
/// None has, or a file is not what was written.
pub fn of_chain(folder: &Path) -> Result<Vec<Table>> {
    let path = folder.join(CHAIN);
    let text = fs::read_to_string(&path).map_err(Base::io("read", &path))?;
    let lock: Stages = toml::from_str(&text)
        .map_err(|e| Base::damaged(&path, format!("is not a lock of this version of setaccio: {}", e.message())))?;
    let mut runs = Vec::new();
    for stage in lock.stages {
        let place = folder.join(&stage);
        if place.join(run_lock::NAME).is_file() {
            RunLock::<Outline>::read(&place.join(run_lock::NAME))?;
            runs.push(Run { stage: Some(stage), folder: Sealed::open(&place)? });
        }
    }
    if runs.is_empty() {
        let message = "holds a chain of which no stage has begun: `setaccio train-all` goes on";
        return Err(Base::damaged(folder, message).into());
    }
    tables(&runs, &Sealed::open(folder)?)
}

/// The tables of runs, and of what `around` holds of evaluations and audits.
fn tables(runs: &[Run], around: &Sealed) -> Result<Vec<Table>> {
    let chain = runs.iter().any(|run| run.stage.is_some());
    let staged = |columns: &[(&'static str, Holds)]| -> Vec<(&'static str, Holds)> {
        chain.then_some(("stage", Text)).into_iter().chain(columns.iter().copied()).collect()
    };
    let (mut metrics, mut samples) = (Vec::new(), Vec::new());
    for run in runs {
        let stage = || run.stage.as_ref().map(|stage| ("stage".to_owned(), Value::from(stage.as_str())));
        for mut line in lines(&run.folder)? {
            let written = line.remove("samples");
            let at = [("step".to_owned(), line["step"].clone())].into_iter().chain(stage());
            let at: Row = at.chain(line.get("epoch").map(|epoch| ("epoch".to_owned(), epoch.clone()))).collect();
            match written {
                Some(Value::Array(all)) => {
                    samples.extend(all.iter().zip(0_u64..).map(|(sample, number)| {
                        let mut row = at.clone();
                        row.insert("number".into(), number.into());
                        row.extend(fields(sample));
                        row
                    }));
                }
                _ => metrics.push(stage().into_iter().chain(line).collect::<Row>()),
            }
        }
    }
    let known = staged(&[("step", Integer), ("epoch", Float)]);
    let mut tables = vec![frame::table("metrics", &columns_of(&known, &metrics), &metrics)?];
    let of_samples =
        staged(&[("step", Integer), ("epoch", Float), ("number", Integer), ("prompt", Text), ("text", Text)]);
    if !samples.is_empty() {
        tables.push(frame::table("samples", &of_samples, &samples)?);
    }
    let (numbers, answers) = evaluations(around)?;
    if !numbers.is_empty() {
        tables.push(frame::table("evaluations", &staged(&NUMBERS), &numbers)?);
    }
    if let Some((frame, rows)) = answers {
        tables.push(Table::new("answers", rows, frame, true)?);
    }
    if around.knows(WRITTEN) {
        let written = objects(&around.folder.join(WRITTEN), &around.read(WRITTEN)?, "of an audit")?;
        tables.push(frame::table("audit", &AUDITED, &written)?);
    }
    Ok(tables)
}

const NUMBERS: [(&str, Holds); 11] = [
    ("task", Text),
    ("shots", Integer),
    ("rows", Integer),
    ("model", Text),
    ("parent", Text),
    ("metric", Text),
    ("value", Float),
    ("stderr", Float),
    ("low", Float),
    ("high", Float),
    ("more_is_better", Boolean),
];

const AUDITED: [(&str, Holds); 5] =
    [("model", Text), ("of", Text), ("prompt", Text), ("answer", Text), ("refuses", Boolean)];

/// The numbers of all evaluations, and what was answered row by row.
fn evaluations(around: &Sealed) -> Result<(Vec<Row>, Option<Answers>)> {
    let (mut numbers, mut answers, mut rows) = (Vec::new(), Vec::new(), 0);
    for file in around.files.iter().flatten() {
        let Some(place) = file.file.strip_suffix(EVALUATIONS.1).filter(|place| place.starts_with(EVALUATIONS.0)) else {
            continue;
        };
        // Of a chain, the stage lies between.
        let stage = place[EVALUATIONS.0.len()..].rsplit_once('/').map(|(stage, _)| stage);
        let path = around.folder.join(&file.file);
        let results: Value = serde_json::from_slice(&around.read(&file.file)?)
            .map_err(|e| Base::damaged(path, format!("is not of this version ({e}): evaluate again")))?;
        let of = |of: &Value, name: &str| of.get(name).cloned().unwrap_or_default();
        for model in results["models"].as_array().into_iter().flatten() {
            for number in model["metrics"].as_array().into_iter().flatten() {
                let end = |i: usize| number["interval"].get(i).cloned().unwrap_or_default();
                numbers.push(fields(&json!({
                    "stage": stage,
                    "task": of(&results, "task"),
                    "shots": of(&results, "shots"),
                    "rows": of(&results, "rows"),
                    "model": of(model, "model"),
                    "parent": of(model, "parent"),
                    "metric": of(number, "metric"),
                    "value": of(number, "value"),
                    "stderr": of(number, "stderr"),
                    "low": end(0),
                    "high": end(1),
                    "more_is_better": of(number, "more_is_better"),
                })));
            }
            let name = model["answers"]["file"].as_str().unwrap_or_default();
            let file = format!("{place}/{name}");
            let Some(entry) = around.files.iter().flatten().find(|entry| entry.file == file) else { continue };
            let known = [Known { path: &entry.file, bytes: entry.bytes, rows: None }];
            let (frame, more) = scan::files(&around.folder, &known)?;
            let mut named = Vec::new();
            named.extend(stage.map(|stage| lit(stage).alias("stage")));
            named.extend(["task", "model"].map(|name| {
                let value = if name == "task" { of(&results, name) } else { of(model, name) };
                lit(value.as_str().unwrap_or_default()).alias(name)
            }));
            answers.push(frame.with_columns(named));
            rows += more;
        }
    }
    let frame = if answers.is_empty() { None } else { Some(concat_lf_diagonal(answers, UnionArgs::default())?) };
    Ok((numbers, frame.map(|frame| (frame, rows))))
}

/// The lines of a run's metrics.
fn lines(run: &Sealed) -> Result<Vec<Row>> {
    let path = run.folder.join(METRICS);
    // What the manifest names was there.
    if !path.exists() && !run.knows(METRICS) {
        return Ok(Vec::new());
    }
    let bytes = run.read(METRICS)?;
    // Of a run that goes on, or was killed, the last line may be half of one.
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
    let rows = objects(&path, &bytes[..whole], "with a `step`")?;
    if let Some(at) = rows.iter().position(|row| row.get("step").and_then(Value::as_u64).is_none()) {
        return Err(no_line(&path, at, "with a `step`").into());
    }
    Ok(rows)
}

/// A JSON object a line.
fn objects(path: &Path, bytes: &[u8], what: &str) -> Result<Vec<Row>> {
    let lines = bytes.split(|b| *b == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
    let read = lines.map(|(at, line)| serde_json::from_slice(line).map_err(|_| no_line(path, at, what).into()));
    read.collect()
}

fn no_line(path: &Path, at: usize, what: &str) -> Base {
    Base::damaged(path, format!("line {} is not a JSON object {what}; put back the line or remove it", at + 1))
}
