//! Cuts and errors in the middle: nothing is lost, nothing is done twice.

use std::{fs, process::Stdio};

use setaccio_test_hub::FaultKind;

use super::{HubFixture, standins};
use crate::fixture::{Fixture, Run, TestRng, assert_snapshot, signal, wait_for};

const WEB: &str = "datasets/lab/web";

fn pulling() -> HubFixture {
    let fixture = HubFixture::new(Fixture::text("[read]\non_bad_row = 'skip'\n"));
    let files = (0..6).map(|i| (format!("{i}.jsonl"), TestRng(i).lines(90).into_bytes()));
    let large = [("large.parquet".to_owned(), standins::sample("mc4_raw_it.parquet"))];
    fixture.hub.store().put(WEB, files.chain(large));
    fixture
}

/// Every blob in the cache is the content of its name, and no part of one is left.
fn whole(fixture: &HubFixture) {
    let store = fixture.hub.store();
    let files = &store.repos[WEB].at("main").unwrap().files;
    let folder = fixture.home().join("hub/datasets--lab--web");
    let names: Vec<_> = fs::read_dir(folder.join("blobs")).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(names.len(), files.len(), "{names:?}");
    let snapshot = folder.join("snapshots").join(&store.repos[WEB].refs["main"]);
    for (path, content) in files {
        assert_eq!(fs::read(snapshot.join(path)).unwrap(), content.bytes, "{path}");
    }
}

#[test]
fn pulls_through_cuts_and_errors_lose_nothing() {
    pulls_through_faults(3);
}

#[test]
#[ignore = "soak"]
fn soak_pulls_through_cuts_and_errors_lose_nothing() {
    pulls_through_faults(30);
}

fn pulls_through_faults(rounds: u64) {
    let fixture = pulling();
    let mut drawn = 0;
    for seed in 0..rounds {
        let _ = fs::remove_dir_all(fixture.home());
        fixture.hub.faults().randomize(seed, 40);
        // A run of bad luck ends a command; the same command goes on from there.
        let runs = (1..20).find(|_| fixture.run(&["pull", &fixture.recipe()]).code == Some(0));
        drawn += fixture.hub.faults().clear() as u64;
        assert!(runs.is_some(), "seed {seed}");
        whole(&fixture);
    }
    assert!(drawn >= 3 * rounds, "only {drawn} faults were drawn");
}

#[test]
fn a_cut_is_taken_up_where_it_was() {
    let fixture = pulling();
    // Large enough that its first half has arrived before the cut is seen.
    fixture.hub.store().put(WEB, [("large.parquet".to_owned(), standins::array(6_000_000))]);
    let content = fixture.hub.store().repos[WEB].at("main").unwrap().files["large.parquet"].clone();
    let (size, sha256) = (content.bytes.len(), content.sha256.unwrap());
    fixture.hub.faults().plan("GET", &sha256, FaultKind::Cut(size / 2), 1);
    fixture.run(&["pull", &fixture.recipe()]).assert_success();
    let log = fixture.hub.take_log();
    let ranges: Vec<_> = log.into_iter().filter(|l| l.path.contains(&sha256)).map(|l| l.range).collect();
    assert_eq!((ranges.len(), &ranges[0]), (2, &None));
    let from = ranges[1].as_ref().and_then(|r| r.trim_start_matches("bytes=").trim_end_matches('-').parse().ok());
    assert!(from.is_some_and(|from: usize| from > 0 && from <= size / 2), "{ranges:?} of {size}");
    whole(&fixture);
}

