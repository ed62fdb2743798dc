//! The same rows in every container and layout give the same data set.

use std::{fs, io::Write, sync::Arc};

use arrow_array::{
    Array, ArrayRef, BinaryArray, FixedSizeListArray, Float16Array, GenericListArray, LargeStringArray, NullArray,
    OffsetSizeTrait, RecordBatch, StringArray, StringViewArray, StructArray, TimestampMicrosecondArray,
    builder::{Int64Builder, MapBuilder, StringBuilder},
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field};
use parquet::{basic::Compression, file::properties::WriterProperties};

use crate::fixture::{Fixture, ROOT, TestRng, column, parquet_of};

fn texts() -> Vec<String> {
    let mut rng = TestRng(8);
    (0..60).map(|i| format!("{i}. {}", rng.text())).collect()
}

/// A Parquet file of these columns, in row groups of `group` rows.
pub fn parquet(columns: Vec<(&str, ArrayRef)>, compression: Compression, group: usize) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap();
    let properties =
        WriterProperties::builder().set_compression(compression).set_max_row_group_row_count(Some(group)).build();
    parquet_of(&batch, Some(properties))
}

/// The same bytes, packed.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(bytes).unwrap();
    gz.finish().unwrap()
}

/// A field of CSV.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// A file name and its bytes.
type File = (&'static str, Vec<u8>);

fn containers() -> Vec<File> {
    let texts = texts();
    let row = |t: &String| serde_json::json!({ "text": t }).to_string();
    let lines: String = texts.iter().map(|t| row(t) + "\n").collect();
    let array = format!("[\n{}\n]\n", texts.iter().map(row).collect::<Vec<_>>().join(",\n"));
    let pretty = serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(&array).unwrap()).unwrap();
    // Several gzip members in a row are one file, as `cat a.gz b.gz` makes.
    let (head, tail) = lines.split_at(lines.find('\n').unwrap() + 1);
    let csv = texts.iter().map(|t| format!("{},{}\r\n", "x", quoted(t)));
    let csv: String = std::iter::once("url,text\r\n".to_owned()).chain(csv).collect();
    let wide: Vec<u8> = std::iter::once(0xfeff).chain(csv.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let objects = texts.iter().map(|t| serde_json::to_string_pretty(&serde_json::json!({ "text": t })).unwrap() + "\n");
    let members = [gzip(head.as_bytes()), gzip(tail.as_bytes())].concat();
    vec![
        ("lines.jsonl", lines.clone().into_bytes()),
        ("no-last-newline.jsonl", lines.trim_end().to_owned().into_bytes()),
        ("crlf.jsonl", lines.replace('\n', "\r\n").into_bytes()),
        ("bom.jsonl", [b"\xef\xbb\xbf", lines.as_bytes()].concat()),
        ("blank-lines.jsonl", lines.replace('\n', "\n\n").into_bytes()),
        ("lines.json.gz", gzip(lines.as_bytes())),
        ("members.json.gz", members),
        ("lines.jsonl.zst", zstd::encode_all(lines.as_bytes(), 3).unwrap()),
        ("array.json", array.clone().into_bytes()),
        ("pretty.json", pretty.into_bytes()),
        ("bom-array.json", [b"\xef\xbb\xbf", array.as_bytes()].concat()),
        ("array.json.gz", gzip(array.as_bytes())),
        ("array.json.zst", zstd::encode_all(array.as_bytes(), 3).unwrap()),
        ("objects.json", objects.collect::<String>().into_bytes()),
        ("columns.json", serde_json::json!({ "text": texts }).to_string().into_bytes()),
        ("table.csv", csv.clone().into_bytes()),
        ("table.csv.gz", gzip(csv.as_bytes())),
        ("table-utf16.csv", wide),
        ("table.tsv", csv.replace(',', "\t").into_bytes()),
        ("string.parquet", parquet(vec![("text", Arc::new(StringArray::from(texts.clone())))], Compression::SNAPPY, 7)),
        (
            "large.parquet",
            parquet(
                vec![("text", Arc::new(LargeStringArray::from(texts.clone())))],
                Compression::ZSTD(parquet::basic::ZstdLevel::default()),
                100,
            ),
        ),
        (
            "view.parquet",
            parquet(
                vec![("text", Arc::new(StringViewArray::from_iter_values(&texts)))],
                Compression::GZIP(parquet::basic::GzipLevel::default()),
                13,
            ),
        ),
        ("file.arrow", arrow_file(&texts)),
        ("lz4.parquet", parquet(vec![("text", Arc::new(StringArray::from(texts)))], Compression::LZ4_RAW, 60)),
    ]
}

/// A file of Arrow in two batches. The crate fills its first mark up to 64 bytes, as pyarrow does not.
fn arrow_file(texts: &[String]) -> Vec<u8> {
    let batch = |texts: &[String]| {
        let column: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
        RecordBatch::try_from_iter_with_nullable([("text", column, true)]).unwrap()
    };
    let mut writer = arrow_ipc::writer::FileWriter::try_new(Vec::new(), &batch(texts).schema()).unwrap();
    let (head, tail) = texts.split_at(25);
    [head, tail].map(batch).iter().for_each(|batch| writer.write(batch).unwrap());
    writer.into_inner().unwrap()
}

#[test]
fn every_container_gives_the_same_rows_whole_and_in_slices() {
    let mut first: Option<Vec<String>> = None;
    for (name, bytes) in containers() {
        for task_bytes in ["1000000", "900"] {
            let fixture = Fixture::text("");
            fixture.write(&format!("data/web/{name}"), &bytes);
            fixture.build("out", &["--set", &format!("read.task_bytes={task_bytes}")]).assert_success();
            let ids = fixture.ids("out", "train");
            assert_eq!(ids.len(), 60, "{name}");
            assert_eq!(&ids, first.get_or_insert_with(|| ids.clone()), "{name} in tasks of {task_bytes} bytes");
        }
    }
}

#[test]
fn rows_are_found_again_by_the_place_their_reject_names() {
    for (name, bytes) in containers() {
        let fixture = Fixture::text("[[filter]]\nrule = 'regex'\ndrop = ['^41\\. ']\n[read]\ntask_bytes = 900\n");
        fixture.write(&format!("data/web/{name}"), &bytes);
        fixture.build("out", &[]).assert_success();
        let rejects = crate::fixture::batches(&fixture.path("out/rejects"), "");
        let row = rejects.iter().find(|b| b.num_rows() > 0).map(|b| b.column_by_name("row").unwrap().clone()).unwrap();
        let row = arrow_array::cast::AsArray::as_primitive::<arrow_array::types::UInt64Type>(&row);
        assert_eq!((row.len(), row.value(0)), (1, 41), "{name}");
    }
}

/// Messages as a list of structs with its fields in one order or the other.
fn turns<O: OffsetSizeTrait>(rows: &[Vec<(&str, &str)>], role_first: bool) -> ArrayRef {
    let roles: StringArray = rows.iter().flatten().map(|t| Some(t.0)).collect();
    let contents: StringArray = rows.iter().flatten().map(|t| Some(t.1)).collect();
    let field = |name: &str| Arc::new(Field::new(name, DataType::Utf8, true));
    let mut fields: Vec<(Arc<Field>, ArrayRef)> =
        vec![(field("role"), Arc::new(roles)), (field("content"), Arc::new(contents))];
    if !role_first {
        fields.reverse();
    }
    let structs = StructArray::from(fields);
    let item = Arc::new(Field::new("item", structs.data_type().clone(), true));
    let offsets = OffsetBuffer::<O>::from_lengths(rows.iter().map(Vec::len));
    Arc::new(GenericListArray::new(item, offsets, Arc::new(structs), None))
}

#[test]
fn lists_large_lists_and_any_order_of_fields_are_the_same_messages() {
    let rows: Vec<Vec<(&str, &str)>> = vec![
        vec![("user", "Che ore sono?"), ("assistant", "Le sette.")],
        vec![("system", "Sii breve."), ("user", "Ciao"), ("assistant", "Ciao a te.")],
    ];
    let fixed = {
        let list = turns::<i32>(&[rows[0].clone(), rows[0].clone()], true);
        let values = arrow_array::cast::AsArray::as_list::<i32>(&list).values().clone();
        let item = Arc::new(Field::new("item", values.data_type().clone(), true));
        Arc::new(FixedSizeListArray::new(item, 2, values, None)) as ArrayRef
    };
    let mut ids = Vec::new();
    for array in [turns::<i32>(&rows, true), turns::<i32>(&rows, false), turns::<i64>(&rows, true), fixed] {
        let fixture = Fixture::new("chat", &[("chats", "messages")], "");
        fixture.write("data/chats/x.parquet", parquet(vec![("messages", array)], Compression::SNAPPY, 10));
        fixture.build("out", &[]).assert_success();
        ids.push(fixture.ids("out", "train"));
    }
    assert_eq!(ids[0], ids[1]);
    assert_eq!(ids[0], ids[2]);
    assert!(ids[3].iter().all(|id| ids[0].contains(id)));
}

#[test]
fn both_versions_of_the_preference_mix_read_alike() {
    let ids = |sample: &str| {
        let fixture = Fixture::new("preference", &[("orpo", "preference")], "");
        let bytes = std::fs::read(format!("{ROOT}/data/samples/{sample}")).unwrap();
        fixture.write("data/orpo/x.parquet", bytes);
        fixture.build("out", &[]).assert_success();
        column(&fixture.path("out/data"), "", "id")
    };
    let (new, old) = (ids("orpo_dpo_mix_40k.parquet"), ids("orpo_dpo_mix_40k_v1_0.parquet"));
    assert!(old.len() >= 20);
    assert!(old.iter().all(|id| new.contains(id)), "a row without `question` and in large lists is another row");
}

#[test]
fn columns_go_by_the_names_that_a_recipe_gives_them() {
    let fixture = Fixture::text("");
    fixture.write("data/web/x.jsonl", "{\"contenuto\": \"Il testo sta altrove.\"}\n");
    fixture.build("out", &["--set", "source.web.rename={ text = 'contenuto' }"]).assert_success();
    assert_eq!(column(&fixture.path("out/data"), "train", "text"), ["Il testo sta altrove."]);
}

#[test]
fn columns_that_have_no_place_in_a_row_stand_in_nobody_s_way() {
    let utc: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1_555_840_800_000_000]).with_timezone("UTC"));
    let mut votes = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    for (name, value) in [("anna", Some(3)), ("ugo", None)] {
        votes.keys().append_value(name);
        votes.values().append_option(value);
    }
    votes.append(true).unwrap();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("instruction", Arc::new(StringArray::from(vec!["Di' ciao."]))),
        ("input", Arc::new(NullArray::new(1))),
        ("output", Arc::new(StringArray::from(vec!["Ciao."]))),
        ("when", utc),
        ("bytes", Arc::new(BinaryArray::from_vec(vec![b"\xff\x00"]))),
        ("small", Arc::new(Float16Array::new_null(1))),
        ("nothing", Arc::new(NullArray::new(1))),
        ("votes", Arc::new(votes.finish())),
    ];
    let keep = "[output]\nkeep = { when = 'string', votes = 'json' }\n";
    let fixture = Fixture::new("chat", &[("web", "alpaca")], keep);
    fixture.write("data/web/x.parquet", parquet(columns, Compression::SNAPPY, 10));
    fixture.build("out", &[]).assert_success();
    assert_eq!(column(&fixture.path("out/data"), "train", "when"), ["2019-04-21T10:00:00Z"]);
    let votes = column(&fixture.path("out/data"), "train", "votes");
    assert_eq!(votes, [r#"[{"key":"anna","value":3},{"key":"ugo","value":null}]"#]);
}

#[test]
fn a_limit_reads_the_first_rows_of_each_source() {
    for (name, bytes) in containers() {
        let fixture = Fixture::text("");
        fixture.write(&format!("data/web/{name}"), &bytes);
        fixture.build("out", &["--limit", "17", "--set", "read.task_bytes=900"]).assert_success();
        let mut numbers: Vec<usize> = column(&fixture.path("out/data"), "train", "text")
            .iter()
            .map(|t| t.split_once('.').unwrap().0.parse().unwrap())
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..17).collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn fields_of_csv_become_what_the_output_keeps_them_as() {
    let fixture = Fixture::new(
        "chat",
        &[("web", "alpaca")],
        "[output]\nkeep = { n = 'int64', x = 'float64', yes = 'bool', note = 'string' }\n",
    );
    let header = "instruction,input,output,n,x,yes,note";
    fixture.write("data/web/x.csv", format!("{header}\nChi?,,Io.,-7,2.5e3,True,007\nDove?,,Qui., 12 ,,false,\n"));
    fixture.build("out", &[]).assert_success();
    let batches = crate::fixture::batches(&fixture.path("out/data"), "train");
    let shown = |name: &str| {
        let column = batches[0].column_by_name(name).unwrap();
        let mut values: Vec<String> = (0..2).map(|i| format!("{:?}", column.slice(i, 1))).collect();
        values.sort();
        values.iter().map(|v| v.lines().nth(2).unwrap_or_default().trim().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(shown("n"), ["-7,", "12,"]);
    assert_eq!(shown("x"), ["2500.0,", "null,"]);
    assert_eq!(shown("yes"), ["false,", "true,"]);
    assert_eq!(shown("note"), ["\"\",", "\"007\","]);
    fixture.write("data/web/y.csv", format!("{header}\nChi?,,Tu.,sette,,,\n"));
    let said = fixture.build("out", &[]).assert_failure();
    assert!(said.contains("web/y.csv, row 0") && said.contains("sette") && said.contains("int64"), "{said}");
}

#[test]
fn what_is_not_read_is_told_in_a_few_lines_and_listed_whole_in_json() {
    let fixture = Fixture::text("");
    let mut row: serde_json::Map<String, serde_json::Value> =
        (0..3_431).map(|i| (format!("c{i:04}"), 1.into())).collect();
    row.insert("text".into(), "Il gatto dorme.".into());
    row.insert(String::new(), 1.into());
    fixture.write("data/web/x.jsonl", serde_json::Value::from(row).to_string());
    let [recipe, data] = ["recipe.toml", "data"].map(|name| fixture.path(name).display().to_string());
    for command in ["plan", "preview"] {
        let run = |more: &[&str]| {
            let args = [&[command, &recipe, "--from", &data][..], more].concat();
            crate::fixture::setaccio(&args).assert_success().stdout
        };
        let said = run(&[]);
        let line = said.lines().find(|line| line.contains("not read of web: ")).unwrap();
        assert!(line.contains("not read of web: \"\", c0000, ") && line.ends_with(" and 3,412 more"), "{line}");
        let json: serde_json::Value = serde_json::from_str(&run(&["--json"])).unwrap();
        let all = if command == "plan" { &json["sources"][0]["unread"] } else { &json["unread"]["web"] };
        assert_eq!(all.as_array().map(Vec::len), Some(3_432), "{command}");
    }
}

#[test]
fn files_that_tell_of_a_data_set_are_no_rows_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let rows = texts().iter().map(|text| serde_json::json!({ "text": text }).to_string() + "\n").collect::<String>();
    write("repo/data/train.jsonl", rows.as_bytes());
    write("repo/dataset_infos.json", br#"{"default": {"features": {"text": {"dtype": "string"}}}, "other": {}}"#);
    write("repo/README.md", b"# A card\n");
    write("mine.toml", b"name = 'a'\ntitle = 'A'\nabout = 'A test.'\nkind = 'text'\n[[source]]\nname = 'a'\nschema = 'text'\npath = 'repo'\n");
    let run = |args: &[&str]| crate::embedded::run_in(dir.path(), args);
    let said = run(&["plan", "mine.toml"]).assert_success().stdout;
    assert!(said.contains("not read: 2 files beside these, a/repo/README.md, a/repo/dataset_infos.json"), "{said}");
    run(&["build", "mine.toml"]).assert_success();
    run(&["init", "told", "repo"]).assert_success();
    // Counts beside the rows are told from these by what they are.
    write("repo/stats.csv", b"split,rows\ntrain,60\n");
    for (args, advice) in [
        (
            &["build", "mine.toml", "--force"][..],
            "if stats.csv holds no rows of this set, name those that do, for instance `FOLDER/**/*.jsonl`",
        ),
        (&["init", "told", "repo", "--force"], "stats.csv holds no rows of this set"),
    ] {
        let said = run(args).assert_failure();
        assert!(said.contains("stats.csv") && said.contains(advice), "{said}");
    }
}

#[test]
fn a_schema_that_there_is_not_is_a_mistake_in_the_recipe() {
    let fixture = Fixture::new("text", &[("web", "txt")], "");
    fixture.write("data/web/x.jsonl", "{\"text\": \"uno\"}\n");
    let said = fixture.build("out", &[]).assert_failure();
    assert!(said.contains("recipe.toml: source `web`: unknown schema `txt` (did you mean `text`?)"), "{said}");
}

#[test]
fn a_length_of_time_is_a_type_that_is_not_read() {
    let time: ArrayRef = Arc::new(arrow_array::DurationSecondArray::from(vec![1, 2]));
    let batch = RecordBatch::try_from_iter([("text", time)]).unwrap();
    let mut arrow = arrow_ipc::writer::StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    arrow.write(&batch).unwrap();
    let fixture = Fixture::text("");
    fixture.write("data/web/x.arrow", arrow.into_inner().unwrap());
    let said = fixture.build("out", &[]).assert_failure();
    assert!(
        said.contains("column `text` is of type Duration, which is not read: write the column as numbers or as texts"),
        "{said}"
    );
}
