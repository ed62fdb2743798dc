//! Scores of texts are those of the Python packages (`tests/oracles/eval/scores.py`).

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    bertscore::{BertScore, Settings},
    metrics::rouge,
};

fn oracles() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/oracles"))
}

fn oracle() -> Value {
    let text = fs::read_to_string(oracles().join("eval/scores.json")).unwrap_or_else(|e| panic!("{e}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}"))
}

/// Answers and targets.
fn pairs(list: &Value) -> Vec<(&str, &str)> {
    let all = list.as_array().map_or(&[][..], Vec::as_slice);
    all.iter().map(|pair| (pair[0].as_str().unwrap_or_default(), pair[1].as_str().unwrap_or_default())).collect()
}

fn numbers(row: &Value) -> Vec<f64> {
    row.as_array().into_iter().flatten().map(|x| x.as_f64().unwrap_or(f64::NAN)).collect()
}

#[test]
fn rouge_is_that_of_rouge_score() {
    let oracle = oracle();
    let pairs = pairs(&oracle["pairs"]);
    assert_eq!(pairs.len(), 200);
    for (name, tokens) in [("rouge", rouge::tokens as fn(&str) -> Vec<String>), ("rouge_words", rouge::words)] {
        for (i, (answer, target)) in pairs.iter().enumerate() {
            let found = rouge::score(&tokens(target), &tokens(answer));
            let found: Vec<f64> = found.iter().flat_map(|score| [score.precision, score.recall, score.f]).collect();
            let expected = numbers(&oracle[name][i]);
            assert_eq!(expected.len(), 9);
            let near = found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6);
            assert!(near, "{name} of {answer:?} and {target:?}: {found:?}, and not {expected:?}");
        }
    }
}

/// Hold BERTScore of some pairs against what the package says, to within `off`.
fn is_that_of_bert_score(model: &Path, expected: &Value, pairs: &[(&str, &str)], off: f64) {
    let layer = expected["layer"].as_u64().and_then(|layer| usize::try_from(layer).ok());
    let idf = expected["idf"].as_bool().unwrap_or_default();
    let bert = BertScore::open(&Settings { model: model.to_owned(), layer, idf }).unwrap_or_else(|e| panic!("{e}"));
    let found = bert.scores(pairs, &()).unwrap_or_else(|e| panic!("{e}"));
    assert!(!found.is_empty());
    for (i, (found, pair)) in found.iter().zip(pairs).enumerate() {
        let expected = numbers(&expected["scores"][i]);
        assert_eq!(expected.len(), 3);
        let near = found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < off);
        assert!(near, "{} {layer:?} {idf}: {pair:?}: {found:?}, and not {expected:?}", model.display());
    }
}

#[test]
fn bertscore_is_that_of_bert_score() {
    let oracle = oracle();
    let pairs = pairs(&oracle["short"]);
    let runs = oracle["bertscore"].as_array().map_or(&[][..], Vec::as_slice);
    assert_eq!((runs.len(), pairs.len()), (8, 200));
    for run in runs {
        let model = oracles().join("semantic").join(run["model"].as_str().unwrap_or_default());
        is_that_of_bert_score(&model, run, &pairs, 2e-6);
    }
    // Of a text without words of its own all is 0.
    let settings = Settings { model: oracles().join("semantic/bert"), layer: Some(1), idf: false };
    let bert = BertScore::open(&settings).unwrap_or_else(|e| panic!("{e}"));
    let none = bert.scores(&[("", "casa"), ("casa", " ")], &()).unwrap_or_else(|e| panic!("{e}"));
    assert!(none.iter().flatten().all(|x| x.to_bits() == 0), "{none:?}");
    // A model that nobody has measured needs to be told its layer.
    let why = BertScore::open(&Settings { layer: None, ..settings }).map(|_| ()).unwrap_err().to_string();
    assert!(why.contains("--bertscore-layer"), "{why}");
}

#[test]
#[ignore = "needs the real models"]
fn bertscore_of_a_published_model_is_that_of_bert_score() {
    let home = || PathBuf::from(std::env::var("HOME").unwrap_or_default()).join(".cache/setaccio-assets");
    let minilm = std::env::var_os("SETACCIO_ASSETS").map_or_else(home, PathBuf::from).join("minilm");
    let oracle = oracle();
    let pairs = pairs(&oracle["pairs"]);
    for run in oracle["minilm"].as_array().into_iter().flatten() {
        is_that_of_bert_score(&minilm, run, &pairs[..40], 1e-4);
    }
    // Figures of another run of the package, with its own sentences.
    let own = [
        ("La capitale d'Italia \u{e8} Roma.", "Roma \u{e8} la capitale d'Italia."),
        ("Il gatto dorme sul divano perch\u{e9} \u{e8} stanco.", "Un cane dorme sul tappeto."),
        ("S\u{ec}.", "No, non \u{e8} vero."),
    ];
    let bert =
        BertScore::open(&Settings { model: minilm, layer: Some(4), idf: false }).unwrap_or_else(|e| panic!("{e}"));
    let found = bert.scores(&own, &()).unwrap_or_else(|e| panic!("{e}"));
    let expected = [
        [0.959_398_6, 0.959_398_7, 0.959_398_6],
        [0.688_778, 0.730_807_8, 0.709_170_7],
        [0.599_825_3, 0.434_315_3, 0.503_825_7],
    ];
    for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
        assert!((found - expected).abs() < 1e-4, "{found} {expected}");
    }
}
