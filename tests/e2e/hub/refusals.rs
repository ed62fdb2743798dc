//! What must not happen, whoever asks for it: a Hub that lies, a push that would go astray.

use std::{fs, os::unix::fs::symlink, time::Instant};

use setaccio_test_hub::{Content, Repo, Trouble};

use super::{Bench, run_folder};
use crate::lab::{Dice, Lab};

/// A built data set in `out`.
fn built() -> Bench {
    let lab = Lab::text("");
    lab.write("data/web/x.jsonl", Dice(1).lines(20));
    lab.build("out", &[]).good();
    Bench::new(lab)
}

#[test]
fn a_listing_that_leads_out_of_the_cache_is_refused() {
    let bench = Bench::new(Lab::text(""));
    // Eight levels up from `blobs` is outside of whatever folder the test has.
    let outside = format!("{}{}", "../".repeat(20), bench.arg("escaped").trim_start_matches('/'));
    let good = Content::new("a.jsonl", Dice(1).lines(3));
    for (path, content, told) in [
        ("a.jsonl", Content { git: outside.clone(), ..good.clone() }, "is no hash of a.jsonl"),
        ("a.jsonl", Content { sha256: Some(outside), ..good.clone() }, "is no hash of a.jsonl"),
        ("../../a.jsonl", good.clone(), "is no path of a repository"),
        ("a\u{1b}[2J.jsonl", good.clone(), "is no path of a repository"),
    ] {
        let mut repo = Repo::default();
        repo.commit("main", "Add", "", [(path.to_owned(), Some(content))]);
        bench.hub.store().repos.insert("datasets/lab/web".into(), repo);
        let said = bench.run(&["pull", &bench.recipe()]).bad();
        assert!(said.contains(told) && !said.contains('\u{1b}'), "{said}");
        assert_eq!(bench.fetched(), Vec::<String>::new(), "nothing is asked for");
        assert!(
            !fs::read_dir(bench.lab.path(""))
                .unwrap()
                .flatten()
                .any(|e| e.file_name() != *"hf" && e.file_name() != *"lab.toml")
        );
    }
}

#[test]
fn a_wait_that_is_a_date_is_kept() {
    let bench = Bench::new(Lab::text(""));
    bench.hub.store().put("datasets/lab/web", [("a.jsonl".to_owned(), Dice(1).lines(3))]);
    bench.hub.faults().plan("GET", "/resolve/", Trouble::TooManyUntil(3), 1);
    let start = Instant::now();
    let run = bench.run(&["pull", &bench.recipe()]).good();
    // The date has whole seconds.
    assert!(start.elapsed().as_secs() >= 2 && run.stderr.contains("waiting"), "{:?}: {run:?}", start.elapsed());
    bench.hub.faults().plan("GET", "/revision/", Trouble::TooManyUntil(3600), 1);
    let said = bench.run(&["pull", &bench.recipe()]).bad();
    assert!(said.contains("asks to wait 3600 s") || said.contains("asks to wait 3599 s"), "{said}");
    bench.hub.faults().plan("GET", "/revision/", Trouble::Status(429), 99);
    let said = bench.run(&["pull", &bench.recipe()]).bad();
    assert!(said.contains("does not say how long to wait"), "{said}");
}

#[test]
fn the_hub_s_own_words_are_told() {
    let bench = built();
    let push = || bench.run(&["push", &bench.arg("out"), "anna/web"]).bad();
    bench.hub.faults().plan("POST", "/commit/", Trouble::Status(400), 1);
    let said = push();
    assert!(said.contains("does not take this") && said.contains("status 400 (planned)"), "{said}");
    assert!(said.contains(&format!("look at {}/datasets/anna/web", bench.hub.endpoint())), "{said}");
    // A full account is no fault of the token.
    bench.hub.faults().plan("POST", "/preupload/", Trouble::Status(403), 1);
    let said = push();
    assert!(said.contains("does not let this token write") && said.contains("(planned)"), "{said}");
}

#[test]
fn what_was_to_be_private_does_not_go_where_everybody_sees_it() {
    let bench = built();
    let push = |args: &[&str]| bench.run(&[&["push", &bench.arg("out"), "anna/web"], args].concat());
    bench.hub.store().put("datasets/anna/web", [("notes.txt".to_owned(), "x")]);
    for args in [&["--private"][..], &["--private", "--dry-run"]] {
        let said = push(args).bad();
        assert!(said.contains("everybody can see it") && said.contains("/settings"), "{said}");
    }
    assert_eq!(bench.hub.store().repos["datasets/anna/web"].commits.len(), 1);
    bench.hub.store().repos.get_mut("datasets/anna/web").unwrap().private = true;
    push(&["--private"]).good();
}

