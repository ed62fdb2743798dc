//! What differs between two models that were evaluated by the same tasks, each by itself: their answers are paired row by row, as those of
//! models that are evaluated together. Read from what was written of each.

use std::path::{Path, PathBuf};

use arrow_array::{
    Int64Array, RecordBatch, StringArray,
    cast::AsArray,
    types::{Float64Type, Int64Type},
};
use serde::Serialize;
use setaccio_base::run_lock::FileHash;
use setaccio_dataset::parquet_file;

use crate::{
    error::{Error, Result},
    metrics::{Items, Rate},
    results::{ModelResults, Results},
    statistics::difference,
};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Comparison {
    /// Numbers of tasks that both were evaluated by, on the same rows.
    pub numbers: Vec<Paired>,
    /// Tasks whose numbers cannot be held against each other, and why.
    pub apart: Vec<(String, String)>,
}

/// A number of both models.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Paired {
    /// The task's name.
    pub task: String,
    /// Rows that both were asked about.
    pub rows: usize,
    /// What it is.
    pub metric: String,
    /// The numbers.
    pub values: [f64; 2],
    /// The second less the first.
    pub difference: f64,
    /// Where 95% of the resampled differences lie, from and to, where each row has a number of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<[f64; 2]>,
    /// Of numbers that are 0 or 1 a row: the exact test of McNemar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p: Option<f64>,
    /// Whether more is better; nothing where neither is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub more_is_better: Option<bool>,
}

/// Compare what the folders `a` and `b` hold of evaluations, each of the model of this name, or of the last one where none has it. Nothing is
/// compared where one of them is not there.
///
/// # Errors
/// Results are of another version, or answers are not what was written of them.
pub fn compare(a: (&Path, &str), b: (&Path, &str)) -> Result<Comparison> {
    let mut found = Comparison::default();
    let (all_a, all_b) = (Results::all(a.0)?, Results::all(b.0)?);
    for one in &all_a {
        let Some(other) = all_b.iter().find(|other| other.task == one.task) else {
            found.apart.push((one.task.clone(), "only the first was evaluated by it".into()));
            continue;
        };
        if let Some(why) = apart(one, other) {
            found.apart.push((one.task.clone(), why.into()));
            continue;
        }
        let models = [model(one, a.1), model(other, b.1)];
        let [Some(first), Some(second)] = models else { continue };
        let answers = [Answers::read(a.0, one, first)?, Answers::read(b.0, other, second)?];
        if answers[0].places()? != answers[1].places()? {
            found.apart.push((one.task.clone(), "the rows that were asked about are others".into()));
            continue;
        }
        for number in &first.metrics {
            let Some(same) = second.metrics.iter().find(|same| same.metric == number.metric) else { continue };
            let (values, metric) = ([number.value, same.value], number.metric.clone());
            let items = answers.each_ref().map(|answers| answers.items(&metric));
            let differs = match &items {
                [Some(first), Some(second)] => Some(difference(first, second, one.seed)),
                _ => None,
            };
            found.numbers.push(Paired {
                task: one.task.clone(),
                rows: one.rows,
                metric,
                values,
                difference: values[1] - values[0],
                interval: differs.and_then(|differs| differs.interval),
                p: differs.and_then(|differs| differs.p),
                more_is_better: number.more_is_better,
            });
        }
    }
    let only_b = all_b.iter().filter(|other| !all_a.iter().any(|one| one.task == other.task));
    found.apart.extend(only_b.map(|other| (other.task.clone(), "only the second was evaluated by it".into())));
    Ok(found)
}

/// Why two evaluations are not of the same questions.
fn apart(a: &Results, b: &Results) -> Option<&'static str> {
    let hashes = |results: &Results| -> Vec<String> {
        results.data.iter().chain(&results.examples).map(|file| file.sha256.clone()).collect()
    };
    match () {
        () if a.task_sha256 != b.task_sha256 => Some("the task says something else"),
        () if hashes(a) != hashes(b) => Some("the files of its rows are others"),
        () if a.shots != b.shots => Some("other numbers of examples were shown"),
        () if a.rows != b.rows => Some("other numbers of rows were asked about"),
        () => None,
    }
}

fn model<'r>(results: &'r Results, name: &str) -> Option<&'r ModelResults> {
    results.models.iter().find(|model| model.model == name).or(results.models.last())
}

/// What a model answered.
struct Answers {
    path: PathBuf,
    batches: Vec<RecordBatch>,
}

impl Answers {
    fn read(folder: &Path, results: &Results, model: &ModelResults) -> Result<Self> {
        let path = folder.join(&results.task).join(&model.answers.file);
        let sha256 = FileHash::of(&path, &model.answers.file, &|| false)?.sha256;
        if sha256 != model.answers.sha256 {
            return Err(Error::damaged(&path, "is not what the evaluation wrote: evaluate again"));
        }
        let (_, batches) = parquet_file::own(&path, |builder| builder)?;
        let batches: std::result::Result<Vec<RecordBatch>, _> = batches.collect();
        let batches = batches.map_err(|flaw| Error::damaged(&path, flaw.message))?;
        Ok(Self { path, batches })
    }

    /// The rows that were asked about.
    fn places(&self) -> Result<Vec<(String, i64)>> {
        let mut places = Vec::new();
        for batch in &self.batches {
            let files: Option<&StringArray> = batch.column_by_name("file").and_then(|c| c.as_string_opt::<i32>());
            let rows: Option<&Int64Array> = batch.column_by_name("row").and_then(|c| c.as_primitive_opt::<Int64Type>());
            let (Some(files), Some(rows)) = (files, rows) else {
                return Err(Error::damaged(&self.path, "does not say which rows were asked about: evaluate again"));
            };
            places.extend((0..batch.num_rows()).map(|i| (files.value(i).to_owned(), rows.value(i))));
        }
        Ok(places)
    }

    /// What each row adds to a measure, where the file says it.
    fn items(&self, metric: &str) -> Option<Items> {
        let rate = |weight, told| {
            let weights = self.numbers(weight)?;
            Some(Items::Rates { sums: self.numbers("log_likelihood")?, weights, told })
        };
        match metric {
            "word_perplexity" => rate("words", Rate::Perplexity),
            "byte_perplexity" => rate("bytes", Rate::Perplexity),
            "bits_per_byte" => rate("bytes", Rate::Bits),
            _ => self.numbers(metric).map(Items::Means),
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "counts of words and bytes")]
    fn numbers(&self, name: &str) -> Option<Vec<f64>> {
        let mut all = Vec::new();
        for batch in &self.batches {
            let column = batch.column_by_name(name)?;
            if let Some(numbers) = column.as_primitive_opt::<Float64Type>() {
                all.extend(numbers.values());
            } else {
                all.extend(column.as_primitive_opt::<Int64Type>()?.values().iter().map(|n| *n as f64));
            }
        }
        Some(all)
    }
}
