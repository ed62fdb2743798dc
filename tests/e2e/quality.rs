//! Measures of quality in an output: columns that shards and card name, the same whatever the work is divided into; and what is
//! said of rows that a rule of quality drops.

use std::fs;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};

use crate::fixture::{Fixture, batches, column, setaccio};

fn fixture(settings: &str) -> Fixture {
    let more = "[read]\ntask_bytes = 400\n";
    let fixture = Fixture::new("text", &[("a", "text")], &[settings, more].concat());
    let rows: Vec<String> = (0..40)
        .map(|i| {
            let text = format!("La fiera numero {i} si apre di sabato in piazza. ").repeat(1 + i % 4);
            serde_json::json!({ "text": text.trim_end(), "gopher_quality_words": 7 }).to_string()
        })
        .collect();
    fixture.write("data/a/x.jsonl", rows.join("\n"));
    fixture
}

const SIGNALS: &str =
    "[[filter]]\nrule = 'gopher_quality'\nsignals = true\n[[filter]]\nrule = 'gopher_repetition'\nsignals = true\n";

#[test]
fn measures_are_columns_of_shards_and_card_and_the_same_however_the_work_is_divided() {
    let fixture = fixture(SIGNALS);
    fixture.build("out", &["--jobs", "1"]).assert_success();
    for batch in batches(&fixture.path("out/data"), "train") {
        let texts = batch.column_by_name("text").unwrap().as_string::<i32>();
        let words = batch.column_by_name("gopher_quality_words").unwrap().as_primitive::<Int64Type>();
        let top = batch.column_by_name("gopher_repetition_duplicate_9gram").unwrap().as_primitive::<Float64Type>();
        for i in 0..batch.num_rows() {
            let text = texts.value(i);
            assert_eq!(words.value(i), i64::try_from(text.split(' ').count()).unwrap());
            // A sentence of nine words is a run of nine that is there again, or it is there once.
            let again = text.matches("fiera").count() > 1;
            assert_eq!(top.value(i).to_bits(), f64::from(u8::from(again)).to_bits(), "{text}");
        }
    }
    assert_eq!(column(&fixture.path("out/data"), "train", "id").len(), 40);
    let card = fs::read_to_string(fixture.path("out/README.md")).unwrap();
    assert!(card.contains("- name: gopher_quality_words\n    dtype: int64"), "{card}");
    assert!(card.contains("- name: gopher_repetition_top_2gram\n    dtype: float64"), "{card}");
    assert!(card.contains("`gopher_quality_stop_words`"), "{card}");
    fixture.build("two", &["--jobs", "2", "--set", "read.task_bytes=100000"]).assert_success();
    let files = |out: &str| {
        let mut files = fixture.published(out);
        files.retain(|name, _| name.starts_with("data/"));
        files
    };
    assert_eq!(files("out"), files("two"));
    setaccio(&["verify", fixture.path("out").to_str().unwrap()]).assert_success();
    // Its lock builds it again.
    let lock = fixture.path("out/recipe.lock.toml");
    let again = fixture.path("again");
    let from = fixture.path("data");
    let args = ["build", lock.to_str().unwrap(), "--from", from.to_str().unwrap(), "--out", again.to_str().unwrap()];
    setaccio(&args).assert_success();
    assert_eq!(files("out"), files("again"));
}

#[test]
fn a_dropped_row_says_which_measure_and_its_bound() {
    let fixture = fixture("[[filter]]\nrule = 'gopher_repetition'\n");
    fixture.build("out", &[]).assert_success();
    let details = column(&fixture.path("out/rejects"), "", "detail");
    assert_eq!(details.len(), 30);
    assert!(details.iter().all(|detail| detail.starts_with("top_") && detail.contains(", at most 0.")), "{details:?}");
    let why = setaccio(&["why", fixture.path("out").to_str().unwrap(), "x.jsonl:1"]).assert_success();
    assert!(why.stdout.contains("gopher_repetition") && why.stdout.contains("top_3gram"), "{}", why.stdout);
}

#[test]
fn a_column_that_the_output_has_as_something_else_is_no_measure() {
    let fixture = fixture(SIGNALS);
    for kind in ["string", "int64"] {
        let keep = format!("output.keep.gopher_quality_words='{kind}'");
        let said = fixture.build("out", &["--set", &keep]).assert_failure();
        assert!(said.contains("a filter writes the column `gopher_quality_words`"), "{said}");
    }
    // Nor does it take the place of a column that every row has.
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracles/language/tiny.ftz");
    let filter = "filter=[{rule='classifier', model='MODEL', label='it', signals=true, column='id'}]";
    let said = fixture.build("out", &["--set", &filter.replace("MODEL", model)]).assert_failure();
    assert!(said.contains("output column `id` would hide one that every row has"), "{said}");
}
