//! Templates render as jinja2 renders them (tests/oracles/chat_templates.py).

use std::fs;

use serde_json::{Value, json};

use crate::lab::{Lab, ROOT, column};

#[test]
fn every_template_renders_as_jinja2_does() {
    let text = fs::read_to_string(format!("{ROOT}/tests/oracles/chat_templates.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    for case in &cases {
        let name = case["template"].as_str().unwrap();
        let template = format!("{ROOT}/pipelines/templates/{name}");
        let settings = format!("[output]\ntemplate = '{template}'\nrendered = 'rendered'\n");
        let (lab, row) = match case.get("text") {
            Some(text) => (Lab::text(&settings), json!({ "text": text })),
            None => (Lab::new("chat", &[("web", "messages")], &settings), json!({ "messages": case["messages"] })),
        };
        lab.write("data/web/x.jsonl", row.to_string());
        lab.build("out", &[]).good();
        let rendered = column(&lab.path("out/data"), "train", "rendered");
        assert_eq!(rendered, [case["rendered"].as_str().unwrap()], "{name}, {}", case["case"]);
    }
    let there = fs::read_dir(format!("{ROOT}/pipelines/templates")).unwrap().count();
    let tried: std::collections::BTreeSet<&str> = cases.iter().filter_map(|c| c["template"].as_str()).collect();
    assert_eq!(tried.len(), there, "a template that the oracle has not seen");
}

#[test]
fn a_template_that_refuses_a_row_is_an_error_that_names_it() {
    let template = format!("{ROOT}/pipelines/templates/llama2.jinja");
    let lab = Lab::new("chat", &[("web", "messages")], &format!("[output]\ntemplate = '{template}'\n"));
    let row = |role: &str| json!({"messages": [{"role": "user", "content": "a"}, {"role": role, "content": "b"}]});
    lab.write("data/web/x.jsonl", format!("{}\n{}\n", row("assistant"), row("tool")));
    let said = lab.build("out", &[]).bad();
    assert!(said.contains("x.jsonl") && said.contains("row 1") && said.contains("no role tool"), "{said}");
    lab.build("out", &["--on-bad-row", "skip"]).good();
    assert_eq!(lab.ids("out", "train").len(), 1);
    assert_eq!(column(&lab.path("out/rejects"), "", "rule"), ["output"]);
}
