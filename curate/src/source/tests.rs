//! Files in every container, and the rows that Python reads from them (`tests/oracles/containers.py`).

use std::{collections::BTreeMap, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_ipc::{
    CompressionType,
    writer::{IpcWriteOptions, StreamWriter},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use setaccio_base::{
    bundle::Place,
    row::{Content, Kind},
};
use setaccio_dataset::recipe::Source;

use super::*;

/// A file of the oracle.
#[derive(Deserialize)]
struct Case {
    file: String,
    /// Hexadecimal.
    bytes: String,
    /// What a recipe says of it.
    keys: Map<String, Value>,
    rows: Vec<Value>,
}

/// The record as it is, as text.
struct Whole;

impl Schema for Whole {
    fn name(&self) -> &'static str {
        "whole"
    }
    fn kind(&self) -> Kind {
        Kind::Text
    }
    fn about(&self) -> &'static str {
        "the record as it is"
    }
    fn example(&self) -> &'static str {
        ""
    }
    fn columns(&self) -> &'static [ColumnSpec] {
        &[]
    }
    fn content(&self, record: &mut Reading) -> Result<Content, String> {
        Ok(Content::Text(Value::Object(std::mem::take(&mut record.columns)).to_string()))
    }
}

fn source(keys: &Map<String, Value>) -> Source {
    let mut all = json!({ "name": "s", "schema": "text", "files": ["*"], "license": "mit" });
    all.as_object_mut().unwrap().extend(keys.clone());
    serde_json::from_value(all).unwrap()
}

fn limits(slice_bytes: u64) -> Limits {
    Limits { slice_bytes, max_row_bytes: 1 << 20, count_compressed: false, window_log: 27 }
}

/// The rows of a file, read slice by slice, or the first thing that is said against it.
fn read(name: &str, bytes: &[u8], keys: &Map<String, Value>, limits: &Limits) -> Result<Vec<Value>, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let file = inspect(&Place::disk(path), name, &source(keys), limits, &|| false).map_err(|e| e.to_string())?;
    let (mapping, extra) = (Mapping::default(), ["text".to_owned()]);
    let projection = Projection { schema: &Whole, mapping: &mapping, extra: &extra, types: &BTreeMap::new() };
    let mut rows = Vec::new();
    for slice in &file.inspection.slices {
        for item in file.open(slice, &projection, limits).map_err(|e| e.to_string())? {
            match item.map_err(|e| e.to_string())? {
                Item::Row { at, row } => {
                    assert_eq!(
                        (at.row_group, at.row),
                        (None, rows.len() as u64),
                        "{name}: rows are counted through the file"
                    );
                    let Content::Text(text) = row.content else { panic!("{name}") };
                    rows.push(serde_json::from_str(&text).unwrap());
                }
                Item::Bad { at, reason, .. } => return Err(format!("{name}, {at}: {reason}")),
            }
        }
    }
    let counted = file.inspection.rows.filter(|rows| *rows == 0 || !file.inspection.slices.contains(&Slice::Whole));
    assert!(counted.is_none_or(|n| n == rows.len() as u64), "{name}: {counted:?} rows were counted");
    Ok(rows)
}

/// The files of the oracle.
fn cases() -> Vec<(Case, Vec<u8>)> {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../../../tests/oracles/containers.json")).unwrap();
    let bytes = |case: &Case| {
        let digit = |i| u8::from_str_radix(&case.bytes[i..i + 2], 16).unwrap();
        (0..case.bytes.len()).step_by(2).map(digit).collect()
    };
    cases.into_iter().map(|case| (bytes(&case), case)).map(|(bytes, case)| (case, bytes)).collect()
}

#[test]
fn every_container_gives_the_rows_that_python_reads() {
    let cases = cases();
    assert!(cases.len() > 60);
    for (case, bytes) in cases {
        for slice_bytes in [1 << 20, 64, 1] {
            let rows = read(&case.file, &bytes, &case.keys, &limits(slice_bytes));
            assert_eq!(rows.as_ref(), Ok(&case.rows), "{} in slices of {slice_bytes} bytes", case.file);
        }
    }
}

#[test]
fn a_damaged_file_is_an_error_or_rows_and_never_a_crash() {
    let mut errors = 0;
    for (case, bytes) in cases() {
        let step = bytes.len() / 10 + 1;
        let cuts = (0..bytes.len()).step_by(step).map(|n| bytes[..n].to_vec());
        let flips = (0..bytes.len()).step_by(step).map(|n| {
            let mut bytes = bytes.clone();
            bytes[n] ^= 0xff;
            bytes
        });
        for bytes in cuts.chain(flips) {
            if let Err(said) = read(&case.file, &bytes, &case.keys, &limits(64)) {
                errors += 1;
                assert!(said.contains(&case.file) && said.len() < 700, "{said}");
            }
        }
    }
    assert!(errors > 300, "{errors}");
}

