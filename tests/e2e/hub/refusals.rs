//! What must not happen, whoever asks for it: a Hub that lies, a push that would go astray.

use std::{fs, os::unix::fs::symlink, time::Instant};

use setaccio_test_hub::{Content, FaultKind, Repo};

use super::{HubFixture, run_folder, safetensors};
use crate::fixture::{Fixture, TestRng, Transcript, assert_snapshot};

/// A built data set in `out`.
fn built() -> HubFixture {
    let fixture = Fixture::text("");
    fixture.write("data/web/x.jsonl", TestRng(1).lines(20));
    fixture.build("out", &[]).assert_success();
    HubFixture::new(fixture)
}

#[test]
fn a_listing_that_leads_out_of_the_cache_is_refused() {
    let fixture = HubFixture::new(Fixture::text(""));
    // Eight levels up from `blobs` is outside of whatever folder the test has.
    let outside = format!("{}{}", "../".repeat(20), fixture.arg("escaped").trim_start_matches('/'));
    let good = Content::new("a.jsonl", TestRng(1).lines(3));
    let mut transcript = Transcript::default();
    for (path, content) in [
        ("a.jsonl", Content { git: outside.clone(), ..good.clone() }),
        ("a.jsonl", Content { sha256: Some(outside), ..good.clone() }),
        ("../../a.jsonl", good.clone()),
        ("a\u{1b}[2J.jsonl", good.clone()),
    ] {
        let mut repo = Repo::default();
        repo.commit("main", "Add", "", [(path.to_owned(), Some(content))]);
        fixture.hub.store().repos.insert("datasets/lab/web".into(), repo);
        let said = fixture.run(&["pull", &fixture.recipe()]).assert_failure();
        assert!(!said.contains('\u{1b}'), "{said}");
        transcript.add(path.escape_debug(), &said);
        assert_eq!(fixture.fetched(), Vec::<String>::new(), "nothing is asked for");
        assert!(
            !fs::read_dir(fixture.local.path(""))
                .unwrap()
                .flatten()
                .any(|e| e.file_name() != *"hf" && e.file_name() != *"recipe.toml")
        );
    }
    transcript.assert_snapshot("hub-a_listing_that_leads_out_of_the_cache");
}

#[test]
fn a_page_of_a_listing_that_is_its_own_next_ends_the_search() {
    let fixture = HubFixture::new(Fixture::text(""));
    fixture.hub.store().put("datasets/lab/web", [("a.jsonl".to_owned(), TestRng(1).lines(3))]);
    // A page of no files is followed by itself.
    fixture.hub.store().page = 0;
    let said = fixture.run(&["pull", &fixture.recipe()]).assert_failure();
    assert_snapshot("hub-a_page_that_is_its_own_next", said);
}

#[test]
fn text_that_is_longer_than_the_limit_is_refused_and_not_cut() {
    let fixture = HubFixture::new(Fixture::text(""));
    fixture.hub.store().put("datasets/lab/web", [("a.jsonl".to_owned(), TestRng(1).lines(3))]);
    // A list and spaces behind it is a list wherever it is cut.
    fixture.hub.faults().plan("GET", "/tree/", FaultKind::Pad(64 << 20), 1);
    let said = fixture.run(&["pull", &fixture.recipe()]).assert_failure();
    assert_snapshot("hub-text_that_is_too_long", said);
    assert_eq!(fixture.fetched(), Vec::<String>::new(), "nothing is asked for");
}

#[test]
fn a_wait_that_is_a_date_is_kept() {
    let fixture = HubFixture::new(Fixture::text(""));
    fixture.hub.store().put("datasets/lab/web", [("a.jsonl".to_owned(), TestRng(1).lines(3))]);
    fixture.hub.faults().plan("GET", "/resolve/", FaultKind::TooManyUntil(3), 1);
    let start = Instant::now();
    let run = fixture.run(&["pull", &fixture.recipe()]).assert_success();
    // The date has whole seconds.
    assert!(start.elapsed().as_secs() >= 2 && run.stderr.contains("waiting"), "{:?}: {run:?}", start.elapsed());
    fixture.hub.faults().plan("GET", "/revision/", FaultKind::TooManyUntil(3600), 1);
    let mut transcript = Transcript::default();
    transcript.add("a date an hour from now", &fixture.run(&["pull", &fixture.recipe()]).assert_failure());
    fixture.hub.faults().plan("GET", "/revision/", FaultKind::Status(429), 99);
    transcript.add("no date", &fixture.run(&["pull", &fixture.recipe()]).assert_failure());
    transcript.assert_snapshot("hub-too_many_requests");
}

#[test]
fn the_hub_s_own_words_are_told() {
    let fixture = built();
    let push = || fixture.run(&["push", &fixture.arg("out"), "anna/web"]).assert_failure();
    let mut transcript = Transcript::default();
    fixture.hub.faults().plan("POST", "/commit/", FaultKind::Status(400), 1);
    transcript.add("status 400 for the commit", &push());
    // A full account is no fault of the token.
    fixture.hub.faults().plan("POST", "/preupload/", FaultKind::Status(403), 1);
    transcript.add("status 403 for what is to be uploaded", &push());
    transcript.assert_snapshot("hub-the_hub_s_own_words");
}

