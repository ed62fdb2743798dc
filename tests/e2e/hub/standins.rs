//! Stand-ins for published sets, in their real file layout: rows of ../shared/data where that folder is, else of
//! the bundled samples.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_array::{Array, ArrayRef, ListArray, StringArray, StructArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field};
use parquet::basic::Compression;
use serde_json::{Value, json};

use crate::{
    lab::{Dice, ROOT},
    sources::{gzip, parquet},
};

/// ../shared/data, beside the repository or a work tree of it.
fn shared() -> Option<PathBuf> {
    let here = Path::new(ROOT).ancestors().map(|p| p.join("shared/data"));
    here.into_iter().find(|p| p.join("alpaca_en_demo.json").is_file())
}

/// Real instruction rows under the system prompts of Orca.
fn orca_rows() -> Vec<Value> {
    let rows = |path: PathBuf| -> Vec<Value> { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let Some(shared) = shared() else {
        println!("skipped: there is no ../shared/data; the rows are those of the samples");
        return rows(Path::new(ROOT).join("data/samples/alpaca_orca.json"));
    };
    let mut all = rows(shared.join("alpaca_en_demo.json"));
    for row in &mut all {
        row["system"] = "You are an AI assistant. Think step by step and justify your answer.".into();
    }
    all
}

/// A JSON array of at least so many bytes; every round of rows is told apart by a number.
pub fn array(bytes: usize) -> Vec<u8> {
    let rows = orca_rows();
    let mut out = b"[\n".to_vec();
    let mut round = 0;
    while out.len() < bytes {
        for row in &rows {
            let mut row = row.clone();
            row["instruction"] = format!("{}. {}", round + 1, row["instruction"].as_str().unwrap_or_default()).into();
            serde_json::to_writer(&mut out, &row).unwrap();
            out.extend_from_slice(b",\n");
        }
        round += 1;
    }
    out.truncate(out.len() - 2);
    out.extend_from_slice(b"\n]\n");
    out
}

/// Preference pairs in the layout of orpo-dpo-mix-40k 1.2, one Parquet file of several row groups: real pairs, each
/// `rounds` times and told apart by a number; every ninth is of the part that is left out.
pub fn pairs(rounds: usize) -> Vec<u8> {
    let Some(shared) = shared() else { return sample("orpo_dpo_mix_40k.parquet") };
    let rows: Vec<Value> = serde_json::from_slice(&fs::read(shared.join("dpo_en_demo.json")).unwrap()).unwrap();
    let text = |v: &Value| v["value"].as_str().unwrap_or_default().to_owned();
    let (mut source, mut prompts) = (Vec::new(), Vec::new());
    let mut sides: [Vec<Vec<(String, &str)>>; 2] = [Vec::new(), Vec::new()];
    for (i, (round, row)) in (0..rounds).flat_map(|round| rows.iter().map(move |row| (round, row))).enumerate() {
        source.push(if i % 9 == 0 { "toxic-dpo-v0.2" } else { "argilla/ultrafeedback-binarized-preferences-cleaned" });
        let mut turns: Vec<(String, &str)> = Vec::new();
        for turn in row["conversations"].as_array().unwrap() {
            turns.push((text(turn), if turn["from"] == "human" { "user" } else { "assistant" }));
        }
        turns[0].0 = format!("{}. {}", round + 1, turns[0].0);
        prompts.push(turns[turns.len() - 1].0.clone());
        for (side, key) in sides.iter_mut().zip(["chosen", "rejected"]) {
            side.push(turns.iter().cloned().chain([(text(&row[key]), "assistant")]).collect());
        }
    }
    let strings = |values: &[String]| -> ArrayRef { Arc::new(StringArray::from_iter_values(values)) };
    let [chosen, rejected] = sides.map(|side| messages(&side));
    let columns = vec![
        ("source", Arc::new(StringArray::from(source)) as ArrayRef),
        ("chosen", chosen),
        ("rejected", rejected),
        ("prompt", strings(&prompts)),
        ("question", strings(&prompts)),
    ];
    parquet(columns, Compression::SNAPPY, 500)
}

/// A column of lists of `{content, role}`.
fn messages(rows: &[Vec<(String, &str)>]) -> ArrayRef {
    let all = || rows.iter().flatten();
    let content: ArrayRef = Arc::new(StringArray::from_iter_values(all().map(|(text, _)| text)));
    let role: ArrayRef = Arc::new(StringArray::from_iter_values(all().map(|(_, role)| role)));
    let field = |name: &str| Arc::new(Field::new(name, DataType::Utf8, true));
    let turns = StructArray::from(vec![(field("content"), content), (field("role"), role)]);
    let item = Arc::new(Field::new("item", turns.data_type().clone(), true));
    let lengths = OffsetBuffer::from_lengths(rows.iter().map(Vec::len));
    Arc::new(ListArray::new(item, lengths, Arc::new(turns), None))
}

/// Sentences to put together into pages: those of ISDT, paragraphs of the Italian handbook.
fn sentences() -> Vec<String> {
    let Some(shared) = shared() else {
        let mut dice = Dice(3);
        return (0..300).map(|_| dice.text()).collect();
    };
    let mut found: Vec<String> =
        fs::read_to_string(shared.join("isdt_dev.txt")).unwrap().lines().map(str::to_owned).collect();
    for row in handbook().iter().filter(|row| row["lang"] == "it") {
        let lines = row["text"].as_str().unwrap_or_default().lines();
        found.extend(lines.filter(|l| l.len() > 200 && l.len() < 600).map(str::to_owned));
    }
    found
}

/// The pages of the handbook in all their languages.
fn handbook() -> Vec<Value> {
    let Some(shared) = shared() else { return Vec::new() };
    let packed = fs::File::open(shared.join("handbook.json.gz")).unwrap();
    let lines = BufReader::new(flate2::read::MultiGzDecoder::new(packed)).lines();
    lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
}

fn page(text: &str, url: &str) -> String {
    json!({ "text": text, "timestamp": "2019-04-21T10:07:13Z", "url": url }).to_string() + "\n"
}

/// Pages in the layout of clean_mc4_it: so many gzip files of `rows` rows, under the names that the real set has, and its
/// eight files of validation. Every twentieth page is English or a copy of one in another file.
pub fn web(files: usize, rows: usize) -> Vec<(String, Vec<u8>)> {
    let (mut dice, sentences) = (Dice(41), sentences());
    let english =
        "This page is in English, and so are all of its sentences, whoever may have put it among the others. ";
    let mut file = |name: String, first: usize| {
        let mut lines = String::new();
        for row in first..first + rows {
            let text: Vec<&str> =
                (0..3 + dice.roll(6)).map(|_| sentences[dice.roll(sentences.len())].as_str()).collect();
            let text = match row % 40 {
                7 => english.repeat(3),
                23 => "Questa pagina si trova in molti luoghi, e dice dappertutto la stessa cosa. ".repeat(4),
                _ => format!("{}\n{}", row, text.join("\n")),
            };
            lines += &page(&text, &format!("https://x.example/{row}"));
        }
        (format!("clean_mc4_it/c4-it{name}.json.gz"), gzip(lines.as_bytes()))
    };
    let train = (0..files).map(|i| (format!(".tfrecord-{i:05}-of-{files:05}"), i * rows));
    let held = (0..8).map(|i| (format!("-validation.tfrecord-{i:05}-of-00008"), (files + i) * rows));
    train.chain(held).map(|(name, first)| file(name, first)).collect()
}

/// Raw pages in the layout of mC4: `files` of Italian, in which some pages are of other languages, beside those of
/// French and of the Italian validation.
pub fn raw(files: usize) -> Vec<(String, Vec<u8>)> {
    let pages = handbook();
    let of = |some: &mut dyn Iterator<Item = &Value>| -> Vec<u8> {
        let lines: String = some.map(|row| page(row["text"].as_str().unwrap(), row["url"].as_str().unwrap())).collect();
        if lines.is_empty() { sample("clean_mc4_it.json.gz") } else { gzip(lines.as_bytes()) }
    };
    let italian = |row: &&Value| row["lang"] == "it" || row["lang"] == "ro";
    let part = |i: usize| {
        (
            format!("multilingual/c4-it.tfrecord-{i:05}-of-{files:05}.json.gz"),
            of(&mut pages.iter().filter(italian).skip(i).step_by(files)),
        )
    };
    let other = |name: &str| {
        (format!("multilingual/{name}.json.gz"), of(&mut pages.iter().filter(|r| r["lang"] == "fr").take(9)))
    };
    let others = ["c4-fr.tfrecord-00000-of-02048", "c4-it-validation.tfrecord-00000-of-00004"].map(other);
    (0..files).map(part).chain(others).collect()
}

/// A bundled sample.
pub fn sample(name: &str) -> Vec<u8> {
    fs::read(Path::new(ROOT).join("data/samples").join(name)).unwrap()
}