#[test]
fn text_is_a_document_a_file_or_a_line() {
    let text = "\u{feff}  Una riga.\r\n\r\n \t\nUn'altra: {\n\nFine";
    let line = |text: &str| json!({ "text": text });
    let lines = ["  Una riga.", "Un'altra: {", "Fine"].map(line);
    let mut keys = Map::new();
    assert_eq!(read("a.md", text.as_bytes(), &keys, &limits(1)), Ok(vec![line(&text[3..])]));
    keys.insert("documents".into(), "line".into());
    for slice_bytes in [1, 20, 1 << 20] {
        assert_eq!(read("a.md", text.as_bytes(), &keys, &limits(slice_bytes)), Ok(lines.to_vec()));
    }
    let bad = [b"Una\n\nDue ", &b"\xff\n"[..]].concat();
    let said = read("a.md", &bad, &keys, &limits(1)).unwrap_err();
    assert!(said.starts_with("a.md, row 1 (from 0): line 3: is not valid UTF-8 from its byte 4 on: if"), "{said}");
    // JSON lines are often called so.
    assert_eq!(read("a.txt", b"{\"text\": \"Uno\"}\n", &Map::new(), &limits(1)), Ok(vec![json!({ "text": "Uno" })]));
    assert_eq!(read("a.txt", b"[Uno] {\"due\"}", &Map::new(), &limits(1)).map(|rows| rows.len()), Ok(1));
}

#[test]
fn what_is_wrong_with_a_file_is_said_in_a_line_that_does_not_grow_with_it() {
    let many = |n: usize, value: &str| {
        let fields: Vec<String> = (0..n).map(|i| format!("\"chiave-{i}\": {value}")).collect();
        format!("{{{}}}", fields.join(",\n"))
    };
    let field = |field: &str| Map::from_iter([("field".to_owned(), field.into())]);
    let none = Map::new();
    let long = "lungo".repeat(10_000);
    for (name, text, keys, said) in [
        (
            "by-id.json",
            many(20_000, "{\"text\": \"Uno\"}"),
            &none,
            "is one object that holds 20,000 others by key (chiave-0, chiave-1, ",
        ),
        (
            "pandas.json",
            "{\"text\": {\"0\": \"a\"}, \"n\": {\"0\": 1}}".into(),
            &none,
            "write it with `orient=\"records\", lines=True`",
        ),
        (
            "ragged.json",
            "{\"a\": [1, 2], \"b\": [1]}".into(),
            &none,
            "not of one length: `a` has 2 values, and `b` has 1",
        ),
        ("no-field.json", many(20_000, "1"), &field("data"), "has no field `data`; it has chiave-0, "),
        ("long-field.json", format!("{{\"{long}\": 1}}"), &field("data"), "has no field `data`; it has lungolungo"),
        ("array.json", "[{\"a\": 1}]".into(), &field("data"), "take `field = \"data\"` away"),
        ("scalar.json", "{\"data\": 3}".into(), &field("data"), "its `data` is no list of rows"),
        (
            "keyed.json",
            "{\"data\": {\"x\": {\"t\": 1}, \"y\": {\"t\": 2}}}".into(),
            &field("data"),
            "its `data` is one object that holds 2",
        ),
        ("lines.jsonl", "{\"data\": []}\n{\"data\": []}\n".into(), &field("data"), "'{' follows the object's end"),
        ("twice.json", "{\"data\": [], \"data\": []}".into(), &field("data"), "has the field `data` twice"),
        ("cut.json", "{\"data\": [{\"a\": 1}]".into(), &field("data"), "the file ends in the middle of this element"),
        (
            "cut.jsonl",
            "{\n \"a\": 1\n}\n{\n \"a\":".into(),
            &none,
            "row 1 (from 0): the file ends in the middle of this element",
        ),
        ("between.json", "{\n}\n,\n{\n}".into(), &none, "',' stands where the next object should begin"),
        ("a.csv", "text\n\"Uno\n\n\nDue\n".into(), &none, "line 2 opens a quote that nothing closes"),
        (
            "a.csv",
            "a,b\n1,2\n\n\"x\ny\"\n".into(),
            &none,
            "row 1 (from 0): line 4: it has 1 fields, and the columns are 2 (the separator is ',')",
        ),
        ("a.csv", "<!DOCTYPE html>\n<html>".into(), &none, "is a web page, and no table: fetch it again"),
        ("a.json", "<html>".into(), &none, "is a web page, as a failed download leaves it"),
        ("a.dat", "text\nUno".into(), &none, "begins like no format that is read"),
        ("a.csv", "a,b\n1,2\n".into(), &field("x"), "is read as CSV, and `field` in its [[source]] is for JSON"),
        ("a.jsonl", "{\0\"\0".into(), &none, "write `encoding = \"utf-16le\"` into its [[source]]"),
        ("a.xlsx", "PK\u{3}\u{4}".into(), &none, "save the sheet as CSV"),
    ] {
        let error = read(name, text.as_bytes(), keys, &limits(1 << 20))
            .err()
            .unwrap_or_else(|| panic!("{name} is read: {text}"));
        assert!(error.contains(said) && error.len() < 700, "{name}: {error}");
    }
    let encoding = |name: &str| Map::from_iter([("encoding".to_owned(), name.into())]);
    for (bytes, name, said) in [
        (&b"text\nUno\n"[..], "klingon", "there is no encoding \"klingon\""),
        (b"text\nUno\xff\xff\n", "gbk", "it is not GBK around its byte"),
        (b"t\0\xe8\0\n\0\0\xd8x\0\n\0", "utf-16le", "it is not UTF-16LE around its byte"),
    ] {
        let error = read("a.csv", bytes, &encoding(name), &limits(1)).err().unwrap_or_default();
        assert!(error.contains(said) && !error.contains("fetch it again"), "{name}: {error}");
    }
    let bytes = [b"text\nCos", &b"\xec\n"[..]].concat();
    let error = read("a.csv", &bytes, &none, &limits(1)).unwrap_err();
    assert!(
        error.contains("line 2: column `text` is not valid UTF-8 from its byte 3 on: if the file is in"),
        "{error}"
    );
}

