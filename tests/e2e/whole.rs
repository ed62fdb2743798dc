//! Rows are whole and exact: nothing changes or vanishes without a word.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, cast::AsArray, types::Float64Type,
};
use arrow_schema::{DataType, Field, Schema};
use parquet::{
    basic::Compression,
    data_type::{Int96, Int96Type},
    file::writer::SerializedFileWriter,
    schema::parser::parse_message_type,
};
use serde_json::{Value, json};
use setaccio_dataset::ledger::Ledger;

use crate::{
    fixture::{Fixture, batches, column, parquet_of, setaccio},
    sources::parquet,
};

fn lines(rows: &[Value]) -> String {
    rows.iter().map(|row| row.to_string() + "\n").collect()
}

fn ledger(fixture: &Fixture, out: &str) -> Ledger {
    serde_json::from_slice(&std::fs::read(fixture.path(out).join("ledger.json")).unwrap()).unwrap()
}

/// A kept column by the texts of its rows.
fn kept(fixture: &Fixture, out: &str, name: &str) -> Vec<(String, String)> {
    let data = fixture.path(out).join("data");
    let mut rows: Vec<_> = column(&data, "", "text").into_iter().zip(column(&data, "", name)).collect();
    rows.sort();
    rows
}

#[test]
fn a_value_of_another_type_is_kept_seen_by_rules_and_in_the_rejects() {
    // The values are those that `datasets` 5.2 gives for such a file.
    let rows = [
        (json!("qa"), "qa", "\"qa\""),
        (json!(["qa", "summary"]), r#"["qa","summary"]"#, r#"["qa","summary"]"#),
        (json!({"a": 1}), r#"{"a":1}"#, r#"{"a":1}"#),
        (json!(null), "", ""),
        (json!(3), "3", "3"),
    ];
    let file: Vec<Value> =
        (0..).zip(&rows).map(|(i, (tags, ..))| json!({"text": format!("Riga {i}."), "tags": tags})).collect();
    let fixture = Fixture::text("[output]\nkeep = { tags = 'string' }\n");
    fixture.write("data/web/x.jsonl", lines(&file));
    fixture.build("out", &[]).assert_success();
    let texts: Vec<&str> = rows.iter().map(|(_, text, _)| *text).collect();
    assert_eq!(kept(&fixture, "out", "tags").into_iter().map(|r| r.1).collect::<Vec<_>>(), texts);
    fixture.build("json", &["--set", "output.keep.tags=json"]).assert_success();
    let texts: Vec<&str> = rows.iter().map(|(.., json)| *json).collect();
    assert_eq!(kept(&fixture, "json", "tags").into_iter().map(|r| r.1).collect::<Vec<_>>(), texts);
    let rule = r#"screen=[{rule="column",column="tags",drop=['["qa","summary"]']}]"#;
    fixture.build("rule", &["--set", rule]).assert_success();
    let rejects = fixture.path("rule/rejects");
    assert_eq!(column(&rejects, "", "detail"), [r#"tags = ["qa","summary"]"#]);
    assert_eq!(column(&rejects, "", "meta"), [r#"{"tags":["qa","summary"]}"#]);
    // The same from Parquet, where such a column has one type.
    let list =
        arrow_array::ListArray::from_iter_primitive::<arrow_array::types::Int64Type, _, _>([Some([Some(1), None])]);
    let columns: Vec<(&str, ArrayRef)> =
        vec![("text", Arc::new(StringArray::from(vec!["Riga."]))), ("tags", Arc::new(list))];
    std::fs::remove_file(fixture.path("data/web/x.jsonl")).unwrap();
    fixture.write("data/web/x.parquet", parquet(columns, Compression::SNAPPY, 10));
    fixture.build("parquet", &[]).assert_success();
    assert_eq!(kept(&fixture, "parquet", "tags"), [("Riga.".to_owned(), "[1,null]".to_owned())]);
}

#[test]
fn numbers_are_those_of_the_file() {
    let fixture = Fixture::text("[output]\nkeep = { score = 'float64', big = 'string' }\n");
    // Python: repr(json.loads(text)).
    let scores =
        ["0.9999999999999999", "0.9215686321258545", "117.63331139400017", "1.5777777777770001", "NaN", "-Infinity"];
    let big = ["123456789012345678901234567890", "18446744073709551616", "-9223372036854775809", "7", "NaN", "1.5"];
    let line = |i, score, big| format!("{{\"text\": \"Riga {i}.\", \"score\": {score}, \"big\": {big}}}\n");
    let file: String = (0..6).map(|i| line(i, scores[i], big[i])).collect();
    fixture.write("data/web/x.jsonl", file);
    fixture.build("out", &[]).assert_success();
    assert_eq!(kept(&fixture, "out", "big").into_iter().map(|r| r.1).collect::<Vec<_>>(), big);
    let mut read: Vec<(String, f64)> = Vec::new();
    for batch in batches(&fixture.path("out/data"), "") {
        let texts = batch.column_by_name("text").unwrap().as_string::<i32>().clone();
        let column = batch.column_by_name("score").unwrap().as_primitive::<Float64Type>().clone();
        assert_eq!(column.null_count(), 0);
        read.extend(texts.iter().flatten().map(str::to_owned).zip(column.values().iter().copied()));
    }
    read.sort_by(|a, b| a.0.cmp(&b.0));
    let expected: Vec<f64> = scores.iter().map(|text| text.parse().unwrap()).collect();
    let bits = |numbers: &[f64]| numbers.iter().map(|n| n.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&read.into_iter().map(|r| r.1).collect::<Vec<_>>()), bits(&expected));
    // What has no place in a column of integers is an error, not another number.
    let said = fixture.build("int", &["--set", "output.keep={ big = 'int64' }"]).assert_failure();
    assert!(said.contains("kept column `big` holds 123456789012345678901234567890, which is no int64"), "{said}");
    // Infinities and what is no number, from Parquet.
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("text", Arc::new(StringArray::from(vec!["a", "b", "c"]))),
        ("score", Arc::new(Float64Array::from(vec![f64::INFINITY, f64::NAN, 0.1]))),
        ("big", Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX, 0]))),
    ];
    std::fs::remove_file(fixture.path("data/web/x.jsonl")).unwrap();
    fixture.write("data/web/x.parquet", parquet(columns, Compression::SNAPPY, 10));
    fixture.build("parquet", &["--set", "output.keep.score=string"]).assert_success();
    let scores: Vec<String> = kept(&fixture, "parquet", "score").into_iter().map(|r| r.1).collect();
    assert_eq!(scores, ["Infinity", "NaN", "0.1"]);
    let big: Vec<String> = kept(&fixture, "parquet", "big").into_iter().map(|r| r.1).collect();
    assert_eq!(big, ["-9223372036854775808", "9223372036854775807", "0"]);
}

#[test]
fn a_column_that_nobody_reads_makes_no_row_bad_and_is_named() {
    let deep = format!("{}{}", "[".repeat(400), "]".repeat(400));
    let row = |text: &str, x: &str| format!("{{\"text\": \"{text}\", \"x\": {x}, \"url\": null}}\n");
    let file = row("a", "NaN") + &row("b", r#""\ud83d""#) + &row("c", &deep) + &row("d", "null");
    let fixture = Fixture::text("[[filter]]\nrule = 'regex'\ndrop = ['b']\n");
    fixture.write("data/web/x.jsonl", file);
    let said = fixture.build("out", &[]).assert_success().stdout;
    assert!(
        said.contains(
            "Columns of `web` that nothing reads, so that they are not in this data set: `x` (of 3 of 4 rows)."
        ),
        "{said}"
    );
    assert_eq!(column(&fixture.path("out/rejects"), "", "meta"), [r#"{"url":null,"x":"\"\\ud83d\""}"#]);
    let unread = ledger(&fixture, "out").unread;
    assert_eq!(unread.iter().map(|u| (u.column.as_str(), u.rows)).collect::<Vec<_>>(), [("x", 3)]);
    // Whoever reads it is told.
    let said = fixture.build("kept", &["--set", "output.keep.x=json"]).assert_failure();
    assert!(said.contains("row 1 (from 0)") && said.contains("column `x` holds half of a surrogate pair"), "{said}");
    fixture.build("kept", &["--set", "output.keep.x=json", "--on-bad-row", "skip"]).assert_success();
    assert_eq!(kept(&fixture, "kept", "x"), [("a".to_owned(), "NaN".to_owned()), ("d".to_owned(), String::new())]);
}

/// A Parquet file of a text and a time that old Sparks write.
fn int96(times: &[Int96]) -> Vec<u8> {
    let schema = parse_message_type("message m { required binary text (UTF8); optional int96 at; }").unwrap();
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, Arc::new(schema), Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let texts: Vec<_> = (0..times.len()).map(|i| format!("Riga {i}.").as_bytes().into()).collect();
    column.typed::<parquet::data_type::ByteArrayType>().write_batch(&texts, None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int96Type>().write_batch(times, Some(&vec![1; times.len()]), None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    bytes
}

#[test]
fn times_of_int96_are_right_in_any_century() {
    // Julian days: 1970-01-01 is 2440588, 0001-01-01 (proleptic Gregorian) 1721426, 9999-12-31 5373484.
    let time = |day: u32, nanoseconds: u64| {
        let mut time = Int96::new();
        let bytes = nanoseconds.to_le_bytes();
        let half = |i: usize| u32::from_le_bytes(bytes[i..i + 4].try_into().unwrap());
        time.set_data(half(0), half(4), day);
        time
    };
    let cases = [
        (time(2_440_588, 0), "1970-01-01T00:00:00"),
        (time(2_440_587, 1_000_000_001), "1969-12-31T00:00:01.000000001"),
        (time(1_721_426, 0), "0001-01-01T00:00:00"),
        (time(5_373_484, 86_399_999_999_999), "9999-12-31T23:59:59.999999999"),
    ];
    let fixture = Fixture::text("[output]\nkeep = { at = 'string' }\n");
    fixture.write("data/web/x.parquet", int96(&cases.map(|c| c.0)));
    fixture.build("out", &[]).assert_success();
    assert_eq!(kept(&fixture, "out", "at").into_iter().map(|r| r.1).collect::<Vec<_>>(), cases.map(|c| c.1));
}

#[test]
fn a_limit_of_the_reader_is_not_called_damage() {
    let fixture = Fixture::text("");
    // The mark of a footer that is encrypted.
    let batch = RecordBatch::try_from_iter([("text", Arc::new(StringArray::from(vec!["uno"])) as ArrayRef)]).unwrap();
    let bytes = parquet_of(&batch, None);
    let encrypted = [&bytes[..bytes.len() - 4], b"PARE"].concat();
    fixture.write("data/web/x.parquet", encrypted);
    let said = fixture.build("out", &[]).assert_failure();
    assert!(said.contains("encrypt") && !said.contains("fetch it again"), "{said}");
}

/// A chat with a tool, as OpenAI's files have it.
fn tool_chat(city: &str) -> Value {
    json!({
        "messages": [
            {"role": "user", "content": format!("Piove a {city}?")},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "type": "function",
                "function": {"name": "piove", "arguments": {"city": city, "at": 12}}}]},
            {"role": "tool", "tool_call_id": "c1", "name": "piove", "content": "no"},
            {"role": "assistant", "content": "No.", "weight": 1},
        ],
        "tools": [{"type": "function", "function": {"name": "piove", "parameters": {"type": "object"}}}],
    })
}

#[test]
fn calls_and_tools_come_out_of_a_build_as_they_went_in() {
    let fixture = Fixture::new(
        "chat",
        &[("chats", "messages")],
        "[dedup]\n[[filter]]\nrule = 'roles'\n[read]\ntask_bytes = 900\n",
    );
    let plain = json!({"messages": [{"role": "user", "content": "Ciao"}, {"role": "assistant", "content": "Ciao!"}]});
    let rows = [plain, tool_chat("Bari"), tool_chat("Roma"), tool_chat("Bari")];
    fixture.write("data/chats/x.jsonl", lines(&rows));
    fixture.build("out", &[]).assert_success();
    let found = ledger(&fixture, "out");
    assert_eq!(found.rows_out(), 3, "{found:?}");
    assert_eq!(
        found.unread.iter().map(|u| (u.column.as_str(), u.rows)).collect::<Vec<_>>(),
        [("messages[].weight", 3)]
    );
    let batch = &batches(&fixture.path("out/data"), "")[0];
    let text = DataType::Utf8;
    let field = |name: &str, kind: &DataType| Field::new(name, kind.clone(), true);
    let item =
        |fields: Vec<Field>| DataType::List(Arc::new(Field::new("element", DataType::Struct(fields.into()), true)));
    let function = DataType::Struct(vec![field("name", &text), field("arguments", &text)].into());
    let calls = item(vec![field("id", &text), field("type", &text), field("function", &function)]);
    let turn = vec![
        field("role", &text),
        field("content", &text),
        field("tool_calls", &calls),
        field("tool_call_id", &text),
        field("name", &text),
    ];
    let expected = Schema::new(vec![
        field("id", &text),
        field("source", &text),
        field("language", &text),
        field("messages", &item(turn)),
        field("tools", &text),
    ]);
    assert_eq!(*batch.schema(), expected);
    let columns = setaccio_dataset::columns::ContentColumns::new(batch, setaccio_base::row::Kind::Chat).unwrap();
    let mut read: Vec<String> = (0..batch.num_rows())
        .map(|i| {
            let content = columns.get(i).unwrap();
            let messages: Vec<_> = content.messages().collect();
            json!({"messages": messages, "tools": content.tools()}).to_string()
        })
        .collect();
    read.sort();
    let without = |mut row: Value| {
        row["messages"]
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .for_each(|m| drop(m.as_object_mut().unwrap().shift_remove("weight")));
        row["tools"] = row["tools"].take();
        row["messages"][2] = row["messages"].get(2).map_or(Value::Null, |m| {
            json!({"role": m["role"], "content": m["content"],
            "tool_call_id": m["tool_call_id"], "name": m["name"]})
        });
        row
    };
    let plain = json!({"messages": rows[0]["messages"], "tools": null});
    let mut expected: Vec<String> =
        vec![plain.to_string(), without(tool_chat("Bari")).to_string(), without(tool_chat("Roma")).to_string()];
    expected.sort();
    assert_eq!(read, expected);
    let card = std::fs::read_to_string(fixture.path("out/README.md")).unwrap();
    assert!(card.contains("    - name: tool_calls\n      list:\n      - name: id\n        dtype: string"), "{card}");
    assert!(
        card.contains("        struct:\n        - name: name\n          dtype: string\n        - name: arguments"),
        "{card}"
    );
    let out = fixture.path("out");
    setaccio(&["verify", out.to_str().unwrap()]).assert_success();
    // A dropped row is whole in the rejects.
    fixture.build("drop", &["--set", "filter=[{rule='regex',drop=['Roma']}]"]).assert_success();
    let meta: Value = serde_json::from_str(&column(&fixture.path("drop/rejects"), "screen", "meta")[0]).unwrap();
    assert_eq!(meta["setaccio:extras"]["messages"][1]["tool_calls"][0]["function"]["arguments"]["city"], "Roma");
    assert_eq!(meta["setaccio:extras"]["tools"], tool_chat("Roma")["tools"]);
    assert_eq!(meta["messages[].weight"], json!([null, null, null, 1]));
}

#[test]
fn every_conversation_of_sharegpt_with_tools_passes_the_rule_roles() {
    let call = json!({"name": "somma", "arguments": {"a": 2, "b": 1}}).to_string();
    let with = json!({
        "conversations": [{"from": "human", "value": "2 + 1?"}, {"from": "function_call", "value": call},
            {"from": "observation", "value": "3"}, {"from": "gpt", "value": "Fa 3."}],
        "tools": json!([{"name": "somma"}]).to_string(),
    });
    let without = json!({"conversations": [{"from": "human", "value": "Ciao"}, {"from": "gpt", "value": "Ciao!"}], "tools": "[]"});
    let fixture = Fixture::new("chat", &[("chats", "sharegpt")], "[[filter]]\nrule = 'roles'\n");
    fixture.write("data/chats/x.jsonl", lines(&[with, without.clone()]));
    fixture.build("out", &[]).assert_success();
    let mut tools = column(&fixture.path("out/data"), "", "tools");
    tools.sort();
    assert_eq!(tools, ["", r#"[{"type":"function","function":{"name":"somma"}}]"#]);
    // Whoever keeps the tools has the column, whether or not a conversation needs it.
    fixture.write("data/chats/x.jsonl", lines(&[without]));
    fixture.build("kept", &["--set", "output.keep.tools=json"]).assert_success();
    assert_eq!(column(&fixture.path("kept/data"), "", "tools"), [""]);
    let said = fixture.build("int", &["--set", "output.keep.tools=int64"]).assert_failure();
    assert!(said.contains("output.keep.tools"), "{said}");
}

#[test]
fn rows_that_differ_in_their_label_contradict_each_other_whatever_the_files() {
    let row = |question: &str, label: bool| json!({"prompt": question, "completion": "Forse.", "label": label});
    let (good, bad) = (row("Piove?", true), row("Piove?", false));
    let (twice, alone) = (row("Nevica?", true), row("E poi?", false));
    let build = |first: &[&Value], second: &[&Value], settings: &str| {
        let fixture = Fixture::new(
            "chat",
            &[("web", "kto")],
            &format!("[dedup]\n{settings}\n[output]\nkeep = {{ label = 'bool' }}\n"),
        );
        let file = |rows: &[&Value]| rows.iter().map(|row| row.to_string() + "\n").collect::<String>();
        fixture.write("data/web/a.jsonl", file(first));
        fixture.write("data/web/b.jsonl", file(second));
        let run = fixture.build("out", &[]);
        (fixture, run)
    };
    let orders: [[&[&Value]; 2]; 3] = [
        [&[&good, &twice, &alone], &[&bad, &twice]],
        [&[&bad, &twice], &[&good, &twice, &alone]],
        [&[&alone], &[&twice, &bad, &good, &twice]],
    ];
    let labels = |fixture: &Fixture| -> Vec<(String, bool)> {
        let mut rows = Vec::new();
        for batch in batches(&fixture.path("out/data"), "") {
            let ids = batch.column_by_name("id").unwrap().as_string::<i32>().clone();
            let labels = batch.column_by_name("label").unwrap().as_boolean().clone();
            rows.extend((0..batch.num_rows()).map(|i| (ids.value(i).to_owned(), labels.value(i))));
        }
        rows
    };
    for (settings, rules, out) in
        [("", ["conflict", "conflict", "dedup"], 2), ("conflicts = 'keep'", ["conflict", "dedup", ""], 3)]
    {
        let mut first = None;
        for [a, b] in orders {
            let (fixture, run) = build(a, b, settings);
            run.assert_success();
            let rows = labels(&fixture);
            assert_eq!(rows.len(), out);
            assert_eq!(&rows, first.get_or_insert_with(|| rows.clone()), "the choice follows the files");
            let mut dropped = column(&fixture.path("out/rejects"), "", "rule");
            dropped.sort();
            assert_eq!(dropped, rules.into_iter().filter(|r| !r.is_empty()).collect::<Vec<_>>());
            let dedup = ledger(&fixture, "out").stage("dedup").unwrap().clone();
            let counts: Vec<(&str, u64)> = dedup.rules.iter().map(|r| (r.rule.as_str(), r.tally.dropped)).collect();
            assert_eq!(counts, [("dedup", 1), ("conflict", rules.iter().filter(|r| **r == "conflict").count() as u64)]);
            assert!(ledger(&fixture, "out").faults().is_empty());
        }
    }
    let (_, run) = build(orders[0][0], orders[0][1], "conflicts = 'stop'");
    let said = run.assert_failure();
    assert!(
        said.contains("web/a.jsonl, row 0") && said.contains("web/b.jsonl, row 0") && said.contains("`label`"),
        "{said}"
    );
    // The label is kept though nobody names it; where it is not the column to judge by, nothing contradicts.
    for (settings, rules) in [("", &["conflict", "conflict"][..]), ("label = 'score'", &["dedup"])] {
        let fixture = Fixture::new("chat", &[("web", "kto")], &format!("[dedup]\n{settings}\n"));
        fixture.write("data/web/a.jsonl", lines(&[good.clone(), bad.clone(), alone.clone()]));
        fixture.build("out", &[]).assert_success();
        assert_eq!(column(&fixture.path("out/rejects"), "", "rule"), rules);
        assert!(labels(&fixture).iter().any(|(_, label)| !label), "{settings}");
    }
}

#[test]
fn among_equal_rows_the_columns_decide_and_not_the_files() {
    let rows = [
        json!({"text": "Una pagina.", "url": "https://b.example/"}),
        json!({"text": "Una pagina.", "url": "https://a.example/", "score": 0.5}),
        json!({"text": "Una pagina."}),
    ];
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1]] {
        let fixture = Fixture::text("[dedup]\n[output]\nkeep = { url = 'string', score = 'float64' }\n");
        for (i, row) in order.iter().enumerate() {
            fixture.write(&format!("data/web/{i}.jsonl"), format!("{}\n", rows[*row]));
        }
        fixture.build("out", &[]).assert_success();
        // It holds the most.
        assert_eq!(kept(&fixture, "out", "url"), [("Una pagina.".to_owned(), "https://a.example/".to_owned())]);
    }
}
