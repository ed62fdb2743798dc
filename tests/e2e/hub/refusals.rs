//! What must not happen, whoever asks for it: a Hub that lies, a push that would go astray.

use std::{fs, os::unix::fs::symlink, time::Instant};

use setaccio_test_hub::{Content, FaultKind, Repo};

use super::{HubFixture, run_folder};
use crate::fixture::{Fixture, TestRng};

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
    for (path, content, told) in [
        ("a.jsonl", Content { git: outside.clone(), ..good.clone() }, "is no hash of a.jsonl"),
        ("a.jsonl", Content { sha256: Some(outside), ..good.clone() }, "is no hash of a.jsonl"),
        ("../../a.jsonl", good.clone(), "is no path of a repository"),
        ("a\u{1b}[2J.jsonl", good.clone(), "is no path of a repository"),
    ] {
        let mut repo = Repo::default();
        repo.commit("main", "Add", "", [(path.to_owned(), Some(content))]);
        fixture.hub.store().repos.insert("datasets/lab/web".into(), repo);
        let said = fixture.run(&["pull", &fixture.recipe()]).assert_failure();
        assert!(said.contains(told) && !said.contains('\u{1b}'), "{said}");
        assert_eq!(fixture.fetched(), Vec::<String>::new(), "nothing is asked for");
        assert!(
            !fs::read_dir(fixture.local.path(""))
                .unwrap()
                .flatten()
                .any(|e| e.file_name() != *"hf" && e.file_name() != *"recipe.toml")
        );
    }
}

#[test]
fn text_that_is_longer_than_the_limit_is_refused_and_not_cut() {
    let fixture = HubFixture::new(Fixture::text(""));
    fixture.hub.store().put("datasets/lab/web", [("a.jsonl".to_owned(), TestRng(1).lines(3))]);
    // A list and spaces behind it is a list wherever it is cut.
    fixture.hub.faults().plan("GET", "/tree/", FaultKind::Pad(64 << 20), 1);
    let said = fixture.run(&["pull", &fixture.recipe()]).assert_failure();
    let url = format!("{}/api/datasets/lab/web/tree/", fixture.hub.endpoint());
    assert!(said.contains(&url) && said.contains("more than 64 MiB of text"), "{said}");
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
    let said = fixture.run(&["pull", &fixture.recipe()]).assert_failure();
    assert!(said.contains("asks to wait 3600 s") || said.contains("asks to wait 3599 s"), "{said}");
    fixture.hub.faults().plan("GET", "/revision/", FaultKind::Status(429), 99);
    let said = fixture.run(&["pull", &fixture.recipe()]).assert_failure();
    assert!(said.contains("does not say how long to wait"), "{said}");
}

#[test]
fn the_hub_s_own_words_are_told() {
    let fixture = built();
    let push = || fixture.run(&["push", &fixture.arg("out"), "anna/web"]).assert_failure();
    fixture.hub.faults().plan("POST", "/commit/", FaultKind::Status(400), 1);
    let said = push();
    assert!(said.contains("does not take this") && said.contains("status 400 (planned)"), "{said}");
    assert!(said.contains(&format!("look at {}/datasets/anna/web", fixture.hub.endpoint())), "{said}");
    // A full account is no fault of the token.
    fixture.hub.faults().plan("POST", "/preupload/", FaultKind::Status(403), 1);
    let said = push();
    assert!(said.contains("does not let this token write") && said.contains("(planned)"), "{said}");
}

#[test]
fn what_was_to_be_private_does_not_go_where_everybody_sees_it() {
    let fixture = built();
    let push = |args: &[&str]| fixture.run(&[&["push", &fixture.arg("out"), "anna/web"], args].concat());
    fixture.hub.store().put("datasets/anna/web", [("notes.txt".to_owned(), "x")]);
    for args in [&["--private"][..], &["--private", "--dry-run"]] {
        let said = push(args).assert_failure();
        assert!(said.contains("everybody can see it") && said.contains("/settings"), "{said}");
    }
    assert_eq!(fixture.hub.store().repos["datasets/anna/web"].commits.len(), 1);
    fixture.hub.store().repos.get_mut("datasets/anna/web").unwrap().private = true;
    push(&["--private"]).assert_success();
}

#[test]
fn what_is_no_branch_is_not_pushed_to() {
    let fixture = built();
    let push =
        |branch: &str| fixture.run(&["push", &fixture.arg("out"), "anna/web", "--revision", branch]).assert_failure();
    assert!(push("0123456789abcdef0123456789abcdef01234567").contains("is a commit"));
    for branch in ["", "a b", "../x", "a..b"] {
        assert!(push(branch).contains("is no branch"), "{branch}");
    }
    assert!(fixture.hub.store().repos.is_empty() && fixture.hub.take_log().is_empty());
}

#[test]
fn offline_nothing_is_said_to_be_in_a_cache() {
    let fixture = built();
    for args in [&["push", &fixture.arg("out"), "anna/web"][..], &["pin", &fixture.recipe()]] {
        let said = fixture.run_with(args, &[("HF_HUB_OFFLINE", "1")]).assert_failure();
        assert!(said.contains("unset HF_HUB_OFFLINE") && !said.contains("cache"), "{said}");
    }
    let said = fixture.run_with(&["pull", &fixture.recipe()], &[("HF_TOKEN", "perch\u{e9}")]).assert_failure();
    assert!(said.contains("HF_TOKEN holds what can be no token") && !said.contains("perch"), "{said}");
    assert!(fixture.hub.take_log().is_empty());
}

#[test]
fn a_link_out_of_the_folder_is_not_followed() {
    let fixture = built();
    let secret = fixture.local.write("secret.txt", "mine alone");
    fixture.local.write("model/config.json", "{}\n");
    fixture.local.write("model/model.safetensors", [1_u8; 100]);
    symlink(&secret, fixture.local.path("model/notes.txt")).unwrap();
    let push = || fixture.run(&["push", &fixture.arg("model"), "anna/model"]);
    assert!(push().assert_failure().contains("notes.txt is a link out of the folder"));
    fs::remove_file(fixture.local.path("model/notes.txt")).unwrap();
    symlink("nowhere.txt", fixture.local.path("model/notes.txt")).unwrap();
    assert!(push().assert_failure().contains("notes.txt"), "a link to nothing is no file to leave out");
    fs::remove_file(fixture.local.path("model/notes.txt")).unwrap();
    fs::remove_file(fixture.local.path("out/README.md")).unwrap();
    symlink(&secret, fixture.local.path("out/README.md")).unwrap();
    assert!(
        fixture
            .run(&["push", &fixture.arg("out"), "anna/web"])
            .assert_failure()
            .contains("is a link out of the folder")
    );
    assert!(fixture.hub.store().repos.is_empty());
    push().assert_success();
    // A snapshot of the shared cache is nothing but links.
    fixture.local.write("cache/blobs/abc", "{\"x\": 1}\n");
    fixture.local.write("cache/snapshots/c0/model.safetensors", [2_u8; 50]);
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
    fixture.local.write("run/run.lock.toml", lock.split("[[made]]").next().unwrap());
    assert!(push("run").contains("holds a run that is not finished"));
    fixture.local.write("run/run.lock.toml", lock);
    fixture.local.write("run/adapter/adapter_model.safetensors", [8_u8; 5_000]);
    assert!(push("run").contains("adapter_model.safetensors is not what the run wrote"));
    fs::create_dir_all(fixture.local.path("half/.setaccio/work")).unwrap();
    assert!(push("half").contains("holds a build that is not finished"));
    assert!(fixture.hub.store().repos.is_empty());
}