#[test]
fn what_was_to_be_private_does_not_go_where_everybody_sees_it() {
    let fixture = built();
    let push = |args: &[&str]| fixture.run(&[&["push", &fixture.arg("out"), "anna/web"], args].concat());
    fixture.hub.store().put("datasets/anna/web", [("notes.txt".to_owned(), "x")]);
    let mut transcript = Transcript::default();
    for args in [&["--private"][..], &["--private", "--dry-run"]] {
        transcript.add(args.join(" "), &push(args).assert_failure());
    }
    transcript.assert_snapshot("hub-a_public_repository_that_was_to_be_private");
    assert_eq!(fixture.hub.store().repos["datasets/anna/web"].commits.len(), 1);
    fixture.hub.store().repos.get_mut("datasets/anna/web").unwrap().private = true;
    push(&["--private"]).assert_success();
}

#[test]
fn what_is_no_branch_is_not_pushed_to() {
    let fixture = built();
    let push =
        |branch: &str| fixture.run(&["push", &fixture.arg("out"), "anna/web", "--revision", branch]).assert_failure();
    let mut transcript = Transcript::default();
    for branch in ["0123456789abcdef0123456789abcdef01234567", "", "a b", "../x", "a..b"] {
        transcript.add(format!("--revision '{branch}'"), &push(branch));
    }
    transcript.assert_snapshot("hub-no_branch");
    assert!(fixture.hub.store().repos.is_empty() && fixture.hub.take_log().is_empty());
}

#[test]
fn offline_nothing_is_said_to_be_in_a_cache() {
    let fixture = built();
    let mut transcript = Transcript::default();
    let offline = [("HF_HUB_OFFLINE", "1")];
    let push = ["push", &fixture.arg("out"), "anna/web"];
    transcript.add("push offline", &fixture.run_with(&push, &offline).assert_failure());
    transcript.add("pin offline", &fixture.run_with(&["pin", &fixture.recipe()], &offline).assert_failure());
    let said = fixture.run_with(&["pull", &fixture.recipe()], &[("HF_TOKEN", "perch\u{e9}")]).assert_failure();
    assert!(!said.contains("perch"), "{said}");
    transcript.add("pull with what is no token", &said);
    transcript.assert_snapshot("hub-offline");
    assert!(fixture.hub.take_log().is_empty());
}

#[test]
fn a_link_out_of_the_folder_is_not_followed() {
    let fixture = built();
    let secret = fixture.local.write("secret.txt", "mine alone");
    fixture.local.write("model/config.json", "{}\n");
    fixture.local.write("model/model.safetensors", safetensors("w", 200, || 1));
    symlink(&secret, fixture.local.path("model/merges.txt")).unwrap();
    let push = || fixture.run(&["push", &fixture.arg("model"), "anna/model"]);
    let mut transcript = Transcript::default();
    transcript.add("a link out of the folder of a model", &push().assert_failure());
    fs::remove_file(fixture.local.path("model/merges.txt")).unwrap();
    symlink("nowhere.txt", fixture.local.path("model/merges.txt")).unwrap();
    transcript.add("a link to nothing", &push().assert_failure());
    fs::remove_file(fixture.local.path("model/merges.txt")).unwrap();
    fs::remove_file(fixture.local.path("out/README.md")).unwrap();
    symlink(&secret, fixture.local.path("out/README.md")).unwrap();
    let built = fixture.run(&["push", &fixture.arg("out"), "anna/web"]).assert_failure();
    transcript.add("a link out of the folder of a build", &built);
    transcript.assert_snapshot("hub-links");
    assert!(fixture.hub.store().repos.is_empty());
    push().assert_success();
    // A snapshot of the shared cache is nothing but links.
    fixture.local.write("cache/blobs/abc", "{\"x\": 1}\n");
    fixture.local.write("cache/snapshots/c0/model.safetensors", safetensors("w", 200, || 2));
    symlink("../../blobs/abc", fixture.local.path("cache/snapshots/c0/config.json")).unwrap();
    fixture.run(&["push", &fixture.arg("cache/snapshots/c0"), "anna/cached"]).assert_success();
    let store = fixture.hub.store();
    assert_eq!(store.repos["models/anna/cached"].at("main").unwrap().files["config.json"].bytes, "{\"x\": 1}\n");
}

#[test]
fn what_is_not_finished_is_not_pushed() {
    let fixture = built();
    run_folder(&fixture);
    let push = |folder: &str| fixture.run(&["push", &fixture.arg(folder), "anna/x"]).assert_failure();
    let lock = fs::read_to_string(fixture.local.path("run/run.lock.toml")).unwrap();
    let (before, made) = lock.split_once("[[made]]").unwrap();
    let recipe = made.split_once("[recipe]").unwrap().1;
    fixture.local.write("run/run.lock.toml", format!("{before}[recipe]{recipe}"));
    let mut transcript = Transcript::default();
    transcript.add("a run without the hashes of what it made", &push("run"));
    fixture.local.write("run/run.lock.toml", lock);
    fixture.local.write("run/adapter/adapter_model.safetensors", [8_u8; 5_000]);
    transcript.add("weights that the run did not write", &push("run"));
    fs::create_dir_all(fixture.local.path("half/.setaccio/work")).unwrap();
    transcript.add("a build that is not finished", &push("half"));
    transcript.assert_snapshot("hub-what_is_not_finished");
    assert!(fixture.hub.store().repos.is_empty());
}
