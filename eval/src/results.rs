//! What is written of a task: a table of numbers for programs, and a Parquet file a model with what it answered to each row.

use std::{fmt::Write, fs, path::Path, sync::Arc};

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    builder::{Float64Builder, ListBuilder, StringBuilder},
};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::properties::WriterProperties,
};
use serde::{Deserialize, Serialize};
use setaccio_base::{card::markdown::cell, numbers::grouped, run_lock::FileHash};

use crate::{
    bertscore::Used,
    error::{Error, Result},
    metrics::{Answered, Items, Measure},
    questions::{Asked, Question},
    rows::DataFile,
    statistics::{Difference, Estimate},
};

/// Name of the file of numbers in a task's folder.
pub const NAME: &str = "results.json";
/// Version of the format.
const FORMAT: u32 = 1;

/// The numbers of a task.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    /// Version of this format.
    pub format: u32,
    /// Program and version.
    pub engine: String,
    /// The task's name.
    pub task: String,
    /// A line for people.
    pub title: String,
    /// SHA-256 of what the task says, hex.
    pub task_sha256: String,
    /// Examples before each question.
    pub shots: usize,
    /// Rows that were asked about.
    pub rows: usize,
    /// Rows that there are.
    pub of: usize,
    /// Of these, rows whose right answer is none of their choices: they count as wrong.
    #[serde(default)]
    pub unanswerable: usize,
    /// What the chat template took for today, where one was used that asks.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub date: String,
    /// Decides the resamples of the intervals.
    pub seed: u64,
    /// The files of the rows.
    pub data: Vec<DataFile>,
    /// The files of the examples, where these are of others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<DataFile>,
    /// What BERTScore asked, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bertscore: Option<Used>,
    /// Each model's numbers, in the order in which they were named.
    pub models: Vec<ModelResults>,
    /// What each model but the first has more than the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Differing>,
}

/// The numbers of a model.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelResults {
    /// What it is called.
    pub model: String,
    /// The base that it is an adapter of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// What computed, and in which type: `f32 on cpu`.
    pub compute: String,
    /// Whether its chat template was used.
    pub chat: bool,
    /// Questions whose beginning did not fit.
    pub cut: usize,
    /// Its files.
    pub files: Vec<FileHash>,
    /// SHA-256 of its tokenizer, hex.
    #[serde(default)]
    pub tokenizer_sha256: String,
    /// SHA-256 of its chat template, hex, where that was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_sha256: Option<String>,
    /// The numbers.
    pub metrics: Vec<Number>,
    /// What it answered.
    pub answers: FileHash,
}

/// A number of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Number {
    /// What it is.
    pub metric: String,
    /// The number.
    pub value: f64,
    /// Of a mean: its standard error.
    #[serde(default, rename = "stderr", skip_serializing_if = "Option::is_none")]
    pub standard_error: Option<f64>,
    /// Where 95% of the resampled numbers lie, from and to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<[f64; 2]>,
    /// Whether more is better; nothing where neither is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_is_better: Option<bool>,
}

/// What a model has more than the first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Differing {
    /// The model.
    pub model: String,
    /// The first one.
    pub than: String,
    /// Of what.
    pub metric: String,
    /// The model's number less the first's.
    pub value: f64,
    /// Where 95% of the resampled differences lie, from and to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<[f64; 2]>,
    /// Of numbers that are 0 or 1 a row: the exact test of McNemar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p: Option<f64>,
}

impl Results {
    /// Without models.
    pub fn engine() -> (u32, String) {
        (FORMAT, format!("setaccio {}", env!("CARGO_PKG_VERSION")))
    }

