//! Semantic diversity: what goes is what brute force finds over the vectors of the library that made the model
//! (`tests/oracles/semantic.py`), however the work is divided and whatever happens on the way.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Child, Stdio},
    thread::sleep,
    time::Duration,
};

use serde_json::Value;

use crate::fixture::{Fixture, ROOT, assert_snapshot, column, setaccio, tear_and_remove_a_part};

fn oracle() -> Value {
    serde_json::from_str(include_str!("../oracles/semantic.json")).unwrap()
}

/// The table that compares with the oracle's model.
pub fn semantic(of: &str, threshold: f64, min_words: u64) -> String {
    format!(
        "[dedup]\nprefer = ['b']\n[dedup.semantic]\nmodel = '{ROOT}/tests/oracles/semantic/model2vec'\nof = '{of}'\n\
         threshold = {threshold}\nmin_words = {min_words}\n"
    )
}

/// A recipe over the oracle's rows, in small tasks.
pub fn fixture(settings: &str) -> Fixture {
    let more = "[read]\ntask_bytes = 6000\n[output]\nshard_bytes = 8000\nrow_group_bytes = 3000\n";
    let fixture = Fixture::new("chat", &[("a", "messages"), ("b", "messages")], &[settings, more].concat());
    let oracle = oracle();
    for source in ["a", "b"] {
        let of = oracle["rows"].as_array().unwrap().iter().filter(|row| row["source"] == source);
        let rows: Vec<String> = of.map(|row| serde_json::json!({ "messages": row["messages"] }).to_string()).collect();
        fixture.write(&format!("data/{source}/x.jsonl"), rows.join("\n"));
    }
    fixture
}

/// Ids of the rows that go for what they mean, with the details.
fn dropped(fixture: &Fixture, out: &str) -> Vec<(String, String)> {
    let folder = fixture.path(out).join("rejects");
    let [rules, ids, details] = ["rule", "id", "detail"].map(|name| column(&folder, "", name));
    let rows = rules.into_iter().zip(ids.into_iter().zip(details));
    let mut rows: Vec<_> = rows.filter(|(found, _)| found == "semantic").map(|(_, row)| row).collect();
    rows.sort();
    rows
}

#[test]
fn what_goes_is_what_brute_force_finds() {
    let oracle = oracle();
    for (number, case) in oracle["gone"].as_array().unwrap().iter().enumerate() {
        let (of, least) = (case["of"].as_str().unwrap(), case["min_words"].as_u64().unwrap());
        let fixture = fixture(&semantic(of, case["threshold"].as_f64().unwrap(), least));
        fixture.build("out", &["--jobs", "2"]).assert_success();
        let expected = case["gone"].as_array().unwrap().iter().map(|gone| {
            let text = |i: usize| gone[i].as_str().unwrap().to_owned();
            let texts =
                if of == "row" { String::new() } else { format!(", text {} to text {} (from 0)", gone[4], gone[5]) };
            let cosine = gone[3].as_f64().unwrap();
            (text(0), format!("near in meaning to {} of {}, cosine {cosine:.3}{texts}", text(1), text(2)))
        });
        assert_eq!(dropped(&fixture, "out"), expected.collect::<Vec<_>>(), "{of} {least}");
        setaccio(&["verify", fixture.path("out").to_str().unwrap()]).assert_success();
        if number == 2 {
            // What a person sees of it.
            let lines = |text: String| {
                let told = text.lines().filter(|l| ["mean", "semantic", "static"].iter().any(|word| l.contains(word)));
                told.map(|l| l.to_owned() + "\n").collect::<String>()
            };
            let card = fs::read_to_string(fixture.path("out/README.md")).unwrap();
            let lock = fs::read_to_string(fixture.path("out/recipe.lock.toml")).unwrap();
            let [recipe, data, out] =
                ["recipe.toml", "data", "out"].map(|name| fixture.path(name).display().to_string());
            let plan = setaccio(&["plan", &recipe, "--from", &data]).assert_success().stdout;
            let why = setaccio(&["why", &out, &dropped(&fixture, "out")[0].0]).assert_success().stdout;
            assert!(
                !card.contains(ROOT) && !lock.contains(ROOT),
                "neither card nor lock names a folder of this machine"
            );
            assert_snapshot("semantic-told", [lines(plan), lines(card), why].join("---\n"));
        }
    }
}

