//! Object stores, in and out, against the one in `tests/support`: real requests of the real program.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufWriter, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use arrow_array::{ArrayRef, BinaryArray, RecordBatch, StringArray, StructArray};
use arrow_schema::{DataType, Field};
use parquet::{arrow::ArrowWriter, file::properties::WriterProperties};
use setaccio_test_hub::{Bytes, FaultKind, StoreRequest, TestStore};

use crate::fixture::{Fixture, ROOT, Run, TestRng, parquet_of, published, signal, wait_for, web_rules};

/// What no message, ledger, card or log may hold.
const SECRET: &str = "s3cr3t-0f-the-test";

/// A store, and a machine of its own to speak to it from: no credentials or home of whoever runs the tests.
struct StoreFixture {
    store: TestStore,
    local: Fixture,
}

impl StoreFixture {
    fn new(local: Fixture) -> Self {
        Self { store: TestStore::start(), local }
    }

    /// One source of a file of a bucket, with these further settings.
    fn of_path(path: &str, settings: &str) -> Self {
        let fixture = Self::new(Fixture::text(""));
        fixture.recipe(path, settings);
        fixture
    }

    fn recipe(&self, path: &str, settings: &str) {
        let recipe = format!(
            "name = 'lab'\ntitle = 'Lab'\nabout = 'A test.'\nkind = 'text'\n[[source]]\nname = 'web'\nschema = 'text'\npath = \
             '{path}'\nlicense = 'mit'\nlanguage = 'it'\n{settings}\n"
        );
        self.local.write("recipe.toml", recipe);
    }

    /// The program, ready to run.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_setaccio"));
        let foreign = |name: &str| ["AWS_", "GOOGLE_", "AZURE_"].iter().any(|store| name.starts_with(store));
        for (name, _) in std::env::vars().filter(|(name, _)| foreign(name)) {
            command.env_remove(name);
        }
        command.args(args).stdin(Stdio::null()).current_dir(ROOT);
        command.env("AWS_ENDPOINT_URL", self.store.endpoint()).env("HOME", self.local.path("home"));
        command.env("AWS_ACCESS_KEY_ID", "AKTEST").env("AWS_SECRET_ACCESS_KEY", SECRET);
        command.env("AWS_EC2_METADATA_DISABLED", "true").env("SETACCIO_STORE_WAIT_MS", "2");
        command
    }

    fn run(&self, args: &[&str]) -> Run {
        self.command(args).output().unwrap().into()
    }

    fn run_with(&self, args: &[&str], env: &[(&str, &str)]) -> Run {
        self.command(args).envs(env.iter().copied()).output().unwrap().into()
    }

    fn path(&self, name: &str) -> String {
        self.local.path(name).display().to_string()
    }

    /// The most memory that a command holds, in kB.
    fn most_memory(&self, args: &[&str]) -> u64 {
        let mut child = self.command(args).stdout(Stdio::null()).spawn().unwrap();
        let mut peak = 0;
        while child.try_wait().unwrap().is_none() {
            let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
            peak = peak.max(line.unwrap_or(0));
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(child.wait().unwrap().success());
        peak
    }

    /// The build that counts at `bucket/out`, by name.
    fn stored(&self, out: &str) -> BTreeMap<String, Vec<u8>> {
        let buckets = self.store.buckets();
        let current: serde_json::Value =
            serde_json::from_slice(&buckets.get(&format!("{out}/current.json")).unwrap()).unwrap();
        let folder = format!("{out}/{}/", current["folder"].as_str().unwrap());
        let files =
            buckets.keys(&folder).into_iter().map(|key| (key[folder.len()..].to_owned(), buckets.get(&key).unwrap()));
        files.collect()
    }
}

/// A text as a line of JSON.
fn line(text: impl AsRef<str>) -> String {
    format!("{}\n", serde_json::json!({ "text": text.as_ref() }))
}

/// The files of a build that hold rows.
fn rows(files: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    files.into_iter().filter(|(name, _)| name.contains('/')).collect()
}

fn bytes_sent(log: &[StoreRequest], key: &str) -> u64 {
    log.iter().filter(|request| request.method == "GET" && request.key == key).map(|request| request.sent).sum()
}

