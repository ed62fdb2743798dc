//! Same recipe, inputs and seed: same bytes, however the work is divided; and every row is somewhere.

use std::process::Stdio;

use proptest::{prelude::*, test_runner::RngSeed};

use crate::fixture::{Fixture, TestRng, Transcript, batches, web_rules};

/// A fixture with a few files of several containers.
fn fixture(seed: u64, rows: usize) -> Fixture {
    let more = "[sample]\nfraction = 0.8\n[output]\nshard_bytes = 6000\nrow_group_bytes = 5000\n";
    let (fixture, mut rng) = (Fixture::text(&(web_rules(6000) + more)), TestRng(seed));
    fixture.write("data/web/a.jsonl", rng.lines(rows));
    fixture.write("data/web/b.jsonl.zst", zstd::encode_all(rng.lines(rows / 2).as_bytes(), 3).unwrap());
    let array: Vec<String> = rng.lines(rows / 2).lines().map(str::to_owned).collect();
    fixture.write("data/web/c.json", format!("[{}]", array.join(",\n")));
    fixture
}

/// Rows of the ledger's stages: in, out, and what the rules dropped.
fn flows(fixture: &Fixture, out: &str) -> (serde_json::Value, Vec<(u64, u64, u64)>) {
    let ledger: serde_json::Value =
        serde_json::from_slice(&std::fs::read(fixture.path(out).join("ledger.json")).unwrap()).unwrap();
    let number = |v: &serde_json::Value| v.as_u64().unwrap();
    let stages = ledger["stages"].as_array().unwrap().iter().map(|stage| {
        let dropped = stage["rules"].as_array().unwrap().iter().map(|r| number(&r["dropped"])).sum();
        (number(&stage["rows_in"]), number(&stage["rows_out"]), dropped)
    });
    let stages = stages.collect();
    (ledger, stages)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 8,
        rng_seed: RngSeed::Fixed(42),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn bytes_do_not_depend_on_threads_or_slices(seed in 0_u64..1000, rows in 40_usize..140) {
        let fixture = fixture(seed, rows);
        fixture.build("one", &["--jobs", "1"]).assert_success();
        let one = fixture.published("one");
        prop_assert!(one.keys().filter(|n| n.starts_with("data/")).count() > 1, "the run is too small to say much");
        for jobs in ["2", "5"] {
            fixture.build(jobs, &["--jobs", jobs]).assert_success();
            prop_assert_eq!(&fixture.published(jobs), &one, "with {} jobs", jobs);
        }
        // Any order, any number of processes: here in threes, the last first.
        let mut slices: Vec<usize> = (1..=7).rev().collect();
        while !slices.is_empty() {
            let batch: Vec<_> = slices.drain(..slices.len().min(3)).collect();
            let start = |i| fixture.command("seven", &["--task", &format!("{i}/7")]).stdout(Stdio::null()).spawn().unwrap();
            let running = batch.iter().map(start);
            for mut child in running.collect::<Vec<_>>() {
                prop_assert!(child.wait().unwrap().success());
            }
        }
        fixture.build("seven", &["--finish"]).assert_success();
        prop_assert_eq!(&fixture.published("seven"), &one, "joined from slices");
    }

    #[test]
    fn rows_in_are_rows_out_and_rejects(seed in 0_u64..1000, rows in 40_usize..140) {
        let fixture = fixture(seed, rows);
        fixture.build("out", &[]).assert_success();
        let (ledger, stages) = flows(&fixture, "out");
        let read = (rows + rows / 2 * 2) as u64;
        prop_assert_eq!(stages[0].0, read, "every row of the files is read");
        for (stage, next) in stages.iter().zip(&stages[1..]) {
            prop_assert_eq!(stage.1, next.0, "what leaves a stage enters the next");
        }
        for stage in &stages {
            prop_assert_eq!(stage.0, stage.1 + stage.2);
        }
        let count = |folder: &str| batches(&fixture.path("out").join(folder), "").iter().map(|b| b.num_rows() as u64).sum::<u64>();
        let (kept, rejects) = (count("data"), count("rejects"));
        prop_assert_eq!(kept, stages.last().unwrap().1);
        prop_assert_eq!(kept + rejects, read, "{}", ledger);
        let out = fixture.path("out");
        crate::fixture::setaccio(&["verify", out.to_str().unwrap()]).assert_success();
    }
}

#[test]
fn a_second_run_has_nothing_to_do_and_a_change_is_never_overlooked() {
    let fixture = fixture(1, 60);
    fixture.build("out", &[]).assert_success();
    let first = fixture.published("out");
    assert!(fixture.build("out", &[]).assert_success().stdout.starts_with("up to date"));
    assert!(fixture.build("out", &["--force"]).assert_success().stdout.starts_with("built"));
    assert_eq!(fixture.published("out"), first);

    // The older name of `[[filter]]` says the same, in a recipe and on the command line.
    let recipe = std::fs::read_to_string(fixture.path("recipe.toml")).unwrap();
    fixture.write("recipe.toml", recipe.replace("[[filter]]", "[[screen]]"));
    assert!(fixture.build("out", &[]).assert_success().stdout.starts_with("up to date"));

    // Other settings, then back: what is there is always what was asked for.
    fixture.build("out", &["--set", "filter.clean_mc4_it.length.min_chars=600"]).assert_success();
    assert_ne!(fixture.published("out"), first);
    assert!(fixture.build("out", &[]).assert_success().stdout.starts_with("built"));
    assert_eq!(fixture.published("out"), first);

    // The same name and size, other content.
    let path = fixture.path("data/web/a.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    fixture.write("data/web/a.jsonl", text.replace("favole", "storie"));
    fixture.build("out", &[]).assert_success();
    let changed = fixture.published("out");
    assert_ne!(changed, first);
    let fresh = fixture.build("fresh", &[]).assert_success();
    assert!(fresh.stdout.starts_with("built"));
    assert_eq!(fixture.published("fresh"), changed);
}

#[test]
fn slices_are_joined_only_when_all_are_there() {
    let fixture = fixture(2, 60);
    fixture.build("out", &["--task", "1/3"]).assert_success();
    let mut transcript = Transcript::default();
    transcript.add("one slice of three is there", &fixture.build("out", &["--finish"]).assert_failure());
    assert!(!fixture.path("out/ledger.json").exists());
    fixture.build("out", &["--task", "2/3"]).assert_success();
    fixture.build("out", &["--task", "3/3"]).assert_success();
    // A slice of another recipe is not taken for one of this.
    let other = fixture.build("out", &["--finish", "--set", "seed=7"]).assert_failure();
    transcript.add("all slices of another recipe are there", &other);
    transcript.assert_snapshot("same_bytes-slices");
    fixture.build("out", &["--finish"]).assert_success();
    fixture.build("whole", &[]).assert_success();
    assert_eq!(fixture.published("out"), fixture.published("whole"));
    assert_eq!(fixture.build("out", &["--task", "4/3"]).code, Some(2));
}
