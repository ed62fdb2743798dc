//! Every schema on the rows of the sets that it stands for.

use serde_json::{Value, json};
use setaccio_base::row::{Content, Message, Row, TOOL_CALLS};

use crate::source::{Reading, SCHEMAS, find_schema};

fn content(schema: &str, record: Value) -> Result<(Content, Vec<String>), String> {
    let Value::Object(record) = record else { panic!("a record is an object") };
    let mut record = Reading::from(record);
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
            "alpaca",
            json!({"system": "Sii breve.", "history": [["Ciao", "Ciao!"], ["Nevica?", "No."]], "instruction": "E poi?",
                "output": "Sì."}),
            chat(&[
                ("system", "Sii breve."),
                ("user", "Ciao"),
                ("assistant", "Ciao!"),
                ("user", "Nevica?"),
                ("assistant", "No."),
                ("user", "E poi?"),
                ("assistant", "Sì."),
            ]),
        ),
        (
            "orca",
            json!({"system": "", "history": r#"[["Ciao", "Ciao!"]]"#, "instruction": "E poi?", "output": "Sì."}),
            chat(&[("user", "Ciao"), ("assistant", "Ciao!"), ("user", "E poi?"), ("assistant", "Sì.")]),
        ),
        (
            "alpaca",
            json!({"system": null, "history": [], "instruction": "E poi?", "output": "Sì."}),
            chat(&[("user", "E poi?"), ("assistant", "Sì.")]),
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
    assert!(
        content("alpaca", json!({"instruction": "x", "output": "y", "history": [["a", "b", "c"]]}))
            .is_err_and(|e| e.contains("column `history`") && e.contains("questions with their answers"))
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
fn a_system_column_is_a_turn_where_there_is_none() {
    let turns = json!([{"role": "user", "content": "Ciao"}, {"role": "assistant", "content": "Ciao!"}]);
    let own = json!([{"role": "system", "content": "Mio."}, turns[0], turns[1]]);
    let with = |text: &str| chat(&[("system", text), ("user", "Ciao"), ("assistant", "Ciao!")]);
    for (schema, column) in [("messages", "messages"), ("sharegpt", "conversations"), ("kto", "messages")] {
        let read = |turns: &Value| content(schema, json!({column: turns, "system": "Sii breve.", "label": true}));
        assert_eq!(read(&turns).map(|c| c.0), Ok(with("Sii breve.")), "{schema}");
        // What is not taken stays a column, which is accounted for.
        let (kept, left) = read(&own).unwrap_or_else(|e| panic!("{e}"));
        assert!(kept == with("Mio.") && left.contains(&"system".to_owned()), "{schema}");
    }
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

/// The turns of a conversation as JSON, and its tools.
fn whole(schema: &str, record: Value) -> Result<Value, String> {
    content(schema, record).map(|(content, left)| {
        let messages: Vec<&Message> = content.messages().collect();
        json!({"messages": messages, "tools": content.tools(), "left": left})
    })
}

#[test]
fn calls_of_tools_in_every_spelling_are_openai_s() {
    let call =
        json!({"id": "c1", "type": "function", "function": {"name": "piove", "arguments": {"z": "Bari", "a": 1}}});
    let without_id = json!({"type": "function", "function": {"name": "piove", "arguments": {"z": "Bari", "a": 1}}});
    let arguments = r#"{"z": "Bari", "a": 1}"#;
    let turn = |call: &Value| json!({"role": "assistant", "content": null, TOOL_CALLS: [call]});
    for (said, expected) in [
        (json!({"role": "assistant", "content": null, "tool_calls": [call]}), turn(&call)),
        (json!({"role": "assistant", "tool_calls": [call]}), turn(&call)),
        (
            json!({"role": "assistant", "content": "", "tool_calls": [{"id": "c1", "function": {"name": "piove",
                "arguments": arguments}}]}),
            json!({"role": "assistant", "content": "", TOOL_CALLS: [call]}),
        ),
        (
            json!({"role": "assistant", "content": "Vedo.", "tool_calls": [{"name": "piove", "arguments": arguments}]}),
            json!({"role": "assistant", "content": "Vedo.", TOOL_CALLS: [without_id]}),
        ),
        (
            json!({"role": "assistant", "content": null, "function_call": {"name": "piove", "arguments": arguments}}),
            turn(&without_id),
        ),
        (
            json!({"from": "function_call", "value": json!({"name": "piove", "arguments": {"z": "Bari", "a": 1}}).to_string()}),
            turn(&without_id),
        ),
        (
            json!({"role": "assistant", "content": [{"type": "reasoning", "value": "Mah."}, {"type": "tool_call",
                "value": json!({"name": "piove", "arguments": {"z": "Bari", "a": 1}}).to_string()}]}),
            json!({"role": "assistant", "content": null, "reasoning_content": "Mah.", TOOL_CALLS: [without_id]}),
        ),
        // What cannot be parsed as arguments stays the text that it is.
        (
            json!({"role": "assistant", "content": null, "tool_calls": [{"name": "f", "arguments": "Bari"}]}),
            turn(&json!({"type": "function", "function": {"name": "f", "arguments": "Bari"}})),
        ),
        (
            json!({"role": "tool", "content": {"gradi": 19}, "tool_call_id": "c1", "name": "piove"}),
            json!({"role": "tool", "content": r#"{"gradi":19}"#, "tool_call_id": "c1", "name": "piove"}),
        ),
        (json!({"from": "observation", "value": "no"}), json!({"role": "tool", "content": "no"})),
        (
            json!({"role": "function", "name": "piove", "content": "no"}),
            json!({"role": "tool", "content": "no", "name": "piove"}),
        ),
        (json!({"role": "developer", "content": "Sii breve."}), json!({"role": "system", "content": "Sii breve."})),
        // For the rule `roles` to see.
        (
            json!({"from": "function_call", "value": "piove a Bari"}),
            json!({"role": "function_call", "content": "piove a Bari"}),
        ),
    ] {
        let read = whole("messages", json!({"messages": [said]})).unwrap_or_else(|e| panic!("{e}: {said}"));
        assert_eq!(read["messages"][0].to_string(), expected.to_string(), "{said}");
    }
    let first = |turn: Value| whole("messages", json!({"messages": [turn]}));
    assert!(first(json!({"role": "assistant", "content": null, "tool_calls": []})).is_err_and(|e| e.contains("null")));
    let nameless = json!({"role": "assistant", "content": null, "tool_calls": [{"arguments": {}}]});
    assert!(first(nameless).is_err_and(|e| e.contains("names no function")));
}

#[test]
fn lists_of_messages_in_every_layout_are_the_same() {
    let expected = chat(&[("user", "Ciao"), ("assistant", "Ciao!")]);
    let turns = json!([{"role": "user", "content": "Ciao"}, {"role": "assistant", "content": "Ciao!"}]);
    for messages in [
        turns.clone(),
        Value::String(turns.to_string()),
        json!({"role": ["user", "assistant"], "content": ["Ciao", "Ciao!"]}),
        json!({"from": ["human", "gpt"], "value": ["Ciao", "Ciao!"]}),
        json!([{"from": "human", "value": "Ciao", "role": null, "content": null},
            {"from": null, "value": null, "role": "assistant", "content": "Ciao!"}]),
        json!([{"role": "user", "content": [{"type": "text", "text": "Ci"}, {"type": "text", "text": "ao"}]},
            {"role": "assistant", "content": ["Ciao!"]}]),
        json!([{"role": "user", "content": "Ciao", "tool_calls": null, "name": null},
            {"role": "assistant", "content": "Ciao!", "tool_calls": []}]),
    ] {
        let read = content("messages", json!({"messages": messages.clone()})).map(|c| c.0);
        assert_eq!(read, Ok(expected.clone()), "{messages}");
        let sides = json!({"prompt": "x", "chosen": messages.clone(), "rejected": messages});
        assert!(content("preference", sides).is_ok());
    }
    let image = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]);
    let refused = content("messages", json!({"messages": image})).err().unwrap_or_default();
    assert_eq!(refused, "column `messages`, turn 0: has a part of type `image_url`, which a text cannot keep");
    for messages in [json!("Ciao"), json!({"role": "user", "content": "Ciao"}), json!(3), json!("[1, 2")] {
        assert!(content("messages", json!({"messages": messages.clone()})).is_err(), "{messages}");
    }
}

#[test]
fn tools_are_a_column_or_a_turn_s() {
    let function = json!({"name": "piove", "parameters": {"type": "object", "properties": {"z": {}, "a": {}}}});
    let wrapped = json!([{"type": "function", "function": function}]);
    let user = json!({"role": "user", "content": "Ciao"});
    for record in [
        json!({"messages": [user], "tools": wrapped}),
        json!({"messages": [user], "tools": wrapped.to_string()}),
        json!({"messages": [user], "tools": [function]}),
        json!({"messages": [user], "tools": [function], "system": " "}),
        json!({"messages": [{"role": "user", "content": "Ciao", "tools": json!([function]).to_string()}]}),
    ] {
        let read = whole("messages", record.clone()).unwrap_or_else(|e| panic!("{e}: {record}"));
        assert_eq!((read["tools"].to_string(), &read["left"]), (wrapped.to_string(), &json!([])), "{record}");
    }
    let later = json!([{"role": "user", "content": "Ciao", "tools": [function]},
        {"role": "user", "content": "Ciao", "tools": [function, {"name": "nevica"}]}]);
    let read = whole("messages", json!({"messages": later})).map(|read| read["tools"][1]["function"]["name"].clone());
    assert_eq!(read, Ok("nevica".into()), "a later turn may name more");
    for none in [json!(null), json!([]), json!(""), json!("[]"), json!("null")] {
        let read = whole("sharegpt", json!({"conversations": [{"from": "human", "value": "Ciao"}], "tools": none}));
        assert_eq!(read.map(|r| r["tools"].clone()), Ok(Value::Null));
    }
    let refused = whole("messages", json!({"messages": [user], "tools": "un martello"}));
    assert_eq!(refused, Err("column `tools` holds text, where a list of tools is required".into()));
}

#[test]
fn fields_of_messages_that_have_no_place_are_columns() {
    let messages = json!([{"role": "user", "content": [{"type": "text", "text": "Ciao", "cache": 1}], "weight": 0, "lang": null},
        {"role": "assistant", "content": "Ciao!", "weight": 1, "tool_calls": [{"index": 0, "name": "f"}]}]);
    let Value::Object(record) = json!({"messages": messages}) else { panic!("an object") };
    let mut record = Reading::from(record);
    let schema = find_schema("messages").unwrap_or_else(|e| panic!("{e}"));
    assert!(schema.content(&mut record).is_ok());
    assert_eq!(
        Value::Object(record.columns),
        json!({"messages[].weight": [0, 1], "messages[].content[].cache": [1, null],
        "messages[].tool_calls[].index": [null, 0]})
    );
}

#[test]
fn a_stated_prompt_stays_whatever_the_sides_share() {
    let turn = |role: &str, content: &str| json!({"role": role, "content": content});
    let question = turn("user", "Quale città è più grande?");
    let shared = [turn("assistant", "Bari."), turn("user", "Di quanto?")];
    let sides = |answer: &str| json!([shared[0], shared[1], turn("assistant", answer)]);
    let given = |prompt: Value, chosen: Value, rejected: Value| json!({"prompt": prompt, "chosen": chosen, "rejected": rejected});
    let asked = |answer: &str| json!([turn("user", "Chi?"), turn("assistant", answer)]);
    let long = json!([turn("system", "Sii breve."), turn("user", "Ciao"), turn("assistant", "Ciao!")]);
    let after = |answer: &str| json!([turn("system", "Sii breve."), turn("user", "Chi?"), turn("assistant", answer)]);
    for (record, prompt, answers) in [
        (given(json!([question]), sides("Poco."), sides("Boh.")), json!([question]), 3),
        (given(json!("Quale città è più grande?"), sides("Poco."), sides("Boh.")), json!([question]), 3),
        (
            given(json!([turn("system", "Una parola.")]), asked("Dante."), asked("Boh.")),
            json!([turn("system", "Una parola.")]),
            2,
        ),
        (given(long.clone(), asked("Dante."), asked("Boh.")), long, 2),
        // The sides are whole conversations, and begin with it.
        (given(json!("Chi? "), asked("Dante."), asked("Boh.")), json!([turn("user", "Chi?")]), 1),
        (
            given(json!("Chi?"), after("Dante."), after("Boh.")),
            json!([turn("system", "Sii breve."), turn("user", "Chi?")]),
            1,
        ),
        (
            given(json!(null), after("Dante."), after("Boh.")),
            json!([turn("system", "Sii breve."), turn("user", "Chi?")]),
            1,
        ),
        // Intel/orca_dpo_pairs.
        (
            json!({"system": "Sii breve.", "question": "Chi?", "chosen": "Dante.", "rejected": "Boh."}),
            json!([turn("system", "Sii breve."), turn("user", "Chi?")]),
            1,
        ),
        // Anthropic's transcripts, whole and with a prompt.
        (
            json!({"chosen": "\n\nHuman: Ciao\n\nAssistant: Ciao!\n\nHuman: Chi?\n\nAssistant: Dante.",
                "rejected": "\n\nHuman: Ciao\n\nAssistant: Ciao!\n\nHuman: Chi?\n\nAssistant: Boh."}),
            json!([turn("user", "Ciao"), turn("assistant", "Ciao!"), turn("user", "Chi?")]),
            1,
        ),
        (
            json!({"prompt": "\n\nHuman: Chi?\n\nAssistant:", "chosen": "Dante.", "rejected": "Boh."}),
            json!([turn("user", "Chi?")]),
            1,
        ),
    ] {
        let read = content("preference", record.clone()).map(|c| c.0);
        let Ok(Content::Preference { prompt: read, chosen, rejected, .. }) = read else { panic!("{read:?}: {record}") };
        assert_eq!(json!(read), prompt, "{record}");
        assert_eq!((chosen.len(), rejected.len()), (answers, answers), "{record}");
        assert_ne!(chosen, rejected);
    }
}

#[test]
fn prompts_with_completions_are_chats_as_trl_has_them() {
    let turn = |role: &str, text: &str| json!({"role": role, "content": text});
    let two = chat(&[("user", "Chi?"), ("assistant", "Dante.")]);
    for (prompt, completion) in [
        (json!("Chi?"), json!("Dante.")),
        (json!([turn("user", "Chi?")]), json!([turn("assistant", "Dante.")])),
        (turn("user", "Chi?"), turn("assistant", "Dante.")),
        (json!([turn("human", "Chi?")]), json!("Dante.")),
    ] {
        let record = json!({"prompt": prompt, "completion": completion, "id": 7});
        assert_eq!(content("prompt_completion", record), Ok((two.clone(), vec!["id".to_owned()])));
    }
    let earlier = json!({"prompt": [turn("user", "Chi?"), turn("assistant", "Dante."), turn("user", "E poi?")],
        "completion": [turn("assistant", "Petrarca.")], "system": "Sii breve."});
    let all = [
        ("system", "Sii breve."),
        ("user", "Chi?"),
        ("assistant", "Dante."),
        ("user", "E poi?"),
        ("assistant", "Petrarca."),
    ];
    assert_eq!(content("prompt_completion", earlier).map(|c| c.0), Ok(chat(&all)));
    let none = content("prompt_completion", json!({"prompt": "Chi?"})).err().unwrap_or_default();
    assert!(none.contains("column `completion` is missing"), "{none}");
}

#[test]
fn what_is_called_otherwise_is_noted_once() {
    let record = json!({"messages": [{"role": "developer", "content": "a"}, {"role": "user", "content": "b"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "c"}, {"type": "text", "text": "d"}]},
        {"role": "user", "content": "e"}, {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "developer", "content": "g", "tools": [{"name": "f"}]}]});
    let Value::Object(record) = record else { panic!("an object") };
    let mut reading = Reading::from(record);
    let schema = find_schema("messages").unwrap_or_else(|e| panic!("{e}"));
    assert!(schema.content(&mut reading).is_ok());
    let told: Vec<String> = reading.renamed.iter().map(|r| format!("{} {} {}", r.what, r.from, r.to)).collect();
    assert_eq!(
        told,
        [
            "role developer system",
            "field content[].thinking reasoning_content",
            "field function_call tool_calls",
            "field tool_calls[].name tool_calls[].function.name",
            "field tools[].name tools[].function.name",
            "field messages[].tools tools",
        ]
    );
    let Value::Object(plain) = json!({"messages": [{"role": "user", "content": "Ciao"}]}) else { panic!("an object") };
    let mut plain = Reading::from(plain);
    assert!(schema.content(&mut plain).is_ok() && plain.renamed.is_empty());
}

#[test]
fn pictures_are_refused_and_not_dropped() {
    let chat = json!({"messages": [{"role": "user", "content": "<image>Chi è?"}], "images": ["1.jpg"]});
    let row = |record: Value| {
        let Value::Object(record) = record else { panic!("an object") };
        let schema = find_schema("messages").unwrap_or_else(|e| panic!("{e}"));
        crate::source::schema::row(schema, record, &crate::source::Mapping::default(), &[])
    };
    assert_eq!(row(chat).err(), Some("column `images` holds what a text cannot keep".into()));
    let user = json!([{"role": "user", "content": "Ciao"}]);
    let place = json!([{"role": "user", "content": "<video>\nChe si vede?"}]);
    for good in [
        json!({"messages": user, "images": []}),
        json!({"messages": user, "image": "volto.jpg"}),
        json!({"messages": place, "video": ""}),
        json!({"messages": [{"role": "user", "content": "Ciao", "images": null}]}),
    ] {
        assert!(row(good.clone()).is_ok(), "{good}");
    }
    for bad in [
        json!({"messages": place, "video": "1.mp4"}),
        json!({"messages": [{"role": "user", "content": "Ciao", "images": ["a.jpg"]}]}),
        json!({"messages": [{"role": "user", "content": "Ciao", "image": "a.jpg"}]}),
    ] {
        assert!(row(bad.clone()).is_err_and(|e| e.ends_with("holds what a text cannot keep")), "{bad}");
    }
}

#[test]
fn what_a_tool_answers_is_kept_as_it_is() {
    let said = |answer: Value| {
        let turns = json!([{"role": "user", "content": "?"}, {"role": "tool", "content": answer}]);
        whole("messages", json!({"messages": turns})).map(|read| read["messages"][1]["content"].clone())
    };
    for (answer, text) in [
        (json!(["Roma", "Bari"]), r#"["Roma","Bari"]"#),
        (json!([{"type": "city", "name": "Roma"}]), r#"[{"type":"city","name":"Roma"}]"#),
        (json!([{"type": "text", "text": "Roma"}]), "Roma"),
    ] {
        assert_eq!(said(answer), Ok(text.into()));
    }
}

#[test]
fn calls_in_turns_of_their_own_are_one_answer() {
    let call = |city: &str| json!({"role": "tool_call", "content": json!({"name": "meteo", "arguments": {"c": city}}).to_string()});
    let turns = json!([{"role": "user", "content": "?"}, {"role": "assistant", "content": "Guardo."}, call("Bari"), call("Roma"),
        {"role": "tool_response", "content": "sole"}]);
    let read = whole("messages", json!({"messages": turns})).unwrap_or_else(|e| panic!("{e}"));
    let roles: Vec<_> = read["messages"].as_array().into_iter().flatten().map(|turn| turn["role"].clone()).collect();
    assert_eq!(roles, ["user", "assistant", "tool"]);
    let answer = &read["messages"][1];
    assert_eq!(answer["content"], "Guardo.");
    assert_eq!(answer["tool_calls"][1]["function"]["arguments"], json!({"c": "Roma"}));
}

#[test]
fn an_answer_that_says_nothing_stays_the_answer() {
    // Real rows of hh-rlhf end so.
    let record = json!({"chosen": "\n\nHuman: Chi?\n\nAssistant:", "rejected": "\n\nHuman: Chi?\n\nAssistant: Dante."});
    let expected = Content::Preference {
        prompt: turns(&[("user", "Chi?")]),
        chosen: turns(&[("assistant", "")]),
        rejected: turns(&[("assistant", "Dante.")]),
        tools: None,
    };
    assert_eq!(content("preference", record).map(|c| c.0), Ok(expected));
}

#[test]
fn the_conversation_of_a_preference_may_have_any_layout() {
    let listed = json!([{"from": "human", "value": "Chi?"}]);
    let columns = json!({"from": ["human"], "value": ["Chi?"]});
    for conversations in [listed.to_string().into(), columns, listed] {
        let record = json!({"conversations": conversations, "chosen": "Dante.", "rejected": "Boh."});
        let read = content("preference", record).map(|c| c.0);
        assert!(matches!(read, Ok(Content::Preference { prompt, .. }) if prompt == turns(&[("user", "Chi?")])));
    }
}

#[test]
fn nulls_of_columns_are_no_arguments() {
    // `pa.Table.from_pylist` of calls with `{"city": "Bari"}` and `{"n": 2}` makes a struct of both.
    let padded = json!({"messages": [{"role": "assistant", "content": null, "name": null, "tool_calls":
        [{"function": {"name": "f", "arguments": {"city": "Bari", "n": null}}}]}], "tools": [{"p": {"a": null, "b": [null]}}]});
    let Value::Object(mut record) = padded else { panic!("an object") };
    crate::source::conversation::unpad(&mut record);
    let expected = json!({"messages": [{"role": "assistant", "content": null, "name": null, "tool_calls":
        [{"function": {"name": "f", "arguments": {"city": "Bari"}}}]}], "tools": [{"p": {"b": [null]}}]});
    assert_eq!(Value::Object(record), expected);
}