#[test]
fn what_is_no_branch_is_not_pushed_to() {
    let bench = built();
    let push = |branch: &str| bench.run(&["push", &bench.arg("out"), "anna/web", "--revision", branch]).bad();
    assert!(push("0123456789abcdef0123456789abcdef01234567").contains("is a commit"));
    for branch in ["", "a b", "../x", "a..b"] {
        assert!(push(branch).contains("is no branch"), "{branch}");
    }
    assert!(bench.hub.store().repos.is_empty() && bench.hub.take_log().is_empty());
}

#[test]
fn offline_nothing_is_said_to_be_in_a_cache() {
    let bench = built();
    for args in [&["push", &bench.arg("out"), "anna/web"][..], &["pin", &bench.recipe()]] {
        let said = bench.run_with(args, &[("HF_HUB_OFFLINE", "1")]).bad();
        assert!(said.contains("unset HF_HUB_OFFLINE") && !said.contains("cache"), "{said}");
    }
    let said = bench.run_with(&["pull", &bench.recipe()], &[("HF_TOKEN", "perch\u{e9}")]).bad();
    assert!(said.contains("HF_TOKEN holds what can be no token") && !said.contains("perch"), "{said}");
    assert!(bench.hub.take_log().is_empty());
}

#[test]
fn a_link_out_of_the_folder_is_not_followed() {
    let bench = built();
    let secret = bench.lab.write("secret.txt", "mine alone");
    bench.lab.write("model/config.json", "{}\n");
    bench.lab.write("model/model.safetensors", [1_u8; 100]);
    symlink(&secret, bench.lab.path("model/notes.txt")).unwrap();
    let push = || bench.run(&["push", &bench.arg("model"), "anna/model"]);
    assert!(push().bad().contains("notes.txt is a link out of the folder"));
    fs::remove_file(bench.lab.path("model/notes.txt")).unwrap();
    symlink("nowhere.txt", bench.lab.path("model/notes.txt")).unwrap();
    assert!(push().bad().contains("notes.txt"), "a link to nothing is no file to leave out");
    fs::remove_file(bench.lab.path("model/notes.txt")).unwrap();
    fs::remove_file(bench.lab.path("out/README.md")).unwrap();
    symlink(&secret, bench.lab.path("out/README.md")).unwrap();
    assert!(bench.run(&["push", &bench.arg("out"), "anna/web"]).bad().contains("is a link out of the folder"));
    assert!(bench.hub.store().repos.is_empty());
    push().good();
    // A snapshot of the shared cache is nothing but links.
    bench.lab.write("cache/blobs/abc", "{\"x\": 1}\n");
    bench.lab.write("cache/snapshots/c0/model.safetensors", [2_u8; 50]);
    symlink("../../blobs/abc", bench.lab.path("cache/snapshots/c0/config.json")).unwrap();
    bench.run(&["push", &bench.arg("cache/snapshots/c0"), "anna/cached"]).good();
    let store = bench.hub.store();
    assert_eq!(store.repos["models/anna/cached"].at("main").unwrap().files["config.json"].bytes, "{\"x\": 1}\n");
}

#[test]
fn what_is_not_finished_is_not_pushed() {
    let bench = built();
    run_folder(&bench);
    let push = |folder: &str| bench.run(&["push", &bench.arg(folder), "anna/x"]).bad();
    let lock = fs::read_to_string(bench.lab.path("run/run.lock.toml")).unwrap();
    let (before, made) = lock.split_once("[[made]]").unwrap();
    let recipe = made.split_once("[recipe]").unwrap().1;
    bench.lab.write("run/run.lock.toml", format!("{before}[recipe]{recipe}"));
    assert!(push("run").contains("holds a run that is not finished"));
    bench.lab.write("run/run.lock.toml", lock);
    bench.lab.write("run/adapter/adapter_model.safetensors", [8_u8; 5_000]);
    assert!(push("run").contains("adapter_model.safetensors is not what the run wrote"));
    fs::create_dir_all(bench.lab.path("half/.setaccio/work")).unwrap();
    assert!(push("half").contains("holds a build that is not finished"));
    assert!(bench.hub.store().repos.is_empty());
}