#[test]
fn bytes_do_not_depend_on_threads_slices_or_a_second_run() {
    same_bytes("search = 'exact'\n");
}

#[test]
fn bytes_of_bands_do_not_depend_on_them_either() {
    same_bytes("search = 'bands'\n");
    // With so many bands as a recall near 1 asks for they find the same as the exact search, and say what they are.
    let fixture = fixture(&(semantic("message", 0.9, 5) + "recall = 0.999999\n"));
    fixture.build("exact", &[]).assert_success();
    fixture.build("bands", &["--set", "dedup.semantic.search=bands"]).assert_success();
    assert_eq!(dropped(&fixture, "exact"), dropped(&fixture, "bands"));
    let card = fs::read_to_string(fixture.path("bands/README.md")).unwrap();
    for part in [
        "random hyperplanes. A pair of cosine 0.9 shares one with probability 1.000",
        "find a pair at 0.9 with probability 0.999999",
    ] {
        assert!(card.contains(part), "{card}");
    }
    let lock = fs::read_to_string(fixture.path("bands/recipe.lock.toml")).unwrap();
    assert!(lock.contains("search = \"bands\"\nrecall = 0.999999"), "{lock}");
    let said = fixture.build("bands", &["--set", "dedup.semantic.recall=1"]).assert_failure();
    assert!(said.contains("dedup.semantic.recall must be above 0 and below 1"), "{said}");
}

fn same_bytes(search: &str) {
    let fixture =
        fixture(&(semantic("message", 0.9, 5) + search + "[sample]\nrows = 150\n[split]\nvalidation = 0.2\n"));
    fixture.build("one", &["--jobs", "1"]).assert_success();
    let one = fixture.published("one");
    for jobs in ["2", "5"] {
        fixture.build("many", &["--jobs", jobs, "--force"]).assert_success();
        assert_eq!(fixture.published("many"), one, "{jobs} threads");
    }
    for slices in [3, 7] {
        let out = format!("of-{slices}");
        for slice in (1..=slices).rev() {
            fixture.build(&out, &["--task", &format!("{slice}/{slices}")]).assert_success();
        }
        if slices == 7 {
            let shares: Vec<Child> =
                (1..=2).map(|i| fixture.command(&out, &[&format!("--finish={i}/2")]).spawn().unwrap()).collect();
            for mut share in shares {
                assert!(share.wait().unwrap().success());
            }
        }
        fixture.build(&out, &["--finish"]).assert_success();
        assert_eq!(fixture.published(&out), one, "joined from {slices} slices");
    }
    // Another threshold is decided anew from the same vectors, and another unit from others.
    let again = |set: &str| fixture.build("one", &["--set", set]).assert_success().said();
    let said = again("dedup.semantic.threshold=0.97");
    assert!(said.contains("9 tasks, 9 of them done before"), "{said}");
    assert!(dropped(&fixture, "one").len() < dropped(&fixture, "many").len());
    let said = again("dedup.semantic.of=answer");
    assert!(said.contains("9 tasks, 0 of them done before"), "{said}");
    fixture.build("one", &[]).assert_success();
    assert_eq!(fixture.published("one"), one);
}