#[test]
fn the_main_recipes_are_the_same_bytes_from_and_to_a_bucket() {
    for name in ["sft-mix", "dpo-mix", "adapt-it", "clean-web-it"] {
        let fixture = StoreFixture::new(Fixture::text(""));
        let file = Path::new(ROOT).join("pipelines").join(format!("{name}.toml"));
        let recipe: toml::Table = fs::read_to_string(&file).unwrap().parse().unwrap();
        for source in recipe["source"].as_array().unwrap() {
            let text = |key: &str| source[key].as_str().unwrap().to_owned();
            let sample = fs::read(Path::new(ROOT).join("pipelines").join(text("samples"))).unwrap();
            let glob = source["files"][0].as_str().unwrap();
            let path = format!("{}/{}", text("name"), glob.replace("**/", "").replace('*', "x"));
            fixture.local.write(&format!("data/{path}"), &sample);
            fixture.store.buckets().put_bytes(&format!("lab/in/{path}"), sample);
        }
        let (recipe, here) = (file.display().to_string(), fixture.path("here"));
        let skip = ["--set", "decontamination.missing=skip"];
        let args = |from: &str, out: &str| {
            let mut args =
                vec!["build".to_owned(), recipe.clone(), "--from".into(), from.into(), "--out".into(), out.into()];
            if fs::read_to_string(&file).unwrap().contains("[decontamination]") {
                args.extend(skip.map(str::to_owned));
            }
            args
        };
        let run =
            |args: Vec<String>| fixture.run(&args.iter().map(String::as_str).collect::<Vec<_>>()).assert_success();
        run(args(&fixture.path("data"), &here));
        let mut there = args("s3://lab/in", "s3://lab/out");
        there.extend(["--work".into(), fixture.path("work")]);
        run(there);
        assert_eq!(rows(fixture.stored("lab/out")), rows(published(Path::new(&here))), "{name}");
        assert!(rows(published(Path::new(&here))).len() > 1, "{name}");
        let said = fixture.run(&["verify", "s3://lab/out"]).assert_success().said();
        assert!(said.contains("whole:"), "{said}");
    }
}

#[test]
fn every_format_is_read_by_its_address_as_from_a_disk() {
    let (fixture, mut rng) = (StoreFixture::of_path("x", ""), TestRng(7));
    let lines = rng.lines(60);
    let texts: Vec<String> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["text"].as_str().unwrap().to_owned())
        .collect();
    let column: ArrayRef = Arc::new(StringArray::from(texts.clone()));
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(13)).build();
    let parquet = parquet_of(&RecordBatch::try_from_iter([("text", column)]).unwrap(), Some(properties));
    let csv: String = std::iter::once("text\n".to_owned())
        .chain(texts.iter().map(|t| format!("\"{}\"\n", t.replace('"', "\"\""))))
        .collect();
    let settings = "[dedup]\n[read]\ntask_bytes = 4000\n";
    for (file, bytes) in [
        ("a.jsonl", lines.clone().into_bytes()),
        ("b.jsonl.zst", zstd::encode_all(lines.as_bytes(), 3).unwrap()),
        ("c.parquet", parquet),
        ("d.csv", csv.into_bytes()),
        ("e.json", format!("[{}]", lines.trim_end().replace('\n', ",")).into_bytes()),
    ] {
        let here = fixture.local.write(&format!("rows/{file}"), &bytes);
        fixture.store.buckets().put_bytes(&format!("lab/rows/{file}"), bytes);
        fixture.recipe(&here.display().to_string(), settings);
        fixture.run(&["build", &fixture.path("recipe.toml"), "--out", &fixture.path(file)]).assert_success();
        let web = format!("{}/lab/rows/{file}", fixture.store.endpoint());
        for (i, path) in
            [&format!("s3://lab/rows/{file}"), &format!("s3://lab/rows/{}*", &file[..1]), &web].into_iter().enumerate()
        {
            fixture.recipe(path, settings);
            let out = fixture.path(&format!("{file}-{i}"));
            fixture.run(&["build", &fixture.path("recipe.toml"), "--out", &out]).assert_success();
            assert_eq!(rows(published(Path::new(&out))), rows(fixture.local.published(file)), "{path}");
        }
    }
}

#[test]
fn a_parquet_object_is_read_by_ranges_and_pictures_stay_where_they_are() {
    let fixture = StoreFixture::of_path("s3://lab/rows.parquet", "");
    let mut rng = TestRng(3);
    let texts: Vec<String> = (0..64).map(|_| rng.text()).collect();
    let text: ArrayRef = Arc::new(StringArray::from(texts));
    let pictures: Vec<Vec<u8>> =
        (0..64).map(|_| (0..100_000).map(|_| u8::try_from(rng.below(256)).unwrap()).collect()).collect();
    let bytes: ArrayRef = Arc::new(BinaryArray::from_iter_values(pictures.iter()));
    let path: ArrayRef = Arc::new(StringArray::from(vec!["x.png"; 64]));
    let picture: ArrayRef = Arc::new(StructArray::from(vec![
        (Arc::new(Field::new("bytes", DataType::Binary, false)), bytes),
        (Arc::new(Field::new("path", DataType::Utf8, false)), path),
    ]));
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(16)).build();
    let file = parquet_of(&RecordBatch::try_from_iter([("image", picture), ("text", text)]).unwrap(), Some(properties));
    let all = file.len() as u64;
    fixture.store.buckets().put_bytes("lab/rows.parquet", file);
    fixture.run(&["build", &fixture.path("recipe.toml"), "--out", &fixture.path("out")]).assert_success();
    let log = fixture.store.take_log();
    let sent = bytes_sent(&log, "lab/rows.parquet");
    assert!(all > 6_000_000 && sent < 600_000, "{sent} of {all} bytes were sent");
    assert!(
        log.iter().filter(|r| r.method == "GET" && r.key == "lab/rows.parquet").all(|r| r.range.is_some()),
        "{log:?}"
    );
    let lock = fs::read_to_string(fixture.local.path("out/recipe.lock.toml")).unwrap();
    assert!(lock.contains("etag = \"e1\"") && !lock.contains("sha256 = \"\""), "{lock}");
    let card = fs::read_to_string(fixture.local.path("out/README.md")).unwrap();
    assert!(
        card.contains("a version of an object: 1 of 1 input. Such an object") && card.contains("| SHA-256, or ETag |"),
        "{card}"
    );
    let said = fixture.run(&["verify", &fixture.path("out")]).assert_success().said();
    assert!(said.contains("a version of an object: 1 of 1 input; nobody"), "{said}");
    // Of the same object nothing is read again, and of another one all.
    fixture.run(&["build", &fixture.path("recipe.toml"), "--out", &fixture.path("out")]).assert_success();
    assert!(bytes_sent(&fixture.store.take_log(), "lab/rows.parquet") < 200_000);
}

