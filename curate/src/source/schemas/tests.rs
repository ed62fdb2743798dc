//! Every schema on the rows of the sets that it stands for.

use serde_json::{Value, json};
use setaccio_base::row::{Content, Message, Row};

use crate::source::{SCHEMAS, find_schema};

fn content(schema: &str, record: Value) -> Result<(Content, Vec<String>), String> {
    let Value::Object(mut record) = record else { panic!("a record is an object") };
    let schema = find_schema(schema).unwrap_or_else(|e| panic!("{e}"));
    schema.content(&mut record).map(|c| (c, record.keys().cloned().collect()))
}

fn chat(turns: &[(&str, &str)]) -> Content {
    Row::chat(turns).content
}

fn turns(turns: &[(&str, &str)]) -> Vec<Message> {
    turns.iter().map(|(r, c)| Message::new(*r, *c)).collect()
}

#[test]
fn every_example_is_a_row_of_its_schema() {
    for schema in SCHEMAS {
        let record: Value = serde_json::from_str(schema.example()).unwrap_or_else(|e| panic!("{e}"));
        for column in schema.columns().iter().filter(|c| c.required) {
            assert!(record.get(column.name).is_some(), "{}: its example lacks `{}`", schema.name(), column.name);
        }
        let kind = content(schema.name(), record).map(|(content, _)| content.kind());
        assert_eq!(kind, Ok(schema.kind()), "{}", schema.name());
    }
}

#[test]
fn instructions_and_documents() {
    let cases = [
        (
            "orca",
            json!({"system": "Sii breve.", "instruction": "Traduci", "input": "cane", "output": "dog"}),
            chat(&[("system", "Sii breve."), ("user", "Traduci\n\ncane"), ("assistant", "dog")]),
        ),
        (
            "orca",
            json!({"system": "", "instruction": "Ciao", "output": "Ciao!"}),
            chat(&[("user", "Ciao"), ("assistant", "Ciao!")]),
        ),
        (
            "alpaca",
            json!({"instruction": "Ciao", "input": "", "output": "Ciao!"}),
            chat(&[("user", "Ciao"), ("assistant", "Ciao!")]),
        ),
        (
            "dolly",
            json!({"instruction": "Chi?", "context": "Dante.", "response": "Dante."}),
            chat(&[("user", "Chi?\n\nDante."), ("assistant", "Dante.")]),
        ),
        (
            "text",
            json!({"text": "Una pagina.", "timestamp": "2019-04-21T10:00:00Z", "url": "https://x.example/"}),
            Content::Text("Una pagina.".into()),
        ),
    ];
    for (schema, record, expected) in cases {
        assert_eq!(content(schema, record).map(|c| c.0), Ok(expected), "{schema}");
    }
    assert_eq!(
        content("alpaca", json!({"instruction": "x", "output": null})),
        Err("column `output` holds null, where text is required".into())
    );
    let missing = content("dolly", json!({"instruction": "x", "risposta": "y"})).err().unwrap_or_default();
    assert!(missing.starts_with("column `response` is missing; there are risposta"), "{missing}");
}

#[test]
fn conversations() {
    let expected = chat(&[("user", "Ciao"), ("assistant", "Ciao!")]);
    let cases = [
        (
            "messages",
            json!({"messages": [{"content": "Ciao", "role": "user"}, {"role": "assistant", "content": "Ciao!"}]}),
        ),
        ("sharegpt", json!({"conversations": [{"from": "human", "value": "Ciao"}, {"from": "gpt", "value": "Ciao!"}]})),
        ("baize", json!({"input": "La conversazione.\n[|Human|] Ciao\n[|AI|] Ciao!\n[|Human|] "})),
        ("kto", json!({"prompt": "Ciao", "completion": "Ciao!", "label": true})),
        (
            "kto",
            json!({"messages": [{"role": "user", "content": "Ciao"}, {"role": "assistant", "content": "Ciao!"}], "label": false}),
        ),
    ];
    for (schema, record) in cases {
        assert_eq!(content(schema, record).map(|c| c.0), Ok(expected.clone()), "{schema}");
    }
    assert!(
        content("kto", json!({"prompt": "a", "completion": "b", "label": 1}))
            .is_err_and(|e| e.contains("true or false"))
    );
    assert!(content("baize", json!({"input": "nessun turno"})).is_err_and(|e| e.contains("[|Human|]")));
    let turn = content("messages", json!({"messages": [{"role": "user", "content": null}]})).err().unwrap_or_default();
    assert_eq!(turn, "column `messages`, turn 0: column `content` holds null, where text is required");
}

#[test]
fn preferences() {
    let pair = |answer: &str| json!([{"content": "Chi?", "role": "user"}, {"content": answer, "role": "assistant"}]);
    let expected = Content::preference(
        turns(&[("user", "Chi?")]),
        turns(&[("assistant", "Dante.")]),
        turns(&[("assistant", "Boh.")]),
    );
    let cases = [
        json!({"source": "x", "chosen": pair("Dante."), "rejected": pair("Boh."), "prompt": "Chi?", "question": "Chi?"}),
        json!({"chosen": pair("Dante."), "rejected": pair("Boh.")}),
        json!({"conversations": [{"from": "human", "value": "Chi?"}], "chosen": {"from": "gpt", "value": "Dante."},
            "rejected": {"from": "gpt", "value": "Boh."}}),
        json!({"prompt": "Chi?", "chosen": "Dante.", "rejected": "Boh."}),
    ];
    for record in cases {
        assert_eq!(content("preference", record.clone()).map(|c| c.0), Ok(expected.clone()), "{record}");
    }
    let scored =
        json!({"chosen": pair("a"), "rejected": pair("b"), "prompt": "Chi?", "prompt_id": "p", "score_chosen": 8.0});
    assert_eq!(content("preference", scored).map(|c| c.1), Ok(vec!["prompt_id".into(), "score_chosen".into()]));
    // Equal sides still share no more than what was asked.
    let equal = content("preference", json!({"chosen": pair("a"), "rejected": pair("a")})).map(|c| c.0);
    assert!(matches!(equal, Ok(Content::Preference { prompt, chosen, .. }) if prompt.len() == 1 && chosen.len() == 1));
}