    /// Those in the folder of a task.
    ///
    /// # Errors
    /// They cannot be read, or are of another version.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(NAME);
        let bytes = fs::read(&path).map_err(setaccio_base::Error::io("read", &path))?;
        let read: Self = serde_json::from_slice(&bytes)
            .map_err(|e| Error::damaged(&path, format!("is not of this version ({e}): evaluate again")))?;
        Ok(read)
    }

    /// Those of all tasks in a folder, by their names.
    ///
    /// # Errors
    /// As [`Results::read`].
    pub fn all(folder: &Path) -> Result<Vec<Self>> {
        let Ok(entries) = fs::read_dir(folder) else { return Ok(Vec::new()) };
        let folders = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut folders: Vec<_> = folders.filter(|folder| folder.join(NAME).is_file()).collect();
        folders.sort();
        folders.iter().map(|folder| Self::read(folder)).collect()
    }

    /// As the file holds them.
    ///
    /// # Errors
    /// A number is none.
    pub fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self).map_err(|e| Error::Other(e.to_string()))? + "\n")
    }
}

impl Number {
    /// Of a measure.
    pub fn of(measure: &Measure, estimate: Estimate) -> Self {
        let Estimate { value, standard_error, interval } = estimate;
        Self { metric: measure.name.clone(), value, standard_error, interval, more_is_better: measure.more_is_better }
    }
}

impl Differing {
    /// Of a measure of two models.
    pub fn of((than, model): (&str, &str), metric: &str, difference: Difference) -> Self {
        let Difference { value, interval, p } = difference;
        Self { model: model.into(), than: than.into(), metric: metric.into(), value, interval, p }
    }
}

