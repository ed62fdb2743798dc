//! Exact repeats inside texts: what goes is what an independent program finds (`tests/oracles/repeats.py`), however the work is
//! divided and whatever happens on the way.

use std::{collections::BTreeMap, fs};

use serde_json::Value;
use setaccio_base::{numbers, sha256};

use crate::fixture::{Fixture, assert_snapshot, column, setaccio, tear_and_remove_a_part};

fn oracle() -> Value {
    serde_json::from_str(include_str!("../oracles/repeats.json")).unwrap()
}

/// A recipe over the oracle's rows, with `settings`.
fn fixture(settings: &str) -> Fixture {
    let more = "[read]\ntask_bytes = 6000\n[output]\nshard_bytes = 9000\nrow_group_bytes = 3000\n";
    let fixture = Fixture::new("text", &[("a", "text"), ("b", "text")], &[settings, more].concat());
    let oracle = oracle();
    let rows = oracle["rows"].as_array().unwrap();
    for source in ["a", "b"] {
        let of = rows.iter().filter(|row| row[0] == source);
        let rows: Vec<String> = of.map(|row| serde_json::json!({ "text": row[1] }).to_string()).collect();
        fixture.write(&format!("data/{source}/x.jsonl"), rows.join("\n"));
    }
    fixture
}

const REPEATS: &str = "[dedup]\nprefer = ['b']\n[dedup.repeats]\nmin_sentences = 0\nmin_words = 0\n";

/// The texts of a build by id, those of rows that a rule dropped with `rejects`.
fn texts(fixture: &Fixture, out: &str, folder: &str) -> BTreeMap<String, String> {
    let folder = fixture.path(out).join(folder);
    let [ids, texts] = ["id", "text"].map(|name| column(&folder, "", name));
    ids.into_iter().zip(texts).collect()
}

fn dropped(fixture: &Fixture, out: &str) -> Vec<(String, String)> {
    let folder = fixture.path(out).join("rejects");
    let [rules, ids, details] = ["rule", "id", "detail"].map(|name| column(&folder, "", name));
    let mut rows: Vec<_> = rules.into_iter().zip(ids.into_iter().zip(details)).collect();
    rows.retain(|(rule, _)| rule == "repeats");
    rows.sort();
    rows.into_iter().map(|(_, row)| row).collect()
}

