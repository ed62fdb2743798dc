//! Templates render as jinja2 renders them (tests/oracles/chat_templates.py).

use std::fs;

use arrow_array::{cast::AsArray, types::Int32Type};
use serde_json::{Value, json};

use crate::fixture::{Fixture, ROOT, assert_snapshot, column};

/// A template of the repository.
fn template(name: &str) -> String {
    fs::read_to_string(format!("{ROOT}/pipelines/templates/{name}")).unwrap()
}

#[test]
fn every_template_renders_as_jinja2_does() {
    let text = fs::read_to_string(format!("{ROOT}/tests/oracles/chat_templates.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    for case in &cases {
        let name = case["template"].as_str().unwrap();
        let settings = format!("[output]\ntemplate = '{name}'\nrendered = 'rendered'\n");
        let (fixture, row) = match case.get("text") {
            Some(text) => (Fixture::text(&settings), json!({ "text": text })),
            None => (Fixture::new("chat", &[("web", "messages")], &settings), json!({ "messages": case["messages"] })),
        };
        fixture.write("data/web/x.jsonl", row.to_string());
        fixture.write(name, template(name));
        fixture.build("out", &[]).assert_success();
        let rendered = column(&fixture.path("out/data"), "train", "rendered");
        assert_eq!(rendered, [case["rendered"].as_str().unwrap()], "{name}, {}", case["case"]);
    }
    let there = fs::read_dir(format!("{ROOT}/pipelines/templates")).unwrap().count();
    let tried: std::collections::BTreeSet<&str> = cases.iter().filter_map(|c| c["template"].as_str()).collect();
    assert_eq!(tried.len(), there, "a template that the oracle has not seen");
}

#[test]
fn a_template_that_refuses_a_row_is_an_error_that_names_it() {
    let fixture = Fixture::new("chat", &[("web", "messages")], "[output]\ntemplate = 'llama2.jinja'\n");
    fixture.write("llama2.jinja", template("llama2.jinja"));
    let row = |role: &str| json!({"messages": [{"role": "user", "content": "a"}, {"role": role, "content": "b"}]});
    fixture.write("data/web/x.jsonl", format!("{}\n{}\n", row("assistant"), row("tool")));
    assert_snapshot("templates-a_row_that_is_refused", fixture.build("out", &[]).assert_failure());
    fixture.build("out", &["--on-bad-row", "skip"]).assert_success();
    assert_eq!(fixture.ids("out", "train").len(), 1);
    assert_eq!(column(&fixture.path("out/rejects"), "", "rule"), ["output"]);
}

#[test]
fn a_template_that_asks_for_the_date_gets_the_recipes() {
    let template = "{{ strftime_now('%d %b %Y') }}{% for m in messages %}|{{ m.content }}{% endfor %}";
    let settings = "[output]\ntemplate = 'dated.jinja'\n";
    let fixture = Fixture::new("chat", &[("web", "messages")], settings);
    fixture.write("dated.jinja", template);
    let turns = json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]});
    fixture.write("data/web/x.jsonl", turns.to_string());
    assert_snapshot("templates-no_date", fixture.build("out", &[]).assert_failure());
    assert_snapshot("templates-wrong_date", fixture.build("out", &["--set", "output.date=31/1/2026"]).assert_failure());
    fixture.build("out", &["--set", "output.date=2026-01-31"]).assert_success();
    assert_eq!(column(&fixture.path("out/data"), "train", "text"), ["31 Jan 2026|a|b"]);
    let lock = fs::read_to_string(fixture.path("out/recipe.lock.toml")).unwrap();
    assert!(lock.contains("date = \"2026-01-31\""), "{lock}");
    let card = fs::read_to_string(fixture.path("out/README.md")).unwrap();
    assert!(card.contains("takes 2026-01-31 for the day"), "{card}");
}

#[test]
fn a_template_saved_on_windows_writes_no_carriage_returns() {
    let fixture = Fixture::new("chat", &[("web", "messages")], "[output]\ntemplate = 'crlf.jinja'\n");
    fixture.write("crlf.jinja", "{% for m in messages %}\r\n<{{ m.role }}>\r\n{{ m.content }}\r\n{% endfor %}\r\n");
    // The row's own stay.
    fixture.write("data/web/x.jsonl", json!({"messages": [{"role": "user", "content": "a\r\nb"}]}).to_string());
    fixture.build("out", &[]).assert_success();
    assert_eq!(column(&fixture.path("out/data"), "train", "text"), ["<user>\na\r\nb\n"]);
}

/// A tokenizer whose every word and mark is one token.
const TOKENIZER: &str = r#"{
  "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null, "decoder": null,
  "added_tokens": [{"id": 1, "content": "<|begin_of_text|>", "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": true},
                   {"id": 2, "content": "<|eot_id|>", "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": true}],
  "pre_tokenizer": {"type": "Whitespace"},
  "model": {"type": "WordLevel", "vocab": {"[UNK]": 0}, "unk_token": "[UNK]"}
}"#;

#[test]
fn tokens_are_counted_in_the_rendered_text() {
    let output = "[output]\ntemplate = 'text-llama3.jinja'\nrendered = 'rendered'\ntokenizer = 'tokenizer.json'\n";
    let fixture = Fixture::text(&format!("[[filter]]\nrule = 'length'\nmax_tokens = 6\n{output}"));
    fixture.write("tokenizer.json", TOKENIZER);
    fixture.write("text-llama3.jinja", template("text-llama3.jinja"));
    let rows = ["Il gatto dorme.", "Uno due tre quattro cinque sei sette."].map(|t| json!({"text": t}).to_string());
    fixture.write("data/web/x.jsonl", rows.join("\n"));
    fixture.build("out", &[]).assert_success();
    let batch = crate::fixture::batches(&fixture.path("out/data"), "train").pop().unwrap();
    let tokens = batch.column_by_name("tokens").unwrap().as_primitive::<Int32Type>().clone();
    // Four of the sentence, and the two that the template writes; the rule counts the text as it was read.
    assert_eq!((tokens.len(), tokens.value(0)), (1, 6));
    let details = column(&fixture.path("out/rejects"), "screen", "detail");
    assert!(details[0].contains('8'), "{details:?}");
    let card = fs::read_to_string(fixture.path("out/README.md")).unwrap();
    assert!(card.contains("| train | tokens | 6"), "{card}");
    fixture.write("tokenizer.json", "{}");
    assert_snapshot("templates-no_tokenizer", fixture.build("out", &[]).assert_failure());
}