#[test]
fn failures_that_pass_change_no_byte_and_others_say_what_to_do() {
    let (fixture, mut rng) = (StoreFixture::of_path("s3://lab/rows", &web_rules(3000)), TestRng(11));
    for i in 0..12 {
        fixture.store.buckets().put_bytes(&format!("lab/rows/{i}.jsonl"), rng.lines(12));
    }
    let build = |out: &str| {
        fixture.run(&["build", &fixture.path("recipe.toml"), "--out", out, "--work", &fixture.path("work")])
    };
    fixture.run(&["build", &fixture.path("recipe.toml"), "--out", &fixture.path("here")]).assert_success();
    for seed in 1..4 {
        fixture.store.faults().randomize(seed, 25);
        build("s3://lab/out").assert_success();
        assert!(fixture.store.faults().clear() > 3, "nothing went wrong");
        assert_eq!(fixture.stored("lab/out"), fixture.local.published("here"));
        fs::remove_dir_all(fixture.local.path("work")).unwrap();
        let keys = fixture.store.buckets().keys("lab/out");
        fixture.store.buckets().objects.retain(|key, _| !keys.contains(key));
    }
    for (status, code, expected) in [
        (500, "InternalError", "the store fails (500 InternalError)"),
        (403, "AccessDenied", "the store refuses it to the credentials from AWS_ACCESS_KEY_ID (AccessDenied)"),
        (400, "ExpiredToken", "have expired (ExpiredToken): get new ones"),
        (301, "PermanentRedirect", "set AWS_REGION"),
    ] {
        fixture.store.faults().plan("GET", "5.jsonl", FaultKind::Code(status, code), 1000);
        let said = build("s3://lab/out").assert_failure();
        fixture.store.faults().clear();
        assert!(said.contains("s3://lab/rows/5.jsonl") && said.contains(expected), "{code}: {said}");
        assert!(!said.contains(SECRET) && !said.contains("Signature"), "{said}");
    }
    let said = fixture.run(&["build", &fixture.path("recipe.toml"), "--out", "s3://nobody/out"]).assert_failure();
    assert!(said.contains("is in a bucket that does not exist"), "{said}");
    let said =
        fixture.run(&["build", &fixture.path("recipe.toml"), "--out", "https://lab.example/out"]).assert_failure();
    assert!(said.contains("is on a web server, which is read and not written to"), "{said}");
}

#[test]
fn an_object_that_changes_stops_the_build_and_leaves_the_earlier_one() {
    for parquet in [false, true] {
        let (fixture, mut rng) = (StoreFixture::of_path("s3://lab/rows", "[read]\ntask_bytes = 2000\n"), TestRng(5));
        let mut file = || {
            let texts: Vec<String> = (0..200).map(|_| rng.text()).collect();
            if parquet {
                let column: ArrayRef = Arc::new(StringArray::from(texts));
                let properties = WriterProperties::builder().set_max_row_group_row_count(Some(20)).build();
                parquet_of(&RecordBatch::try_from_iter([("text", column)]).unwrap(), Some(properties))
            } else {
                texts.into_iter().map(line).collect::<String>().into_bytes()
            }
        };
        let key = if parquet { "lab/rows/a.parquet" } else { "lab/rows/a.jsonl" };
        fixture.store.buckets().put_bytes(key, file());
        let build = || {
            fixture.run(&[
                "build",
                &fixture.path("recipe.toml"),
                "--out",
                "s3://lab/out",
                "--work",
                &fixture.path("work"),
            ])
        };
        build().assert_success();
        let before = fixture.stored("lab/out");
        fixture.store.buckets().put_bytes(key, file());
        // The plan reads it; then it is replaced by another one of the same length or not.
        let reads = fixture.store.take_log().iter().filter(|r| r.method == "GET" && r.key == key).count();
        assert!(reads > 4);
        let next = file();
        fixture.store.buckets().replace = Some((reads - 2, key.into(), next));
        let said = build().assert_failure();
        assert!(said.contains("web/rows/a.") && said.contains("was changed while it was read"), "{said}");
        assert_eq!(fixture.stored("lab/out"), before);
        fixture.store.buckets().replace = None;
        build().assert_success();
        assert_ne!(fixture.stored("lab/out"), before);
    }
}

