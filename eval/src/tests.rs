//! Scores are those of the Python packages (`tests/oracles/eval/scores.py`, `tests/oracles/eval/auc.py`).

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    bertscore::{BertScore, Settings},
    metrics::{self, Answered, Chosen, rouge},
    questions::{Asked, Prompt},
    recipe::Task,
    scorer::Score,
};

fn oracles() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/oracles"))
}

fn told(file: &str) -> Value {
    let text = fs::read_to_string(oracles().join("eval").join(file)).unwrap_or_else(|e| panic!("{e}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}"))
}

fn oracle() -> Value {
    told("scores.json")
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

#[test]
fn areas_are_those_of_scikit_learn() {
    let oracle = told("auc.json");
    let task: Task = toml::from_str(
        "name = 'ami'\ntitle = ''\nmetrics = ['auc', 'bias_auc']\ndata.path = 'rows.tsv'\n[choice]\nprompt = '{{ text }}'\n\
         choices = ['no', 'yes']\nanswer = '{{ label }}'\ngroups = { text = '{{ text }}', terms = ['a', 'b', 'c'] }",
    )
    .unwrap_or_else(|e| panic!("{e}"));
    let choices = ["no", "yes"].map(str::to_owned);
    let rows = oracle["rows"].as_array().map_or(&[][..], Vec::as_slice).iter().map(|row| {
        let right = Some(usize::from(row[0] == true));
        let terms = row[1].as_array().into_iter().flatten().map(|has| has == true).collect();
        let sums = [-3.0, row[2].as_f64().unwrap_or(f64::NAN) - 3.0];
        let scores = sums.map(|sum| Score { sum, tokens: 1, greedy: false });
        let answered = Answered::Chosen(Chosen::new((&choices, right, &[]), &scores));
        let contexts = vec![Prompt::Text(String::new()); 2];
        let (continuations, choices) = (choices.to_vec(), choices.to_vec());
        (Asked::Choice { contexts, continuations, choices, right, truths: Vec::new(), terms }, answered)
    });
    let (asked, answers): (Vec<Asked>, Vec<Answered>) = rows.unzip();
    let asked: Vec<&Asked> = asked.iter().collect();
    let measures = metrics::measures(&task, &asked, &answers).unwrap_or_else(|e| panic!("{e}"));
    let names: Vec<&str> = measures.iter().map(|measure| measure.name.as_str()).collect();
    assert_eq!((asked.len(), names), (200, vec!["auc", "auc_subgroup", "auc_bpsn", "auc_bnsp"]));
    for measure in &measures {
        let (found, expected) = (measure.items.all(), oracle[&measure.name].as_f64().unwrap_or(f64::NAN));
        assert!((found - expected).abs() < 1e-12, "{}: {found}, and not {expected}", measure.name);
        // A row that is there twice counts twice.
        let twice = measure.items.value((0..200).chain(0..200));
        assert!((twice - expected).abs() < 1e-12, "{}: {twice}", measure.name);
    }
    // Without the negative rows that have the first term there is nothing to compare.
    let some: Vec<&Asked> = asked
        .iter()
        .copied()
        .filter(|asked| !matches!(asked, Asked::Choice { right: Some(0), terms, .. } if terms[0]))
        .collect();
    let why = metrics::check(&task, &some).unwrap_err();
    assert!(why.contains("the term `a`"), "{why}");
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