/// What a model answered to each question, and whether the beginning of its prompt did not fit, as Parquet.
///
/// # Errors
/// Arrow or Parquet refuse it.
pub fn parquet(
    (questions, data): (&[Question], &[DataFile]),
    answers: (&[Answered], &[bool]),
    measures: &[Measure],
) -> Result<Vec<u8>> {
    let batch = RecordBatch::try_from_iter_with_nullable(columns(questions, data, answers, measures))
        .map_err(|e| Error::Other(e.to_string()))?;
    let write = || {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
            .set_created_by(concat!("setaccio ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))?;
        writer.write(&batch)?;
        writer.into_inner()
    };
    write().map_err(|e: ParquetError| Error::Other(e.to_string()))
}

type Columns = Vec<(String, ArrayRef, bool)>;

fn columns(
    questions: &[Question],
    data: &[DataFile],
    (answers, cut): (&[Answered], &[bool]),
    measures: &[Measure],
) -> Columns {
    let mut all: Columns = Vec::new();
    let mut add = |name: &str, column: ArrayRef, nullable: bool| all.push((name.to_owned(), column, nullable));
    let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    add("file", Arc::new(StringArray::from_iter_values(questions.iter().map(|q| &data[q.file].file))), false);
    add(
        "row",
        Arc::new(Int64Array::from_iter_values(questions.iter().map(|q| i64::try_from(q.row).unwrap_or(i64::MAX)))),
        false,
    );
    let prompt = |question: &Question| match &question.asked {
        Asked::Choice { contexts, .. } => contexts.first().map(crate::questions::Prompt::shown).unwrap_or_default(),
        Asked::Generate { prompt, .. } => prompt.shown(),
        Asked::Perplexity { text } => text.clone(),
    };
    add("prompt", Arc::new(StringArray::from_iter_values(questions.iter().map(prompt))), false);
    add("prompt_cut", Arc::new(BooleanArray::from(cut.to_vec())), false);
    match questions.first().map(|question| &question.asked) {
        Some(Asked::Choice { .. }) => {
            let (mut texts, mut sums) =
                (ListBuilder::new(StringBuilder::new()), ListBuilder::new(Float64Builder::new()));
            let (mut right, mut chosen) = (Vec::new(), Vec::new());
            for (question, answer) in questions.iter().zip(answers) {
                let (Asked::Choice { choices, .. }, Answered::Chosen(answer)) = (&question.asked, answer) else {
                    continue;
                };
                for choice in choices {
                    texts.values().append_value(choice);
                }
                texts.append(true);
                sums.values().append_slice(&answer.sums);
                sums.append(true);
                right.push(answer.right.map(number));
                chosen.push(number(answer.likeliest));
            }
            add("choices", Arc::new(texts.finish()), false);
            add("log_likelihoods", Arc::new(sums.finish()), false);
            add("right", Arc::new(Int64Array::from(right)), true);
            add("chosen", Arc::new(Int64Array::from(chosen)), false);
        }
        Some(Asked::Generate { .. }) => {
            let written: Vec<_> = questions
                .iter()
                .zip(answers)
                .filter_map(|pair| match pair {
                    (Question { asked: Asked::Generate { target, .. }, .. }, Answered::Written(written)) => {
                        Some((target, written))
                    }
                    _ => None,
                })
                .collect();
            add("target", Arc::new(StringArray::from_iter_values(written.iter().map(|(target, _)| target))), false);
            add("answer", Arc::new(StringArray::from_iter_values(written.iter().map(|(_, w)| &w.text))), false);
            let tokens = written.iter().map(|(_, w)| number(w.tokens));
            add("tokens", Arc::new(Int64Array::from_iter_values(tokens)), false);
            let cut: Vec<bool> = written.iter().map(|(_, w)| w.cut_short).collect();
            add("cut_short", Arc::new(BooleanArray::from(cut)), false);
        }
        _ => {
            let rolling: Vec<_> = answers
                .iter()
                .filter_map(|answer| match answer {
                    Answered::Rolling { sum, words, bytes } => Some((*sum, *words, *bytes)),
                    _ => None,
                })
                .collect();
            let sums = rolling.iter().map(|(sum, ..)| *sum);
            add("log_likelihood", Arc::new(Float64Array::from_iter_values(sums)), false);
            let words = rolling.iter().map(|(_, words, _)| number(*words));
            add("words", Arc::new(Int64Array::from_iter_values(words)), false);
            let bytes = rolling.iter().map(|(.., bytes)| number(*bytes));
            add("bytes", Arc::new(Int64Array::from_iter_values(bytes)), false);
        }
    }
    for measure in measures {
        if let Items::Means(values) = &measure.items {
            add(&measure.name, Arc::new(Float64Array::from(values.clone())), false);
        }
    }
    all
}

/// The table of a card: a row a number, a column a model.
pub fn table(all: &[Results]) -> String {
    let mut models: Vec<&str> = Vec::new();
    for model in all.iter().flat_map(|results| &results.models) {
        if !models.contains(&model.model.as_str()) {
            models.push(&model.model);
        }
    }
    let mut out = String::new();
    let heads = models.iter().map(|model| format!(" {} |", cell(model))).collect::<Vec<_>>().concat();
    let _ = writeln!(
        out,
        "| task | rows | examples | metric |{heads} p |\n|---|---:|---:|---|{}---:|",
        "---:|".repeat(models.len())
    );
    for results in all {
        let Some(first) = results.models.first() else { continue };
        for number in &first.metrics {
            let value = |name: &&str| {
                let model = results.models.iter().find(|model| model.model == **name);
                let number = model.and_then(|model| model.metrics.iter().find(|other| other.metric == number.metric));
                format!(" {} |", number.map_or_else(String::new, shown))
            };
            let values: String = models.iter().map(value).collect();
            let last = results.differences.iter().rfind(|d| d.metric == number.metric).and_then(|d| d.p);
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} |{values} {} |",
                cell(&results.task),
                if results.rows < results.of {
                    format!("{} of {}", grouped(results.rows as u64), grouped(results.of as u64))
                } else {
                    grouped(results.of as u64)
                },
                results.shots,
                cell(&number.metric),
                last.map_or_else(String::new, |p| format!("{p:.3}")),
            );
        }
    }
    out
}

/// A number with its standard error.
pub fn shown(number: &Number) -> String {
    match number.standard_error {
        Some(standard_error) => format!("{:.4} \u{b1} {standard_error:.4}", number.value),
        None => format!("{:.4}", number.value),
    }
}
