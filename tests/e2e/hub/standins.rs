//! Stand-ins for published sets, in their real file layout: rows of the bundled samples.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    fixture::{ROOT, TestRng},
    sources::gzip,
};

/// A JSON array of at least so many bytes; every round of rows is told apart by a number.
pub fn array(bytes: usize) -> Vec<u8> {
    let rows: Vec<Value> = serde_json::from_slice(&sample("alpaca_orca.json")).unwrap();
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

fn page(text: &str, url: &str) -> String {
    json!({ "text": text, "timestamp": "2019-04-21T10:07:13Z", "url": url }).to_string() + "\n"
}

/// Pages in the layout of clean_mc4_it: so many gzip files of `rows` rows, under the names that the real set has, and its
/// eight files of validation. Every twentieth page is English or a copy of one in another file.
pub fn web(files: usize, rows: usize) -> Vec<(String, Vec<u8>)> {
    let mut rng = TestRng(41);
    let sentences: Vec<String> = (0..300).map(|_| rng.text()).collect();
    let english =
        "This page is in English, and so are all of its sentences, whoever may have put it among the others. ";
    let mut file = |name: String, first: usize| {
        let mut lines = String::new();
        for row in first..first + rows {
            let text: Vec<&str> =
                (0..3 + rng.below(6)).map(|_| sentences[rng.below(sentences.len())].as_str()).collect();
            let text = match row % 40 {
                7 => english.repeat(3),
                23 => "Questa pagina si trova in molti luoghi, e rng dappertutto la stessa cosa. ".repeat(4),
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

/// Files in the layout of mC4: so many of Italian, beside one named as of French and one of the Italian validation. Each
/// has the pages of the sample and one of its own.
pub fn raw(files: usize) -> Vec<(String, Vec<u8>)> {
    let italian = (0..files).map(|i| format!("c4-it.tfrecord-{i:05}-of-{files:05}"));
    let others = ["c4-fr.tfrecord-00000-of-02048", "c4-it-validation.tfrecord-00000-of-00004"].map(str::to_owned);
    let file = |name: String| {
        let own = gzip(page("Questa pagina non si trova altrove.", &format!("https://x.example/{name}")).as_bytes());
        (format!("multilingual/{name}.json.gz"), [sample("clean_mc4_it.json.gz"), own].concat())
    };
    italian.chain(others).map(file).collect()
}

/// The evaluation sets that the program knows, one file each, where their repositories have it.
pub const EVALUATIONS: [(&str, &str, &str); 12] = [
    ("arc", "allenai/ai2_arc", "ARC-Challenge/test-00000-of-00001.parquet"),
    ("hellaswag", "Rowan/hellaswag", "data/validation-00000-of-00001.parquet"),
    ("mmlu", "cais/mmlu", "all/test-00000-of-00001.parquet"),
    ("gsm8k", "openai/gsm8k", "main/test-00000-of-00001.parquet"),
    ("truthfulqa", "truthfulqa/truthful_qa", "generation/validation-00000-of-00001.parquet"),
    ("winogrande", "allenai/winogrande", "winogrande_xl/validation-00000-of-00001.parquet"),
    ("arc-it", "alexandrainst/m_arc", "data/it/test.jsonl"),
    ("hellaswag-it", "alexandrainst/m_hellaswag", "data/it/val.jsonl"),
    ("mmlu-it", "alexandrainst/m_mmlu", "data/it/test.jsonl"),
    ("gsm8k-it", "sapienzanlp/gsm8k_italian", "gsm8k.test.json"),
    ("truthfulqa-it", "alexandrainst/m_truthfulqa", "data/it/val.jsonl"),
    ("winogrande-it", "sapienzanlp/winogrande_italian", "winogrande_xl.validation.json"),
];

/// A bundled sample.
pub fn sample(name: &str) -> Vec<u8> {
    fs::read(Path::new(ROOT).join("data/samples").join(name)).unwrap()
}