#[test]
fn another_model_is_another_build() {
    let fixture = fixture(&semantic("row", 0.9, 0));
    let model = fixture.path("model");
    copy(&Path::new(ROOT).join("tests/oracles/semantic/model2vec"), &model);
    let set = ["--set", "dedup.semantic.model=model"];
    fixture.build("out", &set).assert_success();
    let before = fixture.published("out");
    let said = fixture.build("out", &set).assert_success().said();
    assert!(said.contains("up to date") || said.contains("already"), "{said}");
    // One value of the table is another.
    let file = model.join("model.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let said = fixture.build("out", &set).assert_success().said();
    assert!(said.contains(" 0 of them done before"), "{said}");
    assert_ne!(fixture.published("out"), before);
    // A lock asks for the model that it names.
    let lock = fixture.path("out/recipe.lock.toml");
    let [lock, data] = [lock.display().to_string(), fixture.path("data").display().to_string()];
    bytes[last] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let said = setaccio(&["build", &lock, "--from", &data, "--out", "elsewhere"]).assert_failure();
    assert!(said.contains("model.safetensors is another one than that with SHA-256"), "{said}");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn a_torn_or_missing_part_stops_the_build_and_its_task_is_done_again() {
    let fixture = fixture(&semantic("message", 0.9, 5));
    tear_and_remove_a_part(&fixture, "vectors");
    fixture.build("out", &[]).assert_success();
    fixture.build("whole", &[]).assert_success();
    assert_eq!(fixture.published("out"), fixture.published("whole"));
}

#[test]
fn a_build_that_is_killed_goes_on_to_the_same_bytes() {
    let fixture = fixture(&semantic("message", 0.9, 5));
    fixture.build("whole", &[]).assert_success();
    let whole = fixture.published("whole");
    let [recipe, data, out] = ["recipe.toml", "data", "out"].map(|name| fixture.path(name).display().to_string());
    let mut killed = 0;
    for wait in [2, 5, 10, 20, 40, 80] {
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_setaccio"))
            .args(["build", &recipe, "--from", &data, "--out", &out])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        sleep(Duration::from_millis(wait));
        child.kill().unwrap();
        killed += i32::from(!child.wait().unwrap().success());
    }
    assert!(killed > 0, "none was killed in time");
    fixture.build("out", &[]).assert_success();
    assert_eq!(fixture.published("out"), whole);
}

#[test]
fn rows_with_different_labels_are_not_near() {
    let recipe = semantic("row", 0.9, 0).replace("prefer = ['b']\n", "") + "[output.keep]\nlabel = 'bool'\n";
    let fixture = Fixture::new("chat", &[("a", "messages")], &recipe);
    let row = |text: &str, label: bool| {
        serde_json::json!({ "messages": [{ "role": "user", "content": text }], "label": label }).to_string()
    };
    // The same words in another order have the same vector.
    let rows = [row("bacade bela fito", true), row("fito bacade bela", false), row("bela fito bacade", true)];
    fixture.write("data/a/x.jsonl", rows.join("\n"));
    fixture.build("out", &[]).assert_success();
    let kept: BTreeSet<String> = fixture.ids("out", "train").into_iter().collect();
    assert_eq!((kept.len(), dropped(&fixture, "out").len()), (2, 1));
}

#[test]
fn settings_that_say_nothing_are_refused() {
    let fixture = fixture(&semantic("row", 0.9, 0));
    let mut said = String::new();
    for set in ["threshold=0", "threshold=1.1", "of='lines'", "model=''", "model='nowhere'", "bands=3"] {
        said += &fixture.build("out", &["--set", &format!("dedup.semantic.{set}")]).assert_failure();
    }
    let texts = Fixture::text(&semantic("message", 0.9, 0).replace("prefer = ['b']\n", ""));
    said += &texts.build("out", &[]).assert_failure();
    let recipe = fs::read_to_string(fixture.path("recipe.toml")).unwrap();
    for left_out in ["model = ", "threshold = "] {
        let lines: Vec<&str> = recipe.lines().filter(|line| !line.starts_with(left_out)).collect();
        fixture.write("recipe.toml", lines.join("\n"));
        said += &fixture.build("out", &[]).assert_failure();
    }
    assert_snapshot("semantic-refused", said.replace(fixture.path("").to_str().unwrap(), "DIR/"));
}

#[test]
fn a_table_that_is_off_is_as_if_it_were_not_there() {
    let with = fixture(&semantic("row", 0.9, 0));
    let off = ["--set", "dedup.semantic.off=true", "--set", "dedup.semantic.model=nowhere"];
    with.build("out", &off).assert_success();
    let without = fixture("[dedup]\nprefer = ['b']\n");
    without.build("out", &[]).assert_success();
    assert_eq!(with.ids("out", "train"), without.ids("out", "train"));
    let card = fs::read_to_string(with.path("out/README.md")).unwrap();
    assert!(!card.contains("mean") || !card.contains("embeddings"), "{card}");
    let [recipe, data] = ["recipe.toml", "data"].map(|name| with.path(name).display().to_string());
    let plan = setaccio(&["plan", &recipe, "--from", &data, off[0], off[1]]).assert_success().stdout;
    assert!(plan.contains("what rows mean is not compared: dedup.semantic.off"), "{plan}");
}