#[test]
fn a_thousand_small_objects_are_one_source() {
    let (fixture, mut rng) = (StoreFixture::of_path("s3://lab/rows", "[dedup]\n"), TestRng(21));
    for i in 0..1000 {
        let line = rng.lines(1);
        fixture.local.write(&format!("rows/{i:04}.jsonl"), &line);
        fixture.store.buckets().put_bytes(&format!("lab/rows/{i:04}.jsonl"), line);
    }
    fixture.run(&["build", &fixture.path("recipe.toml"), "--out", &fixture.path("there")]).assert_success();
    let log = fixture.store.take_log();
    let gets = log.iter().filter(|request| request.method == "GET" && request.range.is_some()).count();
    assert!(gets <= 2000, "{gets} reads of 1,000 objects");
    fixture.recipe(&fixture.path("rows"), "[dedup]\n");
    fixture.run(&["build", &fixture.path("recipe.toml"), "--out", &fixture.path("here")]).assert_success();
    assert_eq!(rows(fixture.local.published("there")), rows(fixture.local.published("here")));
}

#[test]
fn a_build_counts_once_it_is_whole_and_is_checked_where_it_lies() {
    let (fixture, mut rng) = (StoreFixture::of_path("x", &web_rules(3000)), TestRng(2));
    let build = |more: &[&str]| {
        let (recipe, work) = (fixture.path("recipe.toml"), fixture.path("work"));
        fixture.run(&[&["build", &recipe, "--out", "s3://lab/out", "--work", &work][..], more].concat())
    };
    fixture.recipe(&fixture.local.write("a.jsonl", rng.lines(40)).display().to_string(), &web_rules(3000));
    build(&[]).assert_success();
    let first = fixture.stored("lab/out");
    assert_eq!(first, fixture.local.published("work"));
    assert!(build(&[]).assert_success().said().contains("up to date"));
    // A second build is stopped on its way: the first one counts. Then it goes on, and the first one goes.
    fixture.local.write("a.jsonl", rng.lines(50));
    fixture.store.faults().plan("PUT", "rejects/", FaultKind::Code(403, "AccessDenied"), 1);
    build(&[]).assert_failure();
    assert_eq!(fixture.stored("lab/out"), first);
    let said = fixture.run(&["status", &fixture.path("work")]).assert_success().stdout;
    assert!(said.starts_with("built: ") && said.contains("store  failed") && said.contains("AccessDenied"), "{said}");
    let said = fixture.run(&["verify", "s3://lab/out"]).assert_success().said();
    assert!(said.contains("is a build that does not count"), "{said}");
    fixture.store.faults().plan("PUT", "current.json", FaultKind::Code(412, "PreconditionFailed"), 1);
    let said = build(&[]).assert_failure();
    assert!(said.contains("s3://lab/out/current.json: was written by another build meanwhile"), "{said}");
    assert_eq!(fixture.stored("lab/out"), first);
    fixture.store.take_log();
    assert!(build(&[]).assert_success().said().contains("put there"));
    let again = fixture.store.take_log().iter().filter(|r| r.method == "PUT" && r.key.ends_with(".parquet")).count();
    assert_eq!(again, 0, "what has arrived is not sent again");
    assert_eq!(fixture.stored("lab/out"), fixture.local.published("work"));
    let folders: std::collections::BTreeSet<String> = fixture
        .store
        .buckets()
        .keys("lab/out/builds/")
        .iter()
        .map(|key| key.split('/').nth(3).unwrap().to_owned())
        .collect();
    assert_eq!(folders.len(), 1, "{folders:?}");
    // What reads folders says how it comes here.
    let commands: &[&[&str]] = &[
        &["why", "s3://lab/out", "web/a.jsonl:0"],
        &["report", "s3://lab/out"],
        &["card", "s3://lab/out"],
        &["review", "s3://lab/out", "--rates"],
        &["compare", "s3://lab/out", "s3://lab/out"],
        &["push", "s3://lab/out", "lab/pages", "--dry-run"],
        #[cfg(feature = "train")]
        &["train", "tiny", "--set", "data.train=[\"s3://lab/out\"]", "--show-batch", "1"],
        #[cfg(feature = "train")]
        &["train", "s3://lab/out", "--model", "tiny"],
    ];
    for command in commands {
        let said = fixture.run(command).assert_failure();
        assert!(said.contains("`setaccio pull s3://lab/out --out DIR`"), "{command:?}: {said}");
    }
    let said = fixture.run(&["status", "s3://lab/out"]).assert_failure();
    assert!(said.contains("status is told of the folder of a machine"), "{said}");
    let said = fixture.run(&["status", &fixture.path("work")]).assert_success().stdout;
    assert!(said.starts_with("built: ") && !said.contains("store"), "{said}");
    // It comes back as it was put there.
    fixture.run(&["pull", "s3://lab/out", "--out", &fixture.path("back")]).assert_success();
    assert_eq!(fixture.local.published("back"), fixture.local.published("work"));
    fixture.run(&["verify", &fixture.path("back")]).assert_success();
    // What is changed there is told.
    let keys = fixture.store.buckets().keys("lab/out/builds/");
    let shard = keys.iter().find(|key| key.contains("/data/train")).unwrap();
    let mut bytes = fixture.store.buckets().get(shard).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fixture.store.buckets().put_bytes(shard, bytes);
    fixture.store.buckets().put_bytes(&shard.replace("train-", "extra-"), "x");
    let said = fixture.run(&["verify", "s3://lab/out"]).assert_failure();
    assert!(
        said.contains("its bytes are not those written") && said.contains("the build wrote no such file"),
        "{said}"
    );
    let said = fixture.run(&["pull", "s3://lab/out", "--out", &fixture.path("torn")]).assert_failure();
    assert!(said.contains("is not what the ledger says") && !fixture.local.path("torn").exists(), "{said}");
    fixture.store.buckets().put_bytes("lab/else/current.json", "{}");
    let said = fixture.run(&["build", &fixture.path("recipe.toml"), "--out", "s3://lab/else"]).assert_failure();
    assert!(said.contains("was written by no build"), "{said}");
}