#[test]
fn a_separator_that_excel_states_is_none_of_the_rows() {
    for (text, keys) in [
        ("sep=;\r\na;b,c\r\nUno;1,5\r\n", Map::new()),
        ("\u{feff}sep=|\n\na|b,c\nUno|1,5\n", Map::new()),
        ("sep=;\nUno;1,5\n", Map::from_iter([("columns".to_owned(), json!(["a", "b,c"]))])),
    ] {
        for slice_bytes in [1, 1 << 20] {
            let rows = read("a.csv", text.as_bytes(), &keys, &limits(slice_bytes));
            assert_eq!(rows, Ok(vec![json!({ "a": "Uno", "b,c": "1,5" })]), "{text}");
        }
    }
}

#[test]
fn a_header_is_read_whole_however_long_it_is_or_refused() {
    let none = Map::new();
    let names: Vec<String> = (0..12_000).map(|i| format!("column_{i:05}")).collect();
    let text = format!("{}\n{}\n", names.join(","), vec!["x"; names.len()].join(","));
    assert!(text.find('\n') > Some(2 * csv::HEAD_BYTES));
    let row = read("a.csv", text.as_bytes(), &none, &limits(1 << 20)).unwrap_or_else(|e| panic!("{e}")).remove(0);
    assert_eq!(row.as_object().map(|row| row.keys().cloned().collect::<Vec<_>>()), Some(names));
    let wide = format!("{}\n", vec!["a"; 17_000].join(","));
    let error = read("a.csv", wide.as_bytes(), &none, &limits(1 << 20)).unwrap_err();
    assert!(error.contains("17,000 columns, and no more than 16,384 are read"), "{error}");
    let long = format!("text,{}\nUno,x\n", "b".repeat(3000));
    let error = read("a.csv", long.as_bytes(), &none, &Limits { max_row_bytes: 1000, ..limits(1 << 20) }).unwrap_err();
    assert!(error.contains("its header, the first line, holds 3006 bytes"), "{error}");
}

#[test]
fn bytes_that_are_no_text_are_no_fault_of_a_column_that_nobody_reads() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    std::fs::write(&path, b"text,note\nUno,caf\xe9\nDue,x\n").unwrap();
    let limits = limits(1 << 20);
    let file = inspect(&Place::disk(path), "a.csv", &source(&Map::new()), &limits, &|| false).unwrap();
    let rows = |extra: &[String]| {
        let (mapping, types) = (Mapping::default(), BTreeMap::new());
        let text = find_schema("text").unwrap();
        let projection = Projection { schema: text, mapping: &mapping, extra, types: &types };
        let items = file.open(&file.inspection.slices[0], &projection, &limits).unwrap().map(Result::unwrap);
        items.map(|item| matches!(item, Item::Row { .. })).collect::<Vec<_>>()
    };
    assert_eq!(rows(&[]), [true, true]);
    assert_eq!(rows(&["note".into()]), [false, true]);
}

