//! What differs between two builds; `tests/python/check_report.py` counts the same by pyarrow.

use std::{collections::BTreeMap, fs};

use arrow_array::{Array, cast::AsArray};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use crate::fixture::{Fixture, assert_snapshot, setaccio};

/// Rows of a source, by their texts.
fn lines(texts: &[&str]) -> String {
    texts.iter().flat_map(|text| [json!({ "text": text }).to_string(), "\n".into()]).collect()
}

const CAT: &str = "Il gatto dorme al sole.";
const DOG: &str = "Il cane abbaia di notte.";
const SEA: &str = "Il mare è calmo.";
const RAIN: &str = "Piove da tre giorni sulla costa.";

/// Two builds: in the second the rule is stricter, a row is new, and the second source has another language.
fn two() -> Fixture {
    let settings = "[[filter]]\nrule = 'length'\nmin_chars = 10\n[dedup]\n";
    let fixture = Fixture::new("text", &[("web", "text"), ("forum", "text")], settings);
    fixture.write("data/web/a.jsonl", lines(&[CAT, SEA, CAT, "Breve."]));
    fixture.write("data/forum/a.jsonl", lines(&[DOG]));
    fixture.build("a", &[]).assert_success();
    let recipe = fs::read_to_string(fixture.path("recipe.toml")).unwrap();
    let recipe = recipe.replace("min_chars = 10", "min_chars = 20");
    let (web, forum) = recipe.split_once("[[source]]\nname = 'forum'").unwrap();
    let forum = forum.replace("language = 'it'", "language = 'en'");
    fixture.write("recipe.toml", format!("{web}[[source]]\nname = 'forum'{forum}"));
    fixture.write("data/web/a.jsonl", lines(&[CAT, SEA, RAIN]));
    fixture.build("b", &[]).assert_success();
    fixture
}

fn compare(fixture: &Fixture, a: &str, b: &str, args: &[&str]) -> crate::fixture::Run {
    let [a, b] = [a, b].map(|name| fixture.path(name).to_str().unwrap().to_owned());
    setaccio(&[&["compare", &a, &b], args].concat())
}

#[test]
fn rows_settings_and_inputs_that_differ_are_told() {
    let fixture = two();
    let said = compare(&fixture, "a", "b", &["--json"]).assert_success().stdout;
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["rows"], json!({"same": 1, "added": 1, "removed": 1, "changed": 1}));
    assert_eq!(said["sources"]["forum"], json!({"same": 0, "added": 0, "removed": 0, "changed": 1}));
    assert_eq!(
        said["fates"],
        json!([
            {"stage": "screen", "rule": "length", "added": 0, "removed": 1},
            {"stage": "", "rule": "", "added": 1, "removed": 0},
        ])
    );
    assert_eq!(said["changes"], json!({"columns": 1}));
    assert_snapshot("compare", compare(&fixture, "a", "b", &[]).assert_success().stdout);
    assert_snapshot("compare-same", compare(&fixture, "a", "a", &[]).assert_success().stdout);
}

#[test]
fn the_rows_themselves_are_a_parquet_file() {
    let fixture = two();
    let rows = fixture.path("rows.parquet");
    compare(&fixture, "a", "b", &["--rows", rows.to_str().unwrap()]).assert_success();
    let mut found: BTreeMap<String, Vec<[Option<String>; 4]>> = BTreeMap::new();
    let batches = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(&rows).unwrap()).unwrap().build().unwrap();
    for batch in batches.map(Result::unwrap) {
        let text = |name: &str, i: usize| {
            let column = batch.column_by_name(name).unwrap().as_string::<i32>();
            column.is_valid(i).then(|| column.value(i).to_owned())
        };
        for i in 0..batch.num_rows() {
            let row = ["build", "rule", "language", "text"].map(|name| text(name, i));
            found.entry(text("change", i).unwrap()).or_default().push(row);
        }
    }
    let row = |build: &str, rule: Option<&str>, language: &str, text: &str| {
        [Some(build), rule, Some(language), Some(text)].map(|value| value.map(str::to_owned))
    };
    let expected = [
        ("added", vec![row("b", None, "it", RAIN)]),
        ("changed", vec![row("a", None, "it", DOG), row("b", None, "en", DOG)]),
        ("removed", vec![row("a", Some("length"), "it", SEA)]),
    ];
    assert_eq!(found, expected.map(|(what, rows)| (what.to_owned(), rows)).into());
    let again = fs::read(&rows).unwrap();
    compare(&fixture, "a", "b", &["--rows", rows.to_str().unwrap()]).assert_success();
    assert_eq!(fs::read(&rows).unwrap(), again);
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let fixture = two();
    let chats = Fixture::new("chat", &[("chats", "messages")], "");
    let turn = |role: &str, text: &str| json!({"role": role, "content": text});
    let chat = json!({"messages": [turn("user", "Piove?"), turn("assistant", "Sì, da ieri.")]});
    chats.write("data/chats/a.jsonl", format!("{chat}\n"));
    chats.build("out", &[]).assert_success();
    let [a, b] = [fixture.path("a"), chats.path("out")];
    let said = setaccio(&["compare", a.to_str().unwrap(), b.to_str().unwrap()]).assert_failure();
    assert!(said.contains("of kind text") && said.contains("of kind chat"), "{said}");
    let said = setaccio(&["compare", a.to_str().unwrap(), fixture.path("nowhere").to_str().unwrap()]).assert_failure();
    assert!(said.contains("there is no such folder"), "{said}");
    // What is nothing at all is not called a build, beside what is a run, too.
    fixture.write("run/run.lock.toml", "");
    fixture.write("empty/notes.txt", "");
    for (a, b) in [("run", "empty"), ("empty", "run"), ("a", "empty")] {
        let said = compare(&fixture, a, b, &[]).assert_failure();
        assert!(said.contains("empty: holds no build, no run and no chain: there is no ledger.json"), "{said}");
    }
    let said = compare(&fixture, "nowhere", "run", &[]).assert_failure();
    assert!(said.contains("nowhere: is not there: there is no such folder"), "{said}");
    let rows = fixture.path("no/such/folder/rows.parquet");
    let said = compare(&fixture, "a", "b", &["--rows", rows.to_str().unwrap()]).assert_failure();
    assert!(said.contains("rows.parquet") || said.contains("no/such/folder"), "{said}");
}