#[test]
fn machines_without_a_disk_in_common_share_a_build_through_a_store() {
    let (fixture, mut rng) = (StoreFixture::of_path("s3://lab/rows", &web_rules(2000)), TestRng(31));
    for i in 0..6 {
        fixture.store.buckets().put_bytes(&format!("lab/rows/{i}.jsonl"), rng.lines(40));
    }
    fixture.run(&["build", &fixture.path("recipe.toml"), "--out", &fixture.path("here")]).assert_success();
    let machine = |name: &str, more: &[&str]| {
        let (recipe, work) = (fixture.path("recipe.toml"), fixture.path(name));
        fixture.run(&[&["build", &recipe, "--out", "s3://lab/out", "--work", &work][..], more].concat())
    };
    machine("one", &["--task", "1/3"]).assert_success();
    let said = machine("join", &["--finish"]).assert_failure();
    assert!(said.contains("tasks are not done yet") && said.contains("--out s3://lab/out"), "{said}");
    machine("two", &["--task", "2/3"]).assert_success();
    // Each knows what others have put there.
    let states = |machine: &str| {
        let said = fixture.run(&["status", &fixture.path(machine), "--json"]).assert_success().stdout;
        let found: serde_json::Value = serde_json::from_str(&said).unwrap();
        let slices =
            found["slices"].as_array().unwrap().iter().map(|slice| slice["state"].as_str().unwrap().to_owned());
        (found["published"].as_bool().unwrap(), slices.collect::<Vec<_>>())
    };
    assert_eq!(states("one"), (false, ["done", "done", "open"].map(str::to_owned).to_vec()));
    fixture.store.faults().plan("GET", "", FaultKind::Code(403, "AccessDenied"), 1000);
    let said = fixture.run(&["status", &fixture.path("one")]).assert_success().stdout;
    fixture.store.faults().clear();
    assert!(said.contains("what others have done is not known") && said.contains("1 of 3: 1 done"), "{said}");
    // A machine that was lost: another one finds that its slice is done.
    fixture.store.take_log();
    machine("other", &["--task", "2/3"]).assert_success();
    assert!(fixture.store.take_log().iter().all(|request| request.method != "PUT"));
    machine("two", &["--task", "3/3"]).assert_success();
    machine("join", &["--finish"]).assert_success();
    assert_eq!(fixture.stored("lab/out"), fixture.local.published("here"));
    assert_eq!(fixture.store.buckets().keys("lab/out/work/"), Vec::<String>::new());
    assert_eq!(states("one"), (true, vec!["done".to_owned(); 3]));
}

