//! Bad input gets a message that says where and what to do, a non-zero exit, and leaves earlier output intact.

use std::{io::Write, sync::Arc};

use arrow_array::{Array, ArrayRef, BinaryArray, ListArray, RecordBatch, StringArray, StructArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field};
use parquet::{
    data_type::{ByteArray, ByteArrayType},
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};

use crate::fixture::{Fixture, TestRng, Transcript, batches, column, parquet_of, setaccio};
use crate::sources::gzip;

/// A fixture with one good file and an earlier build of it.
fn fixture() -> Fixture {
    let fixture = Fixture::text("[read]\ntask_bytes = 20000\n");
    fixture.write("data/web/good.jsonl", TestRng(1).lines(50));
    fixture.build("out", &[]).assert_success();
    fixture
}

/// What is said of a bad file beside the good one; the earlier build must stay as it was.
fn said(fixture: &Fixture, name: &str, bytes: impl AsRef<[u8]>) -> String {
    let before = fixture.published("out");
    fixture.write(&format!("data/web/{name}"), bytes);
    let said = fixture.build("out", &[]).assert_failure();
    assert_eq!(fixture.published("out"), before, "the earlier build was touched");
    assert!(said.contains(name), "the file is not named: {said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

fn row(text: &str) -> String {
    format!("{}\n", serde_json::json!({ "text": text }))
}

/// A Parquet file of texts, ten rows a row group.
fn parquet(texts: Vec<Option<String>>, name: &str) -> Vec<u8> {
    let array = Arc::new(StringArray::from(texts)) as ArrayRef;
    let batch = RecordBatch::try_from_iter_with_nullable([(name, array, true)]).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(10)).build();
    parquet_of(&batch, Some(properties))
}

fn texts(n: usize) -> Vec<Option<String>> {
    let mut rng = TestRng(3);
    (0..n).map(|_| Some(rng.text())).collect()
}

#[test]
fn torn_parquet() {
    let fixture = fixture();
    let whole = parquet(texts(40), "text");
    let mut transcript = Transcript::default();
    transcript.add("the second half is missing", &said(&fixture, "x.parquet", &whole[..whole.len() / 2]));
    // Corrupt pages are met while reading, with the row group they are in.
    let mut corrupt = whole.clone();
    let middle = corrupt.len() / 2;
    corrupt[middle - 200..middle].fill(0xff);
    transcript.add("a page is corrupt", &said(&fixture, "x.parquet", corrupt));
    transcript.assert_snapshot("bad_input-torn_parquet");
}

#[test]
fn compressed_files_that_end_early() {
    let fixture = fixture();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(TestRng(4).lines(300).as_bytes()).unwrap();
    let gz = gz.finish().unwrap();
    let mut transcript = Transcript::default();
    transcript.add("gzip", &said(&fixture, "x.json.gz", &gz[..gz.len() - 20]));
    std::fs::remove_file(fixture.path("data/web/x.json.gz")).unwrap();
    let zst = zstd::encode_all(TestRng(4).lines(300).as_bytes(), 3).unwrap();
    transcript.add("Zstandard", &said(&fixture, "x.jsonl.zst", &zst[..zst.len() - 20]));
    transcript.assert_snapshot("bad_input-compressed_files_that_end_early");
}

#[test]
fn json_that_breaks_off() {
    let fixture = fixture();
    let array = format!("[{},{}]", row("uno").trim_end(), row("due").trim_end());
    let mut transcript = Transcript::default();
    for bytes in [
        array[..array.len() - 1].to_owned(),
        array[..array.len() - 6].to_owned(),
        format!("{array}{{}}"),
        array.replace("},{", "} {"),
        array.replace("},{", "},,{"),
        row("tre").trim_end().trim_end_matches('}').to_owned(),
    ] {
        transcript.add(&bytes, &said(&fixture, "x.json", &bytes));
    }
    transcript.assert_snapshot("bad_input-json_that_breaks_off");
}

#[test]
fn rows_that_are_no_rows() {
    let fixture = fixture();
    let good = row("Una riga buona.");
    let invalid = [good.as_bytes(), b"{\"text\": \"caff\xe8\"}\n"].concat();
    let mut transcript = Transcript::default();
    for bytes in [
        invalid,
        format!("{good}{}\n", r#"{"text": null}"#).into(),
        format!("{good}{}\n", r#"{"text": 3}"#).into(),
        format!("{good}{}\n", r#"{"testo": "a", "url": "b"}"#).into(),
        format!("{good}[1]\n").into(),
    ] {
        let case = String::from_utf8_lossy(&bytes[good.len()..]).trim_end().to_owned();
        transcript.add(case, &said(&fixture, "x.jsonl", bytes));
    }
    transcript.assert_snapshot("bad_input-rows_that_are_no_rows");
}

#[test]
fn rows_of_parquet_that_are_no_rows() {
    let fixture = fixture();
    let mut with_null = texts(40);
    with_null[23] = None;
    let mut transcript = Transcript::default();
    transcript.add("row 23 is null", &said(&fixture, "x.parquet", parquet(with_null, "text")));
    transcript.add("the column has another name", &said(&fixture, "x.parquet", parquet(texts(20), "testo")));
    let binary = text_of_bytes(&[b"buona", b"caff\xe8"]);
    transcript.add("row 1 is not UTF-8", &said(&fixture, "x.parquet", binary));
    transcript.assert_snapshot("bad_input-rows_of_parquet_that_are_no_rows");
    // One bad value costs its own row alone, though a dictionary holds it for the whole row group.
    fixture.build("out", &["--on-bad-row", "skip"]).assert_success();
    assert_eq!(column(&fixture.path("out/rejects"), "screen", "raw"), ["{\"text\":\"caff\u{fffd}\"}"]);
}

/// A Parquet file whose column `text` is declared to be text, whatever its bytes are.
fn text_of_bytes(values: &[&[u8]]) -> Vec<u8> {
    let schema = Arc::new(parse_message_type("message m { required binary text (UTF8); }").unwrap());
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let values: Vec<ByteArray> = values.iter().map(|v| ByteArray::from(v.to_vec())).collect();
    column.typed::<ByteArrayType>().write_batch(&values, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    bytes
}

#[test]
fn a_row_of_fifty_megabytes() {
    let fixture = fixture();
    let long = row(&"parole ".repeat(50_000_000 / 7));
    let mut transcript = Transcript::default();
    transcript.add("JSON lines", &said(&fixture, "x.jsonl", format!("{}{long}", row("Prima."))));
    std::fs::remove_file(fixture.path("data/web/x.jsonl")).unwrap();
    let long = Some("parole ".repeat(50_000_000 / 7));
    transcript.add("Parquet", &said(&fixture, "x.parquet", parquet(vec![Some("Prima.".into()), long], "text")));
    transcript.assert_snapshot("bad_input-a_row_of_fifty_megabytes");
    // Whoever wants such rows has them.
    fixture.build("out", &["--set", "read.max_row_bytes=60000000"]).assert_success();
    assert_eq!(fixture.ids("out", "train").len(), 52);
}

#[test]
fn a_source_that_holds_nothing() {
    let fixture = fixture();
    let mut transcript = Transcript::default();
    transcript.add("a file of no known format", &said(&fixture, "x.json", "text\nuno\n"));
    std::fs::remove_dir_all(fixture.path("data/web")).unwrap();
    fixture.write("data/web/x.json", "[]");
    transcript.add("only an empty file", &fixture.build("out", &[]).assert_failure());
    fixture.write("data/web/y.jsonl", "\n\n");
    fixture.write("data/web/z.csv", "text,label\n");
    transcript.add("only empty files", &fixture.build("out", &[]).assert_failure());
    std::fs::remove_dir_all(fixture.path("data/web")).unwrap();
    transcript.add("no folder of the source", &fixture.build("out", &[]).assert_failure());
    std::fs::create_dir_all(fixture.path("data/web")).unwrap();
    transcript.add("an empty folder", &fixture.build("out", &[]).assert_failure());
    transcript.assert_snapshot("bad_input-a_source_that_holds_nothing");
}

#[test]
fn a_table_without_a_header_is_not_read_as_if_it_had_one() {
    let fixture = Fixture::text("");
    fixture.write("data/web/x.csv", "Uno,1\nDue,2\n");
    let said = fixture.build("out", &["--on-bad-row", "skip"]).assert_failure();
    assert!(said.contains("web/x.csv: column `text` is missing; there are 1, Uno"), "{said}");
    assert!(said.contains("if it is a row, name them in the [[source]], `columns = [...]`"), "{said}");
    fixture.build("out", &["--set", "source.web.columns=['text', 'n']"]).assert_success();
    assert_eq!(fixture.ids("out", "train").len(), 2);
}

#[test]
fn a_table_that_is_called_a_text_says_how_to_be_read() {
    let fixture = Fixture::new("chat", &[("web", "alpaca")], "");
    fixture.write("data/web/x.txt", "instruction\tinput\toutput\nChi?\t\tIo.\n");
    let said = fixture.build("out", &[]).assert_failure();
    assert!(said.contains("web/x.txt: is read as plain text") && said.contains("has no `instruction`"), "{said}");
    fixture.build("out", &["--set", "source.web.format='csv'"]).assert_success();
    assert_eq!(fixture.ids("out", "train").len(), 1);
}

#[test]
fn a_note_beside_tables_is_no_document_in_silence() {
    let fixture = fixture();
    let said = said(&fixture, "README.md", "# How these rows came about\n");
    assert!(said.contains("web/README.md is plain text, and web/good.jsonl is not"), "{said}");
}

#[test]
fn empty_parts_among_good_ones_are_counted_and_named() {
    let fixture = Fixture::text("");
    fixture.write("data/web/a.jsonl", TestRng(5).lines(10));
    fixture.build("plain", &[]).assert_success();
    for (name, bytes) in [
        ("b.jsonl", Vec::new()),
        ("c.json", b"[ ]\n".to_vec()),
        ("d.csv", b"\xef\xbb\xbftext,label\r\n\r\n".to_vec()),
        ("e.parquet", parquet(Vec::new(), "text")),
        ("f.jsonl.gz", gzip(b"\n")),
        ("g.json.zst", zstd::encode_all(&b"[]"[..], 3).unwrap()),
        ("h.json", b"{\"text\": []}".to_vec()),
    ] {
        fixture.write(&format!("data/web/{name}"), bytes);
    }
    let said = fixture.build("out", &[]).assert_success().said();
    let note = "Of the 8 files of `web` 7 hold no rows: web/b.jsonl, web/c.json, web/d.csv, web/e.parquet, web/f.jsonl.gz, \
                web/g.json.zst, web/h.json.";
    let card = std::fs::read_to_string(fixture.path("out/README.md")).unwrap();
    let ledger = std::fs::read_to_string(fixture.path("out/ledger.json")).unwrap();
    for text in [&said, &card, &ledger] {
        assert!(text.contains(note), "{text}");
    }
    assert_eq!(fixture.ids("out", "train"), fixture.ids("plain", "train"));
}

#[test]
fn skipped_rows_are_rejects_with_their_reason() {
    let fixture = Fixture::text("");
    let mut lines = TestRng(5).lines(10).into_bytes();
    lines.extend(b"{\"text\": \"caff\xe8\"}\n{\"text\": null, \"url\": \"u\"}\n{\"text\n");
    fixture.write("data/web/x.jsonl", lines);
    let mut with_null = texts(20);
    with_null[13] = None;
    fixture.write("data/web/y.parquet", parquet(with_null, "text"));
    fixture.build("stop", &[]).assert_failure();
    let said = fixture.build("out", &["--on-bad-row", "skip"]).assert_success().stdout;
    let rejects = fixture.path("out/rejects");
    let [rules, reasons, raw] = ["rule", "detail", "raw"].map(|name| column(&rejects, "screen", name));
    assert_eq!(rules, ["bad_row"; 4]);
    let mut transcript = Transcript::default();
    transcript.add("what is said", &said);
    for (raw, reason) in raw.iter().zip(&reasons) {
        transcript.add(raw, reason);
    }
    transcript.assert_snapshot("bad_input-skipped_rows_are_rejects");
    assert_eq!(batches(&fixture.path("out/data"), "").iter().map(RecordBatch::num_rows).sum::<usize>(), 10 + 19);
    let out = fixture.path("out");
    setaccio(&["verify", out.to_str().unwrap()]).assert_success();
}

#[test]
fn mistakes_in_a_recipe() {
    let said = |settings: &str, args: &[&str]| {
        let fixture = Fixture::text(settings);
        fixture.write("data/web/x.jsonl", row("uno"));
        let said = fixture.build("out", args).assert_failure();
        assert!(!fixture.path("out").exists(), "nothing is made for a recipe that is wrong");
        said
    };
    let list =
        |sha: &str| format!("[[filter]]\nrule = 'bad_words'\nlists = [{{ name = 'setaccio-it', sha256 = '{sha}' }}]");
    let lists = concat!(env!("CARGO_MANIFEST_DIR"), "/filters/lists/setaccio-it.txt");
    let wrong = {
        let fixture = Fixture::text(&list(&"0".repeat(64)));
        fixture.write("data/web/x.jsonl", row("uno"));
        fixture.write("lists/setaccio-it.txt", std::fs::read(lists).unwrap());
        fixture.build("out", &[]).assert_failure()
    };
    let mut transcript = Transcript::default();
    for settings in [
        "[dedupe]",
        "[split]\nvalidatoin = 0.1",
        "[[filter]]\nrule = 'langage'",
        "[[filter]]\nrule = 'length'\nmin_char = 3",
        "[[filter]]\nrule = 'length'\n[[screen]]\nrule = 'length'",
        "[[filter]]\nrule = 'roles'",
        &list("abc"),
    ] {
        transcript.add(settings, &said(settings, &[]));
    }
    for set in ["sede=3", "filter.language.threshold=0.5"] {
        transcript.add(format!("--set {set}"), &said("", &["--set", set]));
    }
    transcript.add("a list of another content", &wrong);
    transcript.add("no such recipe", &setaccio(&["build", "pipelines/sft-mx.toml"]).assert_failure());
    transcript.add("verify of a folder that no build wrote", &setaccio(&["verify", "pipelines"]).assert_failure());
    transcript.assert_snapshot("bad_input-mistakes_in_a_recipe");
}

#[test]
fn a_kept_column_of_another_type_is_an_error_that_names_it() {
    let fixture = Fixture::text("[output]\nkeep = { score = 'float64' }\n");
    fixture.write("data/web/x.jsonl", "{\"text\": \"uno\", \"score\": 1}\n{\"text\": \"due\", \"score\": \"alto\"}\n");
    let mut transcript = Transcript::default();
    transcript.add("stop", &fixture.build("out", &[]).assert_failure());
    transcript.add("skip", &fixture.build("out", &["--on-bad-row", "skip"]).assert_success().said());
    transcript.assert_snapshot("bad_input-a_kept_column_of_another_type");
    assert_eq!(column(&fixture.path("out/rejects"), "screen", "rule"), ["output"]);
    let out = fixture.path("out");
    setaccio(&["verify", out.to_str().unwrap()]).assert_success();
}

#[test]
fn a_bad_row_is_kept_whole() {
    let fixture = Fixture::new("chat", &[("web", "orca")], "");
    let good = r#"{"system": "s", "instruction": "i", "output": "o"}"#;
    fixture.write("data/web/x.jsonl", format!("{good}\n{}", good.replace("\"o\"", "null")));
    fixture.build("out", &["--on-bad-row", "skip"]).assert_success();
    assert_eq!(column(&fixture.path("out/rejects"), "screen", "raw"), [good.replace("\"o\"", "null")]);
}

#[test]
fn a_rule_on_a_column_that_is_not_there_lets_nothing_slip_through() {
    let fixture = Fixture::text("[[filter]]\nrule = 'column'\ncolumn = 'sorce'\ndrop = ['x']\n");
    fixture.write("data/web/x.jsonl", "{\"text\": \"a\", \"source\": \"x\"}\n{\"text\": \"b\", \"source\": \"y\"}\n");
    let mut transcript = Transcript::default();
    transcript.add("no row has the column", &fixture.build("out", &[]).assert_failure());
    assert!(!fixture.path("out/ledger.json").exists());
    fixture.build("out", &["--set", "filter.column.column=source"]).assert_success();
    let said = fixture
        .build("out", &["--set", "filter.column.absent=keep", "--set", "output.keep.sorce=string"])
        .assert_success();
    transcript.add("a kept column that no row has", &said.said());
    transcript.assert_snapshot("bad_input-a_rule_on_a_column_that_is_not_there");
}

#[test]
fn text_that_is_none_in_messages_and_kept_columns_is_not_lost() {
    let turn = |content: &[u8]| {
        let field = |name: &str, kind| Arc::new(Field::new(name, kind, true));
        let role = Arc::new(StringArray::from(vec!["user"])) as ArrayRef;
        let content = Arc::new(BinaryArray::from_vec(vec![content])) as ArrayRef;
        let tool = Arc::new(BinaryArray::from_vec(vec![b"\xff".as_slice()])) as ArrayRef;
        let fields = vec![
            (field("role", DataType::Utf8), role),
            (field("content", DataType::Binary), content),
            (field("tool", DataType::Binary), tool),
        ];
        let structs = StructArray::from(fields);
        let item = Arc::new(Field::new("element", structs.data_type().clone(), true));
        Arc::new(ListArray::new(item, OffsetBuffer::from_lengths([1]), Arc::new(structs), None)) as ArrayRef
    };
    let file = |content: &[u8], note: &[u8]| {
        let note = Arc::new(BinaryArray::from_vec(vec![note])) as ArrayRef;
        let batch = RecordBatch::try_from_iter([("messages", turn(content)), ("note", note)]).unwrap();
        parquet_of(&batch, None)
    };
    let fixture = Fixture::new("chat", &[("web", "messages")], "");
    // Fields and columns that nobody asked for may hold what they like.
    fixture.write("data/web/a.parquet", file(b"Ciao", b"\xff"));
    fixture.build("out", &[]).assert_success();
    let mut transcript = Transcript::default();
    let kept = fixture.build("out", &["--set", "output.keep.note=string"]).assert_failure();
    transcript.add("a kept column", &kept);
    fixture.write("data/web/b.parquet", file(b"Ciao \xff", b"x"));
    transcript.add("a message", &fixture.build("out", &[]).assert_failure());
    transcript.assert_snapshot("bad_input-text_that_is_none");
    fixture.build("out", &["--on-bad-row", "skip"]).assert_success();
    let raw = column(&fixture.path("out/rejects"), "screen", "raw");
    assert!(
        raw[0].contains("\"role\":\"user\"") && raw[0].contains("Ciao \u{fffd}"),
        "a bad row is kept whole: {raw:?}"
    );
}
