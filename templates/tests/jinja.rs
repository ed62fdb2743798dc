//! Small templates of each kind render as the jinja2 of transformers renders them, or are refused by both
//! (`tests/oracles/jinja.py`).

use std::{collections::BTreeMap, fs};

use serde::Deserialize;
use setaccio_base::row::Message;
use setaccio_templates::{Clock, End, Renderer};

#[derive(Deserialize)]
struct Oracle {
    date: String,
    messages: Vec<Message>,
    groups: BTreeMap<String, Vec<(String, Option<String>)>>,
}

fn rendered(template: &str, messages: &[Message], clock: Option<Clock>) -> Result<String, String> {
    let renderer = Renderer::new(Some(template), None, "<s>", "").map_err(|e| e.to_string())?;
    renderer.at(clock).chat(messages, None, End::Whole).map(|r| r.text)
}

#[test]
fn every_kind_of_thing_is_as_in_jinja2() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/oracles/jinja.json");
    let oracle: Oracle = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let clock = Clock::date(&oracle.date);
    let mut faults = Vec::new();
    for (group, cases) in &oracle.groups {
        for (template, expected) in cases {
            let ours = rendered(template, &oracle.messages, clock);
            if ours.as_ref().ok() != expected.as_ref() {
                faults.push(format!("{group}: {template}\n  jinja2: {expected:?}\n  here:   {ours:?}"));
            }
        }
    }
    assert!(faults.is_empty(), "{} differ\n{}", faults.len(), faults.join("\n"));
    assert!(oracle.groups.len() == 13 && oracle.groups.values().all(|cases| cases.len() > 7));
}

#[test]
fn a_failure_says_what_and_where() {
    let turns = [Message::new("user", "Ciao")];
    let cases = [
        ("\n\n{{ messages[0].name.first }}", "a dict has no attribute `name` (in line 3 of the template)"),
        ("{% if true %}\n{{ x.y }}{% endif %}", "`x` is undefined (in line 2 of the template)"),
        ("{{ raise_exception('Turni in disordine') }}", "Turni in disordine (in line 1 of the template)"),
        ("a\n{{ 'b' | nope }}", "no filter is called `nope` (in line 2 of the template)"),
        ("a\n{% for x in messages %}", "a block is not closed: else is missing (in line 2 of the template)"),
        ("{{ strftime_now('%Y') }}", "the template asks for the date, and none is fixed (in line 1 of the template)"),
    ];
    for (template, expected) in cases {
        let error = rendered(template, &turns, None).unwrap_err();
        assert!(error.ends_with(expected), "{error}");
    }
}

#[test]
fn generation_blocks_say_what_an_assistant_writes() {
    let template = "{%- for m in messages %}\n<{{ m.role }}>\n  {% generation %}\n{{ m.content }}</s>\n  \
                    {%- endgeneration %}\n{% endfor %}";
    let plain = template.replace("{% generation %}", "{% if true %}").replace("{%- endgeneration %}", "{%- endif %}");
    let turns = [Message::new("user", "Ciao"), Message::new("assistant", "Perché \u{1F642}")];
    let [marked, plain] = [template, &plain].map(|t| Renderer::new(Some(t), None, "", "").unwrap());
    assert!(marked.marks() && !plain.marks());
    let chat = |renderer: &Renderer| renderer.chat(&turns, None, End::Whole).unwrap();
    let rendered = chat(&marked);
    assert_eq!(rendered.text, chat(&plain).text);
    let generated: Vec<&str> = rendered.generated.iter().map(|r| &rendered.text[r.clone()]).collect();
    assert_eq!(generated, ["Ciao</s>", "Perché \u{1F642}</s>"]);
    assert!(marked.chat(&[Message::new("user", "\u{FDD0}")], None, End::Whole).is_err());
    assert!(marked.reads("messages") && !marked.reads("text"));
}

#[test]
fn a_template_sees_tools_calls_and_reasoning_as_transformers_shows_them() {
    let tools = serde_json::json!([{"type": "function", "function": {"name": "f"}}]);
    let template = "{{ tools | tojson }}{{ documents }}{{ add_generation_prompt }}{{ bos_token }}{{ eos_token is defined }}\
                    {% for m in messages %}{{ m | tojson }}{% endfor %}";
    let renderer = Renderer::new(Some(template), None, "<s>", "").unwrap();
    let turns = [
        Message::without_text("assistant").with("tool_calls", serde_json::json!([{"function": {"name": "f"}}])),
        Message::new("assistant", "4").with("reasoning", "2 + 2"),
    ];
    let text = renderer.chat(&turns, Some(&tools), End::Prompt).unwrap().text;
    // transformers puts `thinking` before a turn's fields and `reasoning_content` behind them.
    let expected = r#"[{"type": "function", "function": {"name": "f"}}]NoneTrue<s>False{"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f"}}]}{"thinking": "2 + 2", "role": "assistant", "content": "4", "reasoning": "2 + 2", "reasoning_content": "2 + 2"}"#;
    assert_eq!(text, expected);
    assert!(renderer.chat(&turns, None, End::Whole).unwrap().text.starts_with("nullNoneFalse"));
}