#[test]
fn machines_without_a_disk_in_common_join_a_build_together() {
    let near = "[dedup.near]\n[dedup.repeats]\nunit = 'sentences'\nspan = 1\n";
    let settings = web_rules(2000).replace("[dedup]\n", &format!("[dedup]\n{near}"));
    let (fixture, mut rng) = (StoreFixture::of_path("s3://lab/rows", &settings), TestRng(32));
    for i in 0..4 {
        fixture.store.buckets().put_bytes(&format!("lab/rows/{i}.jsonl"), rng.lines(60));
    }
    fixture.run(&["build", &fixture.path("recipe.toml"), "--out", &fixture.path("here")]).assert_success();
    let command = |name: &str, more: &str| {
        let (recipe, work) = (fixture.path("recipe.toml"), fixture.path(name));
        fixture.command(&["build", &recipe, "--out", "s3://lab/out", "--work", &work, more])
    };
    let machine = |name: &str, more: &str| Run::from(command(name, more).output().unwrap());
    for slice in 1..=2 {
        let (recipe, work) = (fixture.path("recipe.toml"), fixture.path(&slice.to_string()));
        let args = ["build", &recipe, "--out", "s3://lab/out", "--work", &work, "--task", &format!("{slice}/2")];
        fixture.run(&args).assert_success();
    }
    // One is killed in the middle, and one finds what it left, while another machine does its part at the same time.
    fixture.store.take_log();
    fixture.store.faults().plan("PUT", "/near/00000.json", FaultKind::Slow(2000), 1);
    let mut killed = command("1", "--finish=1/3").spawn().unwrap();
    let begun = |log: &[StoreRequest]| log.iter().any(|request| request.key.ends_with("/near/00000.json"));
    wait_for(&mut killed, || begun(&fixture.store.take_log()));
    killed.kill().unwrap();
    killed.wait().unwrap();
    fixture.store.faults().clear();
    // What passes is tried again.
    fixture.store.faults().plan("PUT", "/finish/", FaultKind::Code(503, "SlowDown"), 3);
    let others = [command("2", "--finish=2/3").spawn().unwrap(), command("3", "--finish=3/3").spawn().unwrap()];
    for mut other in others {
        assert!(other.wait().unwrap().success());
    }
    let log = fixture.store.take_log();
    assert!(log.iter().any(|request| request.method == "PUT" && request.key.contains(".parquet")));
    // Where all is written, whoever comes reads it, and one publishes it from a machine that has nothing.
    let said = machine("2", "--finish=1/3").assert_success().said();
    assert!(said.contains("joined:"), "{said}");
    fixture.store.take_log();
    // Answers to what removes objects are lost, which may be asked again.
    fixture.store.faults().plan("POST", "delete", FaultKind::Cut(3), 2);
    machine("fresh", "--finish").assert_success();
    fixture.store.faults().clear();
    let log = fixture.store.take_log();
    assert!(log.iter().any(|request| request.method == "POST" && request.query.contains("delete")));
    assert!(log.iter().any(|request| request.method == "GET" && request.key.contains("/finish/")));
    let made = |request: &StoreRequest| request.method == "PUT" && request.key.contains("/finish/");
    assert!(!log.iter().any(|request| made(request) && !request.key.contains(".claim")), "nothing is made anew");
    assert_eq!(fixture.stored("lab/out"), fixture.local.published("here"));
    for folder in ["lab/out/work/", "lab/out/finish/"] {
        assert_eq!(fixture.store.buckets().keys(folder), Vec::<String>::new());
    }
}

