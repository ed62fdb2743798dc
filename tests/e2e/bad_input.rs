//! Bad input gets a message that says where and what to do, a non-zero exit, and leaves earlier output intact.

use std::{io::Write, sync::Arc};

use arrow_array::{Array, ArrayRef, BinaryArray, ListArray, RecordBatch, StringArray, StructArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field};
use parquet::{
    arrow::ArrowWriter,
    data_type::{ByteArray, ByteArrayType},
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};

use crate::lab::{Dice, Lab, batches, column, setaccio};

/// A lab with one good file and an earlier build of it.
fn lab() -> Lab {
    let lab = Lab::text("[read]\ntask_bytes = 20000\n");
    lab.write("data/web/good.jsonl", Dice(1).lines(50));
    lab.build("out", &[]).good();
    lab
}

/// What is said of a bad file beside the good one; the earlier build must stay as it was.
fn said(lab: &Lab, name: &str, bytes: impl AsRef<[u8]>) -> String {
    let before = lab.published("out");
    lab.write(&format!("data/web/{name}"), bytes);
    let said = lab.build("out", &[]).bad();
    assert_eq!(lab.published("out"), before, "the earlier build was touched");
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
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

fn texts(n: usize) -> Vec<Option<String>> {
    let mut dice = Dice(3);
    (0..n).map(|_| Some(dice.text())).collect()
}

#[test]
fn torn_parquet() {
    let lab = lab();
    let whole = parquet(texts(40), "text");
    let cut = said(&lab, "x.parquet", &whole[..whole.len() / 2]);
    assert!(cut.contains("fetch it again"), "{cut}");
    // Corrupt pages are met while reading, with the row group they are in.
    let mut corrupt = whole.clone();
    let middle = corrupt.len() / 2;
    corrupt[middle - 200..middle].fill(0xff);
    let torn = said(&lab, "x.parquet", corrupt);
    assert!(torn.contains("row group") && torn.contains("fetch it again"), "{torn}");
}

#[test]
fn compressed_files_that_end_early() {
    let lab = lab();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(Dice(4).lines(300).as_bytes()).unwrap();
    let gz = gz.finish().unwrap();
    let cut = said(&lab, "x.json.gz", &gz[..gz.len() - 20]);
    assert!(cut.contains("row ") && cut.contains("fetch it again"), "{cut}");
    std::fs::remove_file(lab.path("data/web/x.json.gz")).unwrap();
    let zst = zstd::encode_all(Dice(4).lines(300).as_bytes(), 3).unwrap();
    let cut = said(&lab, "x.jsonl.zst", &zst[..zst.len() - 20]);
    assert!(cut.contains("fetch it again"), "{cut}");
}

#[test]
fn json_that_breaks_off() {
    let lab = lab();
    let array = format!("[{},{}]", row("uno").trim_end(), row("due").trim_end());
    for (bytes, what) in [
        (array[..array.len() - 1].to_owned(), "row 2 (from 0): the array ends without its `]`"),
        (array[..array.len() - 6].to_owned(), "row 1 (from 0): the file ends in the middle of this element"),
        (format!("{array}{{}}"), "row 2 (from 0): '{' follows the array's end"),
        (array.replace("},{", "} {"), "row 1 (from 0): a `,` is missing"),
        (array.replace("},{", "},,{"), "row 1 (from 0): a `,` is missing or one too many"),
    ] {
        let said = said(&lab, "x.json", bytes);
        assert!(said.contains(what), "{said}");
        assert!(said.contains("fetch the file again"), "{said}");
    }
    let last = row("tre");
    let said = said(&lab, "x.json", &last[..last.len() - 5]);
    assert!(said.contains("row 0") && said.contains("is not JSON"), "{said}");
}

#[test]
fn rows_that_are_no_rows() {
    let lab = lab();
    let good = row("Una riga buona.");
    let invalid = [good.as_bytes(), b"{\"text\": \"caff\xe8\"}\n"].concat();
    for (bytes, what) in [
        (invalid, "row 1 (from 0), rule `bad_row`: is not valid UTF-8 from its byte 14 on"),
        (format!("{good}{}\n", r#"{"text": null}"#).into(), "column `text` holds null, where text is required"),
        (format!("{good}{}\n", r#"{"text": 3}"#).into(), "column `text` holds a number"),
        (
            format!("{good}{}\n", r#"{"testo": "a", "url": "b"}"#).into(),
            "column `text` is missing; there are testo, url",
        ),
        (format!("{good}[1]\n").into(), "is a list, where an object is required"),
    ] {
        let said = said(&lab, "x.jsonl", bytes);
        assert!(said.contains("row 1") && said.contains("rule `bad_row`") && said.contains(what), "{said}");
        assert!(said.contains("--on-bad-row skip"), "{said}");
    }
}

#[test]
fn rows_of_parquet_that_are_no_rows() {
    let lab = lab();
    let mut with_null = texts(40);
    with_null[23] = None;
    let null = said(&lab, "x.parquet", parquet(with_null, "text"));
    assert!(null.contains("row group 2, row 23 (from 0), rule `bad_row`"), "{null}");
    let other = said(&lab, "x.parquet", parquet(texts(20), "testo"));
    assert!(other.contains("column `text` is missing; there are testo"), "{other}");

    let binary = said(&lab, "x.parquet", text_of_bytes(&[b"buona", b"caff\xe8"]));
    assert!(binary.contains("row group 0, row 1 (from 0)"), "{binary}");
    assert!(binary.contains("column `text` is not valid UTF-8 from its byte 4 on"), "{binary}");
    // One bad value costs its own row alone, though a dictionary holds it for the whole row group.
    lab.build("out", &["--on-bad-row", "skip"]).good();
    assert_eq!(column(&lab.path("out/rejects"), "screen", "raw"), ["{\"text\":\"caff\u{fffd}\"}"]);
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
    let lab = lab();
    let long = row(&"parole ".repeat(50_000_000 / 7));
    let text = said(&lab, "x.jsonl", format!("{}{long}", row("Prima.")));
    assert!(text.contains("row 1") && text.contains("more than read.max_row_bytes allows"), "{text}");
    std::fs::remove_file(lab.path("data/web/x.jsonl")).unwrap();
    let long = Some("parole ".repeat(50_000_000 / 7));
    let text = said(&lab, "x.parquet", parquet(vec![Some("Prima.".into()), long], "text"));
    assert!(text.contains("row 1") && text.contains("more than read.max_row_bytes allows"), "{text}");
    // Whoever wants such rows has them.
    lab.build("out", &["--set", "read.max_row_bytes=60000000"]).good();
    assert_eq!(lab.ids("out", "train").len(), 52);
}

#[test]
fn files_that_hold_nothing() {
    let lab = lab();
    assert!(said(&lab, "x.json", "").contains("is empty"));
    assert!(said(&lab, "x.json", "\n\n").contains("x.json"));
    assert!(said(&lab, "x.json", "[]").contains("holds no rows"));
    assert!(said(&lab, "x.json", "text\nuno\n").contains("x.json"));
    std::fs::remove_dir_all(lab.path("data/web")).unwrap();
    let missing = lab.build("out", &[]).bad();
    assert!(missing.contains("is a folder"), "{missing}");
    std::fs::create_dir_all(lab.path("data/web")).unwrap();
    let none = lab.build("out", &[]).bad();
    assert!(none.contains("web"), "{none}");
}

#[test]
fn skipped_rows_are_rejects_with_their_reason() {
    let lab = Lab::text("");
    let mut lines = Dice(5).lines(10).into_bytes();
    lines.extend(b"{\"text\": \"caff\xe8\"}\n{\"text\": null, \"url\": \"u\"}\n{\"text\n");
    lab.write("data/web/x.jsonl", lines);
    let mut with_null = texts(20);
    with_null[13] = None;
    lab.write("data/web/y.parquet", parquet(with_null, "text"));
    lab.build("stop", &[]).bad();
    let said = lab.build("out", &["--on-bad-row", "skip"]).good().stdout;
    assert!(said.contains("bad_row"), "{said}");
    let rejects = lab.path("out/rejects");
    let reasons = column(&rejects, "screen", "detail");
    assert_eq!(column(&rejects, "screen", "rule"), ["bad_row"; 4]);
    assert!(
        reasons[0].contains("UTF-8") && reasons[1].contains("null") && reasons[2].contains("not JSON"),
        "{reasons:?}"
    );
    assert!(column(&rejects, "screen", "raw")[1].contains("\"url\""), "a bad row is kept whole");
    assert_eq!(batches(&lab.path("out/data"), "").iter().map(RecordBatch::num_rows).sum::<usize>(), 10 + 19);
    let out = lab.path("out");
    setaccio(&["verify", out.to_str().unwrap()]).good();
}

#[test]
fn mistakes_in_a_recipe() {
    let said = |settings: &str, args: &[&str]| {
        let lab = Lab::text(settings);
        lab.write("data/web/x.jsonl", row("uno"));
        let said = lab.build("out", args).bad();
        assert!(!lab.path("out").exists(), "nothing is made for a recipe that is wrong");
        said
    };
    let list =
        |sha: &str| format!("[[filter]]\nrule = 'bad_words'\nlists = [{{ name = 'setaccio-it', sha256 = '{sha}' }}]");
    let lists = concat!(env!("CARGO_MANIFEST_DIR"), "/filters/lists/setaccio-it.txt");
    let wrong = {
        let lab = Lab::text(&list(&"0".repeat(64)));
        lab.write("data/web/x.jsonl", row("uno"));
        lab.write("lists/setaccio-it.txt", std::fs::read(lists).unwrap());
        lab.build("out", &[]).bad()
    };
    for (said, what) in [
        (said("[dedupe]", &[]), "did you mean `dedup`?"),
        (said("[split]\nvalidatoin = 0.1", &[]), "did you mean `validation`?"),
        (said("[[filter]]\nrule = 'langage'", &[]), "did you mean `language`?"),
        (said("[[filter]]\nrule = 'length'\nmin_char = 3", &[]), "did you mean `min_chars`?"),
        (said("[[filter]]\nrule = 'length'\n[[screen]]\nrule = 'length'", &[]), "older name"),
        (said("[[filter]]\nrule = 'roles'", &[]), "does not work on rows of kind text"),
        (said("", &["--set", "sede=3"]), "sede"),
        (said("", &["--set", "filter.language.threshold=0.5"]), "no [[filter]]"),
        (said(&list("abc"), &[]), "setaccio-it"),
        (wrong, "413a7fa585985be4ecf5561a4a39bc3b2162eba8290748434330e327dee54f8e"),
    ] {
        assert!(said.contains("lab.toml") && said.contains(what), "`{what}` not in: {said}");
    }
    assert!(setaccio(&["build", "pipelines/sft-mx.toml"]).bad().contains("sft-mx.toml"));
    let verify = setaccio(&["verify", "pipelines"]).bad();
    assert!(verify.contains("ledger.json"), "{verify}");
}

#[test]
fn a_kept_column_of_another_type_is_an_error_that_names_it() {
    let lab = Lab::text("[output]\nkeep = { score = 'float64' }\n");
    lab.write("data/web/x.jsonl", "{\"text\": \"uno\", \"score\": 1}\n{\"text\": \"due\", \"score\": \"alto\"}\n");
    let said = lab.build("out", &[]).bad();
    assert!(said.contains("row 1 (from 0), rule `output`: kept column `score` holds \"alto\""), "{said}");
    let said = lab.build("out", &["--on-bad-row", "skip"]).good().stdout;
    assert!(said.contains("output"), "{said}");
    assert_eq!(column(&lab.path("out/rejects"), "screen", "rule"), ["output"]);
    let out = lab.path("out");
    setaccio(&["verify", out.to_str().unwrap()]).good();
}

#[test]
fn a_bad_row_is_kept_whole() {
    let lab = Lab::new("chat", &[("web", "orca")], "");
    let good = r#"{"system": "s", "instruction": "i", "output": "o"}"#;
    lab.write("data/web/x.jsonl", format!("{good}\n{}", good.replace("\"o\"", "null")));
    lab.build("out", &["--on-bad-row", "skip"]).good();
    assert_eq!(column(&lab.path("out/rejects"), "screen", "raw"), [good.replace("\"o\"", "null")]);
}

#[test]
fn a_rule_on_a_column_that_is_not_there_lets_nothing_slip_through() {
    let lab = Lab::text("[[filter]]\nrule = 'column'\ncolumn = 'sorce'\ndrop = ['x']\n");
    lab.write("data/web/x.jsonl", "{\"text\": \"a\", \"source\": \"x\"}\n{\"text\": \"b\", \"source\": \"y\"}\n");
    let said = lab.build("out", &[]).bad();
    assert!(said.contains("no row is left to train on: 2 rows read, dropped 2 by column"), "{said}");
    assert!(!lab.path("out/ledger.json").exists());
    lab.build("out", &["--set", "filter.column.column=source"]).good();
    let said = lab.build("out", &["--set", "filter.column.absent=keep", "--set", "output.keep.sorce=string"]).good();
    assert!(said.stdout.contains("note: The kept column `sorce` is empty in every row"), "{}", said.stdout);
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
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        bytes
    };
    let lab = Lab::new("chat", &[("web", "messages")], "");
    // Fields and columns that nobody asked for may hold what they like.
    lab.write("data/web/a.parquet", file(b"Ciao", b"\xff"));
    lab.build("out", &[]).good();
    let said = lab.build("out", &["--set", "output.keep.note=string"]).bad();
    assert!(said.contains("column `note` is not valid UTF-8"), "{said}");
    lab.write("data/web/b.parquet", file(b"Ciao \xff", b"x"));
    let said = lab.build("out", &[]).bad();
    assert!(
        said.contains("b.parquet") && said.contains("`messages` has a `content` that is not valid UTF-8"),
        "{said}"
    );
    lab.build("out", &["--on-bad-row", "skip"]).good();
    let raw = column(&lab.path("out/rejects"), "screen", "raw");
    assert!(
        raw[0].contains("\"role\":\"user\"") && raw[0].contains("Ciao \u{fffd}"),
        "a bad row is kept whole: {raw:?}"
    );
}
