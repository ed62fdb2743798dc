//! What a chat template does not write of an answer is told wherever a person looks, and a setting decides.

use std::{fs, path::Path};

use serde_json::json;

use crate::fixture::{Fixture, Transcript, training};

/// Writes an answer without its reasoning, and opens the next one with it, as DeepSeek's does.
const TEMPLATE: &str = "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>{{ m.content.split('</think>')[-1] }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|><think>\n{% endif %}";

fn answer(thought: &str) -> String {
    format!("<think>\n{thought}\n</think>\n\nFa 4.")
}

/// What `setaccio train` says with these changes, without what the machine says of itself.
fn said(data: &Path, out: &Path, template: &Path, changes: &[&str], args: &[&str]) -> String {
    let template = format!("data.template={:?}", template.to_str().unwrap());
    let sets: Vec<&str> = [&*template, "train.max_steps=2"].into_iter().chain(changes.iter().copied()).collect();
    let run = crate::fixture::Run::from(training("tiny", data, out, &sets).args(args).output().unwrap());
    let kept = |line: &&str| !["memory", "MiB", "GiB", "largest train.batch"].iter().any(|part| line.contains(part));
    run.said().lines().filter(kept).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_a_template_leaves_out_is_told_and_a_setting_decides() {
    let fixture = Fixture::new("chat", &[("web", "messages")], "");
    let template = fixture.write("cut.jinja", TEMPLATE);
    let row = |answer: &str| {
        json!({"messages": [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": answer}]})
            .to_string()
    };
    let rows = [row("Fa 4."), row(&answer("Sommo.")), row(&answer("Conto fino a quattro."))];
    fixture.write("data/web/x.jsonl", rows.join("\n"));
    fixture.build("built", &[]).assert_success();
    let (data, out) = (fixture.path("built"), fixture.path("run"));
    let mut transcript = Transcript::default();
    let mut case = |name: &str, changes: &[&str], args: &[&str]| {
        transcript.add(name, &said(&data, &out, &template, changes, args));
    };
    case("shown", &[], &["--show-batch", "3"]);
    case("planned", &[], &["--plan"]);
    case("trained", &[], &[]);
    let card = fs::read_to_string(out.join("README.md")).unwrap();
    let section = card.split("\n## ").find(|section| section.starts_with("Data")).unwrap();
    let told: Vec<&str> = section.lines().filter(|line| line.starts_with("- ")).collect();
    assert_eq!(told.len(), 1, "{section}");
    transcript.add("the card", told[0]);
    let mut case = |name: &str, changes: &[&str], args: &[&str]| {
        transcript.add(name, &said(&data, &out, &template, changes, args));
    };
    case("kept", &["data.unsaid=\"keep\""], &["--show-batch", "3"]);
    case("dropped", &["data.unsaid=\"drop\""], &["--show-batch", "3"]);
    case("refused", &["data.unsaid=\"refuse\""], &["--show-batch", "3"]);
    fixture.write("none.jinja", "{% for m in messages if m.role == 'user' %}{{ m.content }}<|eot_id|>{% endfor %}");
    let none = fixture.path("none.jinja");
    transcript.add("a template without answers", &said(&data, &out, &none, &[], &["--plan"]));
    transcript.assert_measured_snapshot("unsaid-reasoning");
}

#[test]
fn pairs_that_become_equal_are_left_out() {
    let fixture = Fixture::new("preference", &[("web", "preference")], "");
    let template = fixture.write("cut.jinja", TEMPLATE);
    let turn = |role: &str, content: &str| json!({"role": role, "content": content});
    let pair = |chosen: &str, rejected: &str| {
        let asked = turn("user", "2 + 2?");
        json!({"prompt": [asked], "chosen": [asked, turn("assistant", chosen)], "rejected": [asked, turn("assistant", rejected)]})
    };
    let rows = [pair(&answer("giusto"), &answer("sbagliato")), pair("Fa 4.", "Fa 5.")].map(|row| row.to_string());
    fixture.write("data/web/x.jsonl", rows.join("\n"));
    fixture.build("built", &[]).assert_success();
    let (data, out) = (fixture.path("built"), fixture.path("run"));
    let sets = ["task=\"preference\"", "data.packing=\"none\""];
    let mut transcript = Transcript::default();
    transcript.add("left out", &said(&data, &out, &template, &sets, &["--show-batch", "3"]));
    let keep = [sets[0], sets[1], "data.unsaid=\"keep\""];
    transcript.add("kept", &said(&data, &out, &template, &keep, &["--show-batch", "3"]));
    transcript.assert_measured_snapshot("unsaid-pairs");
}