#[test]
fn a_large_shard_goes_in_parts_and_goes_on_where_it_was_cut() {
    let fixture = StoreFixture::of_path("x", "");
    let mut rng = TestRng(77);
    // Letters at random, of which zstd leaves about three quarters.
    let letter = |rng: &mut TestRng| {
        char::from(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"[rng.below(64)])
    };
    let rows: String = (0..500).map(|_| line((0..60_000).map(|_| letter(&mut rng)).collect::<String>())).collect();
    fixture.recipe(&fixture.local.write("a.jsonl", rows).display().to_string(), "");
    let build = || {
        fixture.run(&["build", &fixture.path("recipe.toml"), "--out", "s3://lab/out", "--work", &fixture.path("work")])
    };
    fixture.store.faults().plan("PUT", "partNumber=2", FaultKind::Code(400, "ExpiredToken"), 1);
    let said = build().assert_failure();
    assert!(said.contains("have expired (ExpiredToken)"), "{said}");
    let part =
        |log: &[StoreRequest], n: u32| log.iter().filter(|r| r.query.contains(&format!("partNumber={n}"))).count();
    assert_eq!(part(&fixture.store.take_log(), 1), 1);
    build().assert_success();
    let log = fixture.store.take_log();
    assert_eq!((part(&log, 1), part(&log, 2)), (0, 1), "it goes on with the second part");
    assert_eq!(fixture.stored("lab/out"), fixture.local.published("work"));
    assert!(fixture.store.buckets().uploads.is_empty());
}

#[test]
fn a_build_that_is_killed_goes_on_to_the_same_bytes() {
    let (fixture, mut rng) = (StoreFixture::of_path("s3://lab/rows", &web_rules(2000)), TestRng(13));
    for i in 0..8 {
        fixture.store.buckets().put_bytes(&format!("lab/rows/{i}.jsonl"), rng.lines(30));
    }
    fixture.run(&["build", &fixture.path("recipe.toml"), "--out", &fixture.path("here")]).assert_success();
    let args = ["build", &fixture.path("recipe.toml"), "--out", "s3://lab/out", "--work", &fixture.path("work")];
    for (how, place, expected) in
        [("KILL", "3.jsonl", None), ("INT", "5.jsonl", Some(130)), ("KILL", "lab/out/builds", None)]
    {
        let begun = |log: &[StoreRequest]| log.iter().any(|request| request.key.contains(place));
        fixture.store.faults().plan("", place, FaultKind::Slow(1500), 2);
        let mut child = fixture.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut seen = false;
        wait_for(&mut child, || {
            // A slow request is logged when it is answered: whatever comes before it has been by then.
            seen |= begun(&fixture.store.take_log());
            seen || {
                std::thread::sleep(Duration::from_millis(50));
                false
            }
        });
        signal(&child, how);
        let status = child.wait().unwrap();
        if let Some(code) = expected {
            assert_eq!(status.code(), Some(code));
        }
        fixture.store.faults().clear();
    }
    fixture.run(&args).assert_success();
    assert_eq!(fixture.stored("lab/out"), fixture.local.published("here"));
}

#[test]
fn google_and_azure_are_asked_in_their_own_way() {
    let mut rng = TestRng(41);
    let fixture = StoreFixture::of_path("x", &web_rules(2000));
    for i in 0..3 {
        fixture.store.buckets().put_bytes(&format!("lab/rows/{i}.jsonl"), rng.lines(30));
    }
    let endpoint = fixture.store.endpoint();
    for (scheme, env) in [
        ("gs", vec![("GOOGLE_BASE_URL", endpoint.as_str()), ("GOOGLE_BEARER_TOKEN", SECRET)]),
        (
            "az",
            vec![
                ("AZURE_STORAGE_ENDPOINT", endpoint.as_str()),
                ("AZURE_STORAGE_ACCOUNT", "lab"),
                ("AZURE_STORAGE_KEY", "czNjcjN0LTBmLXRoZS10ZXN0"),
            ],
        ),
    ] {
        fixture.recipe(&format!("{scheme}://lab/rows/*.jsonl"), &web_rules(2000));
        let (out, work) = (format!("{scheme}://lab/{scheme}"), fixture.path(scheme));
        let build = || fixture.run_with(&["build", &fixture.path("recipe.toml"), "--out", &out, "--work", &work], &env);
        build().assert_success();
        assert_eq!(fixture.stored(&format!("lab/{scheme}")), fixture.local.published(scheme));
        fixture.run_with(&["verify", &out], &env).assert_success();
        // Another build takes its place on the condition that it is still there.
        fixture.recipe(&format!("{scheme}://lab/rows/[01].jsonl"), &web_rules(2000));
        build().assert_success();
        assert_eq!(fixture.stored(&format!("lab/{scheme}")), fixture.local.published(scheme));
    }
}

#[test]
fn credentials_come_from_profiles_and_are_told_by_name_only() {
    let fixture = StoreFixture::of_path("s3://lab/rows", "");
    fixture.store.buckets().put_bytes("lab/rows/a.jsonl", TestRng(1).lines(20));
    let file = fixture.local.write(
        "home/.aws/credentials",
        format!("[lab]\naws_access_key_id = AKLAB\naws_secret_access_key = {SECRET}\n"),
    );
    fixture.local.write("home/.aws/config", "[profile org]\nsso_session = org\n");
    assert!(file.exists());
    let run = |env: &[(&str, &str)]| {
        let mut command =
            fixture.command(&["build", &fixture.path("recipe.toml"), "--out", &fixture.path("out"), "--force"]);
        command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY").envs(env.iter().copied());
        Run::from(command.output().unwrap())
    };
    run(&[("AWS_PROFILE", "lab")]).assert_success();
    fixture.store.faults().plan("GET", "a.jsonl", FaultKind::Code(403, "AccessDenied"), 1);
    let said = run(&[("AWS_PROFILE", "lab")]).assert_failure();
    assert!(said.contains("the credentials from the profile `lab` of ~/.aws (AccessDenied)"), "{said}");
    for (env, expected) in [
        (&[("AWS_PROFILE", "org")][..], "gets its credentials by `sso_session`"),
        (&[("AWS_PROFILE", "none")], "AWS_PROFILE names `none`"),
        (&[], "there are no credentials for it: set AWS_ACCESS_KEY_ID"),
    ] {
        let said = run(env).assert_failure();
        assert!(said.contains(expected), "{said}");
    }
    run(&[("AWS_SKIP_SIGNATURE", "true")]).assert_success();
    for (name, bytes) in published(&fixture.local.path("out")) {
        assert!(!String::from_utf8_lossy(&bytes).contains(SECRET), "{name}");
    }
}

#[test]
fn what_cannot_be_read_safely_is_refused() {
    let fixture = StoreFixture::of_path("x", "");
    fixture.store.buckets().put_bytes("lab/rows/a.jsonl", TestRng(1).lines(20));
    let web = fixture.store.endpoint();
    for (path, untagged, expected) in [
        (format!("{web}/lab/rows/none.jsonl"), false, "is not there: look at the address"),
        (format!("{web}/lab/rows/a.jsonl?token=x"), false, "has a query, which often holds a signature"),
        ("https://anna:word@lab.example/a.jsonl".into(), false, "holds a user or a password"),
        ("s3://lab/none".into(), false, "names no object, and no folder that holds a file of rows"),
        ("s3://lab/rows/*.csv".into(), false, "fits no object"),
        ("ftp://lab/a".into(), false, "is no address that is read"),
    ] {
        fixture.store.buckets().untagged = untagged;
        fixture.recipe(&path, "");
        let said =
            fixture.run(&["build", &fixture.path("recipe.toml"), "--out", &fixture.path("out")]).assert_failure();
        assert!(said.contains(expected) && !said.contains("word@") && !said.contains("token=x"), "{path}: {said}");
    }
    // Without an ETag it is known by the time of its last change and by its hash.
    fixture.store.buckets().untagged = true;
    fixture.recipe(&format!("{web}/lab/rows/a.jsonl"), "");
    fixture.run(&["build", &fixture.path("recipe.toml"), "--out", &fixture.path("out")]).assert_success();
    let next = TestRng(2).lines(20);
    fixture.store.buckets().replace = Some((1, "lab/rows/a.jsonl".into(), next.into_bytes()));
    let said = fixture
        .run(&["build", &fixture.path("recipe.toml"), "--out", &fixture.path("out"), "--force"])
        .assert_failure();
    assert!(said.contains("was changed while it was read"), "{said}");
}

#[test]
#[ignore = "soak: needs 6 GB of disk"]
fn soak_five_gigabytes_are_read_by_ranges_in_bounded_memory() {
    const GROUPS: usize = 20;
    let (fixture, mut rng) =
        (StoreFixture::of_path("s3://lab/rows.parquet", "[read]\ntask_bytes = 600000000\n"), TestRng(3));
    let file = fixture.local.path("rows.parquet");
    let path = || -> ArrayRef { Arc::new(StringArray::from(vec!["x.png"; 16])) };
    let mut batch = || {
        let picture = vec![0_u8; 16 << 20];
        let bytes: ArrayRef = Arc::new(BinaryArray::from_iter_values((0..16).map(|_| &picture)));
        let image: ArrayRef = Arc::new(StructArray::from(vec![
            (Arc::new(Field::new("bytes", DataType::Binary, false)), bytes),
            (Arc::new(Field::new("path", DataType::Utf8, false)), path()),
        ]));
        let text: ArrayRef = Arc::new(StringArray::from((0..16).map(|_| rng.text()).collect::<Vec<_>>()));
        RecordBatch::try_from_iter([("image", image), ("text", text)]).unwrap()
    };
    let properties = WriterProperties::builder().set_dictionary_enabled(false).build();
    let first = batch();
    let mut writer = ArrowWriter::try_new(fs::File::create(&file).unwrap(), first.schema(), Some(properties)).unwrap();
    writer.write(&first).unwrap();
    writer.flush().unwrap();
    for _ in 1..GROUPS {
        writer.write(&batch()).unwrap();
        writer.flush().unwrap();
    }
    writer.close().unwrap();
    let all = fs::metadata(&file).unwrap().len();
    assert!(all > 5 << 30, "{all}");
    fixture.store.buckets().put("lab/rows.parquet", Bytes::File(file));
    let out = fixture.path("out");
    let peak = fixture.most_memory(&["build", &fixture.path("recipe.toml"), "--out", &out]);
    let sent = bytes_sent(&fixture.store.take_log(), "lab/rows.parquet");
    println!("{all} bytes, {sent} of them sent, at most {peak} kB of memory");
    assert!(sent < 8 << 20 && peak < 300_000, "{sent} bytes sent, {peak} kB of memory");
    assert_eq!(fixture.local.ids("out", "train").len(), GROUPS * 16);
}

#[test]
#[ignore = "soak: needs 6 GB of disk"]
fn soak_five_gigabytes_of_text_stream_in_bounded_memory() {
    let fixture = StoreFixture::of_path("s3://lab/rows.jsonl", "[dedup]\n");
    let (file, mut rng) = (fixture.local.path("rows.jsonl"), TestRng(4));
    // Texts of a few sentences, of which each comes a great many times: what is left of them fits on a small disk.
    let mut lines: Vec<String> =
        (0..2000).map(|_| line((0..20).map(|_| rng.text() + " ").collect::<String>())).collect();
    let block: String = lines.drain(..).collect();
    let mut writer = BufWriter::new(fs::File::create(&file).unwrap());
    let times = (5 << 30) / block.len() + 1;
    for _ in 0..times {
        writer.write_all(block.as_bytes()).unwrap();
    }
    writer.flush().unwrap();
    let all = fs::metadata(&file).unwrap().len();
    assert!(all > 5 << 30, "{all}");
    fixture.store.buckets().put("lab/rows.jsonl", Bytes::File(file));
    let out = fixture.path("out");
    let peak = fixture.most_memory(&["build", &fixture.path("recipe.toml"), "--out", &out]);
    let log = fixture.store.take_log();
    let sent = bytes_sent(&log, "lab/rows.jsonl");
    println!("{all} bytes, {sent} of them sent in {} requests, at most {peak} kB of memory", log.len());
    // Once for its hash and where it is cut, once for its rows; a task reads some of what comes after its end, which it asks for in large pieces.
    assert!((2 * all..2 * all + all / 2).contains(&sent) && peak < 400_000, "{sent} bytes sent, {peak} kB of memory");
    assert_eq!(fixture.local.ids("out", "train").len(), 2000);
}