#[test]
fn what_goes_is_what_the_oracle_finds() {
    let fixture = fixture(REPEATS);
    let oracle = oracle();
    let read: BTreeMap<String, &str> = oracle["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row[1].as_str().unwrap())
        .map(|text| (sha256::hex_digest(text.as_bytes())[..32].to_owned(), text))
        .collect();
    let cases = oracle["dedup"].as_object().unwrap();
    assert_eq!(cases.len(), 7);
    for (name, case) in cases {
        let sets = ["unit", "span", "min_copies", "min_span_words", "min_sentences", "min_words"];
        let sets = sets.map(|key| format!("dedup.repeats.{key}={}", case[key]));
        let more: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        fixture.build("out", &more).assert_success();
        let (kept, gone) = (texts(&fixture, "out", "data"), dropped(&fixture, "out"));
        let unit = case["unit"].as_str().unwrap();
        let expected: Vec<(String, String)> = case["dropped"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| {
                let counted = |n: &Value, what: &str| numbers::counted(n.as_u64().unwrap(), what);
                let detail = format!(
                    "{} of {} stand in other rows or before: {} and {} are left, at least {} and {}",
                    row[1],
                    counted(&row[2], unit.trim_end_matches('s')),
                    counted(&row[3], "word"),
                    counted(&row[4], "sentence"),
                    case["min_words"],
                    case["min_sentences"]
                );
                (row[0].as_str().unwrap().to_owned(), detail)
            })
            .collect();
        assert_eq!(gone, expected, "{name}");
        assert_eq!(kept.len() + gone.len(), usize::try_from(case["rows"].as_u64().unwrap()).unwrap(), "{name}");
        let changed = case["changed"].as_array().unwrap();
        let left: BTreeMap<&str, &str> =
            changed.iter().map(|row| (row[0].as_str().unwrap(), row[1].as_str().unwrap())).collect();
        for (id, text) in &kept {
            match left.get(id.as_str()) {
                Some(digest) => assert_eq!(&sha256::hex_digest(text.as_bytes())[..16], *digest, "{name}: {text:?}"),
                None => assert_eq!(text, read[id], "{name}"),
            }
        }
        // Rows that go are whole among the rejects.
        let rejects = texts(&fixture, "out", "rejects");
        for (id, _) in &gone {
            assert_eq!(rejects[id], read[id], "{name}");
        }
        let ledger: Value =
            serde_json::from_str(&fs::read_to_string(fixture.path("out/ledger.json")).unwrap()).unwrap();
        let sum = |at: usize| changed.iter().map(|row| row[at].as_u64().unwrap()).sum::<u64>();
        let count = serde_json::json!({
            "rows": changed.len(), "units": sum(2), "characters": sum(3), "dropped": gone.len()
        });
        assert_eq!(ledger["repeats"], count, "{name}");
        setaccio(&["verify", fixture.path("out").to_str().unwrap()]).assert_success();
    }
}

#[test]
fn within_one_text_the_first_stays() {
    let oracle = oracle();
    let rows = oracle["rows"].as_array().unwrap();
    for case in oracle["within"].as_array().unwrap() {
        let fixture = fixture(&format!(
            "[[filter]]\nrule = 'repeats'\nunit = {}\nmin_words = {}\n",
            case["unit"], case["min_words"]
        ));
        fixture.build("out", &[]).assert_success();
        let mut found: Vec<String> = column(&fixture.path("out/data"), "", "text");
        let left = case["left"].as_object().unwrap();
        let mut expected: Vec<String> = Vec::new();
        for (number, row) in rows.iter().enumerate() {
            let text = row[1].as_str().unwrap();
            match left.get(&number.to_string()) {
                Some(digest) => {
                    let of = |text: &String| sha256::hex_digest(text.as_bytes())[..16] == *digest.as_str().unwrap();
                    let place = found.iter().position(of).unwrap_or_else(|| panic!("{case}: {text:?}"));
                    found.remove(place);
                }
                None => expected.push(text.to_owned()),
            }
        }
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }
}

#[test]
fn bytes_do_not_depend_on_threads_slices_or_a_second_run() {
    let settings = REPEATS.replace("min_words = 0", "min_words = 20");
    let fixture = fixture(&format!("{settings}[sample]\nrows = 60\n[split]\nvalidation = 0.2\n"));
    fixture.build("one", &["--jobs", "1"]).assert_success();
    let one = fixture.published("one");
    for jobs in ["2", "5"] {
        fixture.build(jobs, &["--jobs", jobs]).assert_success();
        assert_eq!(fixture.published(jobs), one, "{jobs} threads");
    }
    for of in [3, 7] {
        let out = format!("of{of}");
        for slice in (1..=of).rev() {
            fixture.build(&out, &["--task", &format!("{slice}/{of}")]).assert_success();
        }
        fixture.build(&out, &["--finish"]).assert_success();
        assert_eq!(fixture.published(&out), one, "joined from {of} slices");
    }
    // Files that are cut otherwise are other tasks, and no other rows.
    let data = |out: &str| texts(&fixture, out, "data");
    fixture.build("cut", &["--set", "read.task_bytes=1500"]).assert_success();
    assert_eq!(data("cut"), data("one"));
    // What is looked for is no business of the tasks.
    let said = fixture.build("one", &["--set", "dedup.repeats.unit=sentences"]).assert_success().said();
    assert!(said.contains("done before") || said.contains("were done by an earlier"), "{said}");
    assert_ne!(data("one"), data("2"));
    fixture.build("one", &[]).assert_success();
    assert_eq!(fixture.published("one"), one);
}

#[test]
fn what_follows_from_a_text_is_of_what_is_left() {
    let repeats = REPEATS.replace("prefer = ['b']", "");
    let fixture = Fixture::text(&format!("{repeats}[output]\ntemplate = 't.jinja'\nrendered = 'shown'\n"));
    fixture.write("t.jinja", "<{{ text }}>");
    let rows = ["Uno è qui.\nDue resta.", "uno  È QUI.\nTre resta solo."];
    let rows: Vec<String> = rows.iter().map(|text| serde_json::json!({ "text": text }).to_string()).collect();
    fixture.write("data/web/x.jsonl", rows.join("\n"));
    fixture.build("out", &[]).assert_success();
    let [texts, shown] = ["text", "shown"].map(|name| column(&fixture.path("out/data"), "", name));
    assert!(texts.iter().any(|text| text.lines().count() == 1), "{texts:?}");
    for (text, shown) in texts.iter().zip(&shown) {
        assert_eq!(shown, &format!("<{text}>"));
    }
    let ledger: Value = serde_json::from_str(&fs::read_to_string(fixture.path("out/ledger.json")).unwrap()).unwrap();
    let characters: usize = texts.iter().map(|text| text.chars().count()).sum();
    let bytes: usize = texts.iter().map(String::len).sum();
    assert_eq!(ledger["mix"][0]["characters"], characters);
    assert_eq!(ledger["splits"][0]["bytes"], bytes);
    let stages = ledger["stages"].as_array().unwrap();
    assert_eq!((&stages[2]["bytes_out"], &stages[3]["bytes_in"]), (&bytes.into(), &bytes.into()));
}

#[test]
fn a_person_is_told_of_it() {
    let fixture = fixture(&REPEATS.replace("min_words = 0", "min_words = 20"));
    fixture.build("out", &[]).assert_success();
    let [recipe, data, out] = ["recipe.toml", "data", "out"].map(|name| fixture.path(name).display().to_string());
    let gone = dropped(&fixture, "out");
    let why = setaccio(&["why", &out, &gone[0].0]).assert_success().stdout;
    let lines = |text: String, word: &str| {
        text.lines().filter(|line| line.contains(word)).map(|line| line.to_owned() + "\n").collect::<String>()
    };
    let plan = setaccio(&["plan", &recipe, "--from", &data]).assert_success().stdout;
    let preview = setaccio(&["preview", &recipe, "--from", &data, "-n", "1"]).assert_success().stdout;
    let card = fs::read_to_string(fixture.path("out/README.md")).unwrap();
    // A row that lost something, by its place.
    let changed = oracle();
    let changed = changed["dedup"]["lines"]["changed"][0][0].as_str().unwrap().to_owned();
    let rows = oracle();
    let mut numbers = BTreeMap::from([("a", 0), ("b", 0)]);
    let mut place = String::new();
    for row in rows["rows"].as_array().unwrap() {
        let (source, text) = (row[0].as_str().unwrap(), row[1].as_str().unwrap());
        let number = numbers.get_mut(source).unwrap();
        if sha256::hex_digest(text.as_bytes()).starts_with(&changed) {
            place = format!("{source}/x.jsonl:{number}");
        }
        *number += 1;
    }
    let lost = setaccio(&["why", &out, &place, "--from", &data]).assert_success().stdout;
    let told = [
        lines(plan, "stay in one row"),
        lines(preview, "show in a build"),
        lines(card.clone(), "before it lost repeats"),
        lines(card.clone(), "themselves before"),
        lines(card, "`repeats`"),
        why,
        lost,
    ];
    assert_snapshot("repeats-told", told.join("---\n"));
}

#[test]
fn a_torn_part_stops_the_build_and_its_task_is_done_again() {
    let fixture = fixture(REPEATS);
    tear_and_remove_a_part(&fixture, "blocks");
    // What an earlier run left on the way is not taken for its own.
    for (folder, name) in [("spans", "00000.spans"), ("repeats", "00000.gone"), ("edits", "00000.changes")] {
        let folder = fixture.path("out/.setaccio/work/repeats").join(folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), "what a killed run left").unwrap();
    }
    fixture.build("out", &[]).assert_success();
    fixture.build("whole", &[]).assert_success();
    assert_eq!(fixture.published("out"), fixture.published("whole"));
}

#[test]
fn settings_that_say_nothing_are_refused() {
    let texts = fixture(REPEATS);
    let mut said = String::new();
    for set in ["unit=words", "span=0", "span=65", "min_copies=1"] {
        said += &texts.build("out", &["--set", &format!("dedup.repeats.{set}")]).assert_failure();
    }
    let chat = Fixture::new("chat", &[("a", "messages")], REPEATS.replace("['b']", "['a']").as_str());
    said += &chat.build("out", &[]).assert_failure();
    assert_snapshot("repeats-refused", said);
}