#[test]
fn killed_in_the_middle_of_a_file_it_goes_on_from_there() {
    let fixture = HubFixture::new(Fixture::text(""));
    fixture.hub.store().put(WEB, [("a.json".to_owned(), standins::array(40_000_000))]);
    let mut child =
        fixture.command(&["pull", &fixture.recipe()]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let blobs = fixture.home().join("hub/datasets--lab--web/blobs");
    let partial = || {
        let found = fs::read_dir(&blobs).into_iter().flatten().flatten();
        found
            .filter(|e| e.file_name().to_string_lossy().ends_with(".incomplete"))
            .filter_map(|e| e.metadata().ok())
            .map(|m| m.len())
            .max()
    };
    wait_for(&mut child, || partial().unwrap_or(0) > 0);
    child.kill().unwrap();
    child.wait().unwrap();
    let had = partial();
    fixture.hub.take_log();
    fixture.run(&["pull", &fixture.recipe()]).assert_success();
    if let Some(had) = had {
        let ranges: Vec<_> = fixture.hub.take_log().into_iter().filter_map(|l| l.range).collect();
        assert!(ranges.contains(&format!("bytes={had}-")), "{had}: {ranges:?}");
    }
    whole(&fixture);
}

#[test]
fn pushes_through_cuts_and_errors_make_one_commit_each() {
    pushes_through_faults(3);
}

#[test]
#[ignore = "soak"]
fn soak_pushes_through_cuts_and_errors_make_one_commit_each() {
    pushes_through_faults(30);
}

fn pushes_through_faults(rounds: u64) {
    let fixture = Fixture::text("[output]\nshard_bytes = 30000\nrow_group_bytes = 8000\n");
    fixture.write("data/web/x.jsonl", TestRng(1).lines(100));
    let fixture = HubFixture::new(fixture);
    fixture.hub.store().part_bytes = 9_000;
    let mut drawn = 0;
    for seed in 0..rounds {
        fixture.local.build("out", &["--set", &format!("seed={seed}")]).assert_success();
        fixture.hub.faults().randomize(1000 + seed, 30);
        let runs = (1..20).find(|_| fixture.run(&["push", &fixture.arg("out"), "anna/web"]).code == Some(0));
        drawn += fixture.hub.faults().clear() as u64;
        assert!(runs.is_some(), "seed {seed}");
        let store = fixture.hub.store();
        let repo = &store.repos["datasets/anna/web"];
        assert_eq!(repo.history("main").len() as u64, seed + 2, "seed {seed}: one commit for one push");
        let mut expected = fixture.local.published("out");
        expected.retain(|name, _| !name.starts_with("rejects/"));
        let files = &repo.at("main").unwrap().files;
        assert_eq!(files.len(), expected.len() + 1, "and .gitattributes");
        for (path, bytes) in expected {
            assert_eq!(files[&path].bytes, bytes, "seed {seed}: {path}");
        }
    }
    assert!(drawn >= 2 * rounds, "only {drawn} faults were drawn");
}

#[test]
fn a_commit_whose_answer_is_lost_is_not_made_twice() {
    for trouble in [FaultKind::Lost, FaultKind::Cut(3)] {
        for args in [&[][..], &["--create-pr"]] {
            let fixture = Fixture::text("");
            fixture.write("data/web/x.jsonl", TestRng(1).lines(20));
            fixture.build("out", &[]).assert_success();
            let fixture = HubFixture::new(fixture);
            fixture.hub.faults().plan("POST", "/commit/", trouble, 1);
            fixture.run(&[&["push", &fixture.arg("out"), "anna/web"], args].concat()).assert_success();
            let store = fixture.hub.store();
            assert_eq!(store.repos["datasets/anna/web"].commits.len(), 2, "{trouble:?} {args:?}");
            assert_eq!(store.repos["datasets/anna/web"].pulls.len(), args.len());
        }
    }
}

#[test]
fn somebody_else_s_commit_in_between_is_not_overwritten() {
    let fixture = Fixture::text("");
    fixture.write("data/web/x.jsonl", TestRng(1).lines(20));
    fixture.build("out", &[]).assert_success();
    let fixture = HubFixture::new(fixture);
    fixture.hub.faults().plan("POST", "/commit/", FaultKind::Slow(1500), 1);
    let mut child = fixture.command(&["push", &fixture.arg("out"), "anna/web"]).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(&mut child, || fixture.hub.take_log().iter().any(|l| l.path.contains("/commit/")));
    fixture.hub.store().put("datasets/anna/web", [("theirs.txt".to_owned(), "x")]);
    let output = child.wait_with_output().unwrap();
    assert_snapshot("hub-somebody_else_s_commit_in_between", Run::from(output).assert_failure());
    fixture.run(&["push", &fixture.arg("out"), "anna/web"]).assert_success();
    assert!(fixture.hub.store().repos["datasets/anna/web"].at("main").unwrap().files.contains_key("theirs.txt"));
}

#[test]
fn every_signal_ends_a_pull_and_a_push_with_its_code() {
    for (name, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let fixture = pulling();
        fixture.local.write("data/web/x.jsonl", TestRng(1).lines(40));
        fixture.local.build("out", &[]).assert_success();
        fixture.hub.faults().plan("GET", "/resolve/", FaultKind::Slow(1500), 99);
        fixture.hub.faults().plan("POST", "/api/", FaultKind::Slow(1500), 99);
        fixture.hub.take_log();
        let asked = |part: &str| fixture.hub.take_log().iter().any(|line| line.path.contains(part));
        for (args, part) in [
            (&["pull", &fixture.recipe()][..], "/resolve/"),
            (&["push", &fixture.arg("out"), "anna/web"], "/api/repos/create"),
        ] {
            let mut command = fixture.command(args);
            let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            wait_for(&mut child, || asked(part));
            signal(&child, name);
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(code), "{name}, {args:?}: {said}");
            assert!(!said.contains("panicked"), "{said}");
        }
        // The same commands go on from there.
        fixture.hub.faults().clear();
        fixture.run(&["pull", &fixture.recipe()]).assert_success();
        whole(&fixture);
        fixture.run(&["push", &fixture.arg("out"), "anna/web"]).assert_success();
    }
}
