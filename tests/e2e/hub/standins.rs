//! Stand-ins for published sets, in their real file layout: rows of ../shared/data where that folder is, else of
//! the bundled samples.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::lab::{Dice, ROOT};

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

/// Italian pages in mC4's layout, as many gzip files as the real set has: names and contents.
pub fn web(files: usize, rows: usize) -> Vec<(String, Vec<u8>)> {
    let mut dice = Dice(41);
    let file = |i: usize| {
        let mut lines = String::new();
        for row in 0..rows {
            let text = format!("{}\n{}", dice.text(), dice.text());
            let row = json!({ "text": text, "url": format!("https://x.example/{i}/{row}"), "timestamp": "2019-04-21T10:07:13Z" });
            lines += &row.to_string();
            lines.push('\n');
        }
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(lines.as_bytes()).unwrap();
        (format!("clean_mc4_it/c4-it.tfrecord-{i:05}-of-{files:05}.json.gz"), gz.finish().unwrap())
    };
    (0..files).map(file).collect()
}

/// A bundled sample.
pub fn sample(name: &str) -> Vec<u8> {
    fs::read(Path::new(ROOT).join("data/samples").join(name)).unwrap()
}
