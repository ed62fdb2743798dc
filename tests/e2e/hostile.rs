//! Input by somebody who means no good, or by chance: what is read is what is stated, nothing is searched without end, and
//! a recipe reads nothing of a machine but what it is given.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use arrow_array::{Array, ArrayRef, DictionaryArray, ListArray, RecordBatch, StringArray, types::Int32Type};
use arrow_buffer::OffsetBuffer;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field, Schema};
use parquet::file::properties::WriterProperties;

use crate::embedded::run_in;
use crate::fixture::{Fixture, ROOT, Run, TestRng, Transcript, column, in_shell, parquet_of, published, wait_for};

#[test]
fn an_input_that_is_replaced_while_it_is_read_ends_the_build() {
    for in_place in [false, true] {
        let fixture = Fixture::text("[read]\ntask_bytes = 100000\n");
        let lines = TestRng(2).lines(6000);
        let path = fixture.write("data/web/x.jsonl", &lines);
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        let mut child = fixture.command("out", &["--jobs", "1"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
        // The file was looked through and hashed by then, and forty tasks are to read it.
        wait_for(&mut child, || {
            fs::read_dir(fixture.path("out/.setaccio/work")).is_ok_and(|mut dir| dir.next().is_some())
        });
        let other = if in_place { path.clone() } else { fixture.path("other") };
        fs::write(&other, lines.replace("maestro", "MAESTRO")).unwrap();
        fs::File::options().write(true).open(&other).unwrap().set_modified(time).unwrap();
        fs::rename(&other, &path).unwrap();
        let said = Run::from(child.wait_with_output().unwrap()).assert_failure();
        assert!(said.contains("was changed while the build read it"), "{said}");
        assert!(!fixture.path("out/recipe.lock.toml").exists());
        fixture.build("out", &[]).assert_success();
    }
}

/// A batch with these columns of text, whatever their names.
fn batch(names: &[&str]) -> RecordBatch {
    let fields: Vec<Field> = names.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect();
    let column = |name: &&str| Arc::new(StringArray::from(vec![format!("{name}, uno"); 2])) as ArrayRef;
    RecordBatch::try_new(Arc::new(Schema::new(fields)), names.iter().map(column).collect()).unwrap()
}

#[test]
fn two_columns_or_keys_of_one_name_are_said() {
    let (twice, nobody) = (batch(&["text", "url", "text"]), batch(&["url", "text", "url"]));
    let parquet = |batch: &RecordBatch| parquet_of(batch, None);
    let mut arrow = StreamWriter::try_new(Vec::new(), &twice.schema()).unwrap();
    arrow.write(&twice).unwrap();
    let mut transcript = Transcript::default();
    for (name, bytes) in [
        ("text.parquet", parquet(&twice)),
        ("url.parquet", parquet(&nobody)),
        ("text.arrow", arrow.into_inner().unwrap()),
        ("text.csv", b"text,url,text\nuno,x,due\n".to_vec()),
        ("columns.json", br#"{"text": ["uno"], "url": ["x"], "text": ["due"]}"#.to_vec()),
        ("text.jsonl", b"{\"text\": \"uno\", \"text\": \"due\"}\n{\"text\": \"tre\"}\n".to_vec()),
        ("url.jsonl", b"{\"text\": \"uno\", \"url\": 1, \"url\": 2}\n{\"text\": \"tre\"}\n".to_vec()),
    ] {
        let fixture = Fixture::text("");
        fixture.write(&format!("data/web/{name}"), bytes);
        transcript.add(name, &fixture.build("out", &[]).assert_failure());
        if name.ends_with("jsonl") {
            fixture.build("out", &["--on-bad-row", "skip"]).assert_success();
            let reasons = column(&fixture.path("out/rejects"), "", "detail");
            transcript.add(format!("{name}, skipped"), &reasons.join("\n"));
            assert_eq!(column(&fixture.path("out/data"), "train", "text"), ["tre"]);
        }
    }
    let fixture = Fixture::new("chat", &[("chat", "messages")], "");
    let turn = r#"{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "content": "c"}"#;
    fixture.write("data/chat/x.jsonl", format!("{{\"messages\": [{turn}]}}\n"));
    transcript.add("messages", &fixture.build("out", &[]).assert_failure());
    transcript.assert_snapshot("hostile-two_of_one_name");
}

#[test]
fn searches_end() {
    let fixture = Fixture::text("");
    let folder = fixture.path("data/web");
    fixture.write("data/web/x.jsonl", TestRng(4).lines(20));
    fixture.write("data/web/.hidden/y.jsonl", "no JSON");
    symlink(".", folder.join("one")).unwrap();
    symlink(".", folder.join("two")).unwrap();
    let began = Instant::now();
    fixture.build("out", &[]).assert_success();
    assert!(began.elapsed() < Duration::from_mins(1), "the links lead round {:?}", began.elapsed());
    let lock = fs::read_to_string(fixture.path("out/recipe.lock.toml")).unwrap();
    assert_eq!(lock.matches("file = ").count(), 1, "{lock}");
    // A pipe has no end that comes by itself.
    assert!(Command::new("mkfifo").arg(folder.join("z.jsonl")).status().unwrap().success());
    let mut transcript = Transcript::default();
    transcript.add("a pipe", &fixture.build("out", &[]).assert_failure());
    transcript.assert_snapshot("hostile-searches");
}

#[test]
fn a_recipe_reads_nothing_outside_of_its_folder_that_the_command_does_not_name() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    };
    let rows = TestRng(6).lines(12);
    write("secret.jsonl", &rows);
    write("mine/rows.jsonl", &rows);
    let secret = write("secret.jinja", "{{ messages }}{{ text }}");
    symlink("../secret.jsonl", dir.path().join("mine/link.jsonl")).unwrap();
    let head = "name = 'web'\ntitle = 'Web'\nabout = 'A test.'\nkind = 'text'\n";
    let hub = |keys: &str| {
        format!("{head}[[source]]\nname = 'web'\nschema = 'text'\nrevision = 'main'\nlicense = 'mit'\n{keys}\n")
    };
    let own = |keys: &str| format!("{head}[[source]]\nname = 'web'\nschema = 'text'\n{keys}\n");
    let files = "repo = 'lab/web'\nfiles = ['*']\n";
    let mut transcript = Transcript::default();
    for recipe in [
        hub(&format!("{files}samples = '../secret.jsonl'")),
        hub(&format!("{files}samples = 'link.jsonl'")),
        hub("repo = '../..'\nfiles = ['*']"),
        hub("repo = '/etc'\nfiles = ['*']"),
        hub("repo = 'lab/web'\nfiles = ['../*.jsonl']"),
        hub("repo = 'lab/web'\nfiles = ['/etc/*']"),
        own("license = 'mit'\nfiles = ['../*.jsonl']"),
        own("path = '/proc/self/environ'"),
        own("path = 'rows.jsonl'\n[output]\nrendered = 'whole'\ntemplate = '/proc/self/environ'"),
        own("path = 'rows.jsonl'\n[output]\nrendered = 'whole'\ntemplate = '../secret.jinja'"),
    ] {
        write("mine/web.toml", &recipe);
        let case = recipe.lines().skip(7).collect::<Vec<_>>().join("; ");
        transcript.add(case, &run_in(dir.path(), &["build", "mine/web.toml"]).assert_failure());
    }
    // One's own files may lie anywhere, and so may a template that the command names.
    write("mine/web.toml", &own("path = '../secret.jsonl'"));
    let set = format!("output.template={secret:?}");
    let rendered = "output.rendered=whole";
    run_in(dir.path(), &["build", "mine/web.toml", "--set", &set, "--set", rendered]).assert_success();
    transcript.assert_snapshot("hostile-outside");
}

#[test]
fn many_small_files_are_a_few_tasks_of_the_same_bytes() {
    let fixture =
        Fixture::text("[[filter]]\nrule = 'regex'\ndrop = ['numero 7']\n[dedup]\n[split]\nvalidation = 0.1\n");
    let text =
        |i: usize| format!("{{\"text\": \"Il testo numero {}, del file {i}.\"}}\n{{\"text\": \"Uguale.\"}}\n", i % 50);
    for i in 0..700 {
        fixture.write(&format!("data/web/{i:03}.jsonl"), text(i));
    }
    let said = fixture.build("one", &["--jobs", "1"]).assert_success().stdout;
    let tasks = |said: &str| said.split(' ').nth(1).and_then(|n| n.parse::<usize>().ok()).unwrap();
    assert!((2..20).contains(&tasks(&said)), "{said}");
    fixture.build("three", &["--jobs", "3"]).assert_success();
    for slice in ["1/2", "2/2"] {
        fixture.build("slices", &["--task", slice]).assert_success();
    }
    fixture.build("slices", &["--finish"]).assert_success();
    let whole = fixture.published("one");
    assert_eq!(whole, fixture.published("three"));
    assert_eq!(whole, fixture.published("slices"));
    let lock = fs::read_to_string(fixture.path("one/recipe.lock.toml")).unwrap();
    assert_eq!(lock.matches("sha256 = ").count(), 700);
    run_in(Path::new(ROOT), &["verify", fixture.path("one").to_str().unwrap()]).assert_success();
    // A rejected row says which of the files it is from; so does `why`, of a row that was kept too.
    let rejects = fixture.path("one/rejects");
    let (files, rules) = (column(&rejects, "screen", "file"), column(&rejects, "screen", "rule"));
    let sevens: Vec<String> = (0..700).filter(|i| i % 50 == 7).map(|i| format!("web/{i:03}.jsonl")).collect();
    assert_eq!((files, rules), (sevens, vec!["regex".to_owned(); 14]));
    let out = fixture.path("one");
    let why = |place: &str| run_in(Path::new(ROOT), &["why", out.to_str().unwrap(), place]).assert_success().stdout;
    assert!(why("web/107.jsonl:0").contains("del file 107."));
    assert!(why("web/311.jsonl:1").contains("Uguale."));
    let repeats = column(&rejects, "merge", "file");
    assert_eq!(repeats.len(), 699, "each file but one has a row that is another one's");
    // Another file among them is one task anew, and the rest is as it was.
    fixture.write("data/web/350a.jsonl", text(8));
    let again = fixture.build("one", &[]).assert_success().stdout;
    let reused = again.split(", ").nth(1).and_then(|s| s.split(' ').next()?.parse::<usize>().ok()).unwrap();
    assert!(reused + 2 >= tasks(&said), "{again}");
    fixture.build("fresh", &[]).assert_success();
    assert_eq!(published(&out), fixture.published("fresh"));
}

#[test]
fn a_row_that_a_dictionary_makes_larger_than_memory_is_told_by_its_size() {
    // One text of 1,000,000 bytes, and a list that names it 20,000 times: 20 GB in a file of a kilobyte.
    let text = "La nonna ha il pane.".repeat(50_000);
    let words = DictionaryArray::<Int32Type>::new(vec![0; 20_000].into(), Arc::new(StringArray::from(vec![text])));
    let item = Arc::new(Field::new("item", words.data_type().clone(), true));
    let list: ArrayRef = Arc::new(ListArray::new(item, OffsetBuffer::from_lengths([20_000]), Arc::new(words), None));
    let short: ArrayRef = Arc::new(StringArray::from(vec!["uno"]));
    let rows = RecordBatch::try_from_iter_with_nullable([("text", short, true), ("other", list, true)]).unwrap();
    let properties = WriterProperties::builder().set_dictionary_page_size_limit(4 << 20).build();
    let parquet = parquet_of(&rows, Some(properties));
    let build = |settings: &str| {
        let fixture = Fixture::text(settings);
        fixture.write("data/web/x.parquet", &parquet);
        let mut command = in_shell("ulimit -v 1000000 && exec \"$@\"");
        command.arg("build").arg(fixture.path("recipe.toml")).arg("--from").arg(fixture.path("data"));
        let run = command.arg("--out").arg(fixture.path("out")).args(["--jobs", "1"]).output().unwrap();
        (Run::from(run), fixture)
    };
    let (run, fixture) = build("");
    run.assert_success();
    assert_eq!(column(&fixture.path("out/data"), "train", "text"), ["uno"], "nobody reads the other column");
    let said = build("rename = { text = 'other' }").0.assert_failure();
    assert!(said.contains("holds 20000000000 bytes, more than read.max_row_bytes allows"), "{said}");
}

#[test]
fn too_many_open_files_are_no_damage() {
    let rows = batch(&["text", "url"]);
    let parquet = parquet_of(&rows, None);
    let mut arrow = StreamWriter::try_new(Vec::new(), &rows.schema()).unwrap();
    arrow.write(&rows).unwrap();
    // These are opened several times at once; of others the units' tests tell.
    for (name, bytes) in [("x.parquet", parquet), ("x.arrow", arrow.into_inner().unwrap())] {
        let fixture = Fixture::text("");
        fixture.write(&format!("data/web/{name}"), bytes);
        let mut refused = 0;
        for handles in 4..16 {
            let mut command = in_shell(&format!("ulimit -n {handles} && exec \"$@\""));
            command.args(["preview", "--jobs", "1", "--from"]);
            command.arg(fixture.path("data")).arg(fixture.path("recipe.toml"));
            let run: Run = command.output().unwrap().into();
            let said = run.said();
            assert!(!said.contains("fetch it again") && !said.contains("panicked"), "{name}, {handles}: {said}");
            refused += usize::from(said.contains("ulimit -n"));
        }
        assert!(refused > 0, "{name}: none of the limits was too low");
    }
}