/// A stream of Arrow with packed bodies.
fn arrow(batch: &RecordBatch, compression: CompressionType) -> Vec<u8> {
    let options = IpcWriteOptions::default().try_with_compression(Some(compression)).unwrap();
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
    writer.write(batch).unwrap();
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn arrow_is_read_whatever_packs_it() {
    // A text that packs better than LZ4 can.
    let texts: Vec<String> = (0..50).map(|i| format!("{i} {}", "x".repeat(10_000))).collect();
    let column: ArrayRef = Arc::new(StringArray::from(texts.clone()));
    let batch = RecordBatch::try_from_iter([("text", column)]).unwrap();
    let rows: Vec<Value> = texts.iter().map(|text| json!({ "text": text })).collect();
    for compression in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
        let bytes = arrow(&batch, compression);
        assert_eq!(read("a.arrow", &bytes, &Map::new(), &limits(1 << 20)).as_ref(), Ok(&rows), "{compression:?}");
    }
}

#[test]
fn what_nobody_reads_of_a_row_of_arrow_does_not_make_it_too_long() {
    let of = |text: &str| Arc::new(StringArray::from(vec![text])) as ArrayRef;
    let limits = Limits { max_row_bytes: 1000, ..limits(1 << 20) };
    for (text, note, fits) in [("Uno", "x".repeat(5000), true), (&*"x".repeat(5000), "y".into(), false)] {
        let batch = RecordBatch::try_from_iter([("text", of(text)), ("note", of(&note))]).unwrap();
        let row = read("a.arrow", &arrow(&batch, CompressionType::LZ4_FRAME), &Map::new(), &limits);
        assert_eq!(row.is_ok(), fits, "{row:?}");
    }
}

#[test]
fn one_broken_line_costs_its_own_row_and_not_the_layout() {
    // The first line decides about the layout, and must not when it is broken.
    for broken in
        ["{\"text\": \"U", "{\"text\": {\"a\": 1}", "{\"text\": \"U\",", "{\"text\": \"U\"}}", "{\"text\": [1, 2"]
    {
        let text = format!("{broken}\n{{\"text\": \"Due\"}}\n{{\"text\": \"Tre\"}}\n");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        std::fs::write(&path, text).unwrap();
        let limits = limits(1 << 20);
        let file = inspect(&Place::disk(path), "a.jsonl", &source(&Map::new()), &limits, &|| false).unwrap();
        let projection =
            Projection { schema: &Whole, mapping: &Mapping::default(), extra: &[], types: &BTreeMap::new() };
        let items: Vec<Item> =
            file.open(&file.inspection.slices[0], &projection, &limits).unwrap().map(Result::unwrap).collect();
        let bad: Vec<bool> = items.iter().map(|item| matches!(item, Item::Bad { .. })).collect();
        assert_eq!(bad, [true, false, false], "{broken}");
    }
}

#[test]
fn the_hint_names_the_field_that_holds_the_rows() {
    let find = |text: &str| {
        let Ok(layout::JsonFile::Rows { hint, .. }) = layout::layout(text.as_bytes(), text.as_bytes(), None) else {
            panic!("{text} is no file of rows")
        };
        hint.and_then(|hint| hint.advice(&["messages".to_owned()].into())).unwrap_or_default()
    };
    let one = find("{\"version\": \"1\", \"data\": [{\"t\": 1}, {\"t\": 2}], \"tags\": [\"a\"]}");
    assert!(one.contains("its `data` is a list of 2 objects") && one.contains("`field = \"data\"`"), "{one}");
    let two = find("{\"train\": [{}], \"test\": [{}], \"v\": 1}");
    assert!(two.contains("lists of objects, train and test"), "{two}");
    assert_eq!(find("{\"text\": \"Uno\"}"), "");
    assert_eq!(find("{\"messages\": [{\"role\": 1}], \"n\": 1}"), "", "a list that is a column of the row");
    let other = find("{\"messages\": [{}], \"data\": [{}], \"n\": 1}");
    assert!(other.contains("its `data` is a list of 1 objects"), "{other}");
    assert_eq!(find("{\"messages\": [{}]}\n{\"messages\": [{}]}"), "", "lines are rows");
}
