//! In: listings, pins, the cache that Python shares.

use std::{fs, path::Path, process::Command};

use setaccio_test_hub::{FaultKind, READ};

use super::{HubFixture, standins};
use crate::fixture::{Fixture, ROOT, TestRng};

const WEB: &str = "datasets/lab/web";

fn fixture() -> HubFixture {
    let fixture = HubFixture::new(Fixture::text("[dedup]\n[split]\nvalidation = 0.1\n"));
    let files = [("a.jsonl", TestRng(1).lines(40)), ("deep/b.jsonl", TestRng(2).lines(40))];
    fixture.hub.store().put(WEB, files.map(|(name, text)| (name.to_owned(), text)));
    fixture
}

#[test]
fn a_branch_is_resolved_once_and_the_lock_keeps_its_commit() {
    let fixture = fixture();
    let first = fixture.hub.store().repos[WEB].refs["main"].clone();
    fixture.build("out", &[]).assert_success();
    let lock = || fs::read_to_string(fixture.local.path("out/recipe.lock.toml")).unwrap();
    assert!(lock().contains(&format!("commit = \"{first}\"")));
    let second = fixture.hub.store().put(WEB, [("c.jsonl".to_owned(), TestRng(3).lines(30))]);
    let again = fixture.build("out", &[]).assert_success();
    assert!(again.stdout.contains("up to date") && again.stderr.contains("stays at"), "{again:?}");
    // Another folder asks anew, and so does --force.
    fixture.build("other", &[]).assert_success();
    assert!(fs::read_to_string(fixture.local.path("other/recipe.lock.toml")).unwrap().contains(&second));
    fixture.build("out", &["--force"]).assert_success();
    assert!(lock().contains(&second) && !lock().contains(&first));
}

#[test]
fn slices_agree_on_a_commit_while_the_branch_moves() {
    let fixture = fixture();
    fixture.build("out", &["--task", "1/2"]).assert_success();
    fixture.hub.store().put(WEB, [("a.jsonl".to_owned(), TestRng(9).lines(40))]);
    fixture.build("out", &["--task", "2/2"]).assert_success();
    fixture.build("out", &["--finish"]).assert_success();
    fixture.run(&["verify", &fixture.arg("out")]).assert_success();
}

#[test]
fn pin_rewrites_revisions_and_nothing_else() {
    let fixture = fixture();
    let recipe = fixture.local.path("recipe.toml");
    let text = fs::read_to_string(&recipe).unwrap();
    let text = format!("# What this is.\n{}", text.replace("revision = 'main'", "revision = 'main' # the newest"));
    fs::write(&recipe, &text).unwrap();
    let first = fixture.hub.store().repos[WEB].refs["main"].clone();
    let args = ["pin", &fixture.recipe()];
    let said = fixture.run(&[&args[..], &["--dry-run"]].concat()).assert_success().stdout;
    assert!(said.contains(&first) && said.contains("would be pinned"), "{said}");
    assert_eq!(fs::read_to_string(&recipe).unwrap(), text);
    fixture.run(&args).assert_success();
    let pinned = fs::read_to_string(&recipe).unwrap();
    assert_eq!(pinned, text.replace("'main' # the newest", &format!("\"{first}\" # main (the newest)")));
    assert!(fixture.run(&args).assert_success().stdout.contains("up to date"));
    {
        let mut store = fixture.hub.store();
        store.put(
            WEB,
            [("a.jsonl", TestRng(7).lines(5)), ("new.jsonl", TestRng(8).lines(5))].map(|(n, t)| (n.to_owned(), t)),
        );
        let repo = store.repos.get_mut(WEB).unwrap();
        repo.commit("main", "Remove", "", [("deep/b.jsonl".to_owned(), None)]);
    }
    let said = fixture.run(&args).assert_success().stdout;
    for told in ["~ a.jsonl", "+ new.jsonl", "- deep/b.jsonl"] {
        assert!(said.contains(told), "{told}: {said}");
    }
    let second = fixture.hub.store().repos[WEB].refs["main"].clone();
    assert_eq!(fs::read_to_string(&recipe).unwrap(), pinned.replace(&first, &second));
    fixture.build("out", &[]).assert_success();
    fixture.hub.take_log();
    fixture.build("again", &[]).assert_success();
    assert_eq!(fixture.hub.take_log(), [], "a pinned recipe whose files are here asks nothing");
}

#[test]
fn what_was_pulled_is_enough_without_a_network() {
    let fixture = fixture();
    let offline = [("HF_HUB_OFFLINE", "1")];
    let args = ["build", &fixture.recipe(), "--from", "hub", "--out", &fixture.arg("out")];
    let said = fixture.run_with(&args, &offline).assert_failure();
    assert!(said.contains("HF_HUB_OFFLINE is set") && said.contains("setaccio pull"), "{said}");
    let said = fixture.run(&["pull", &fixture.recipe()]).assert_success().stdout;
    assert!(said.contains("2 of 2 files"), "{said}");
    let again = fixture.run(&["pull", &fixture.recipe()]).assert_success().stdout;
    assert!(again.contains("were here before"), "{again}");
    assert_eq!(fixture.hub.take_log().iter().filter(|l| l.path.contains("/resolve/")).count(), 2, "once each");
    fixture.run_with(&args, &offline).assert_success();
    fixture.run_with(&["plan", &fixture.recipe(), "--from", "hub"], &offline).assert_success();
    assert_eq!(fixture.hub.take_log(), []);
    // A file that is missing is named.
    let cache = fixture.home().join("hub/datasets--lab--web/snapshots");
    let commit = fs::read_dir(cache).unwrap().flatten().next().unwrap().path();
    fs::remove_file(commit.join("a.jsonl")).unwrap();
    let said = fixture
        .run_with(&["build", &fixture.recipe(), "--from", "hub", "--out", &fixture.arg("new")], &offline)
        .assert_failure();
    assert!(said.contains("a.jsonl of the dataset lab/web"), "{said}");
}

#[test]
fn plan_and_preview_fetch_no_more_than_they_show() {
    let fixture = fixture();
    let said = fixture.run(&["plan", &fixture.recipe(), "--from", "hub"]).assert_success().stdout;
    assert!(said.contains("2 of 2 files would be read") && said.contains("deep/b.jsonl"), "{said}");
    assert_eq!(fixture.fetched(), Vec::<String>::new());
    fixture.run(&["preview", &fixture.recipe(), "--from", "hub", "-n", "4"]).assert_success();
    assert_eq!(fixture.fetched().len(), 1);
}

#[test]
fn each_refusal_has_its_own_sentence_and_a_page_to_go_to() {
    let fixture = fixture();
    let page = format!("{}/datasets/lab/web", fixture.hub.endpoint());
    let build = |env: &[(&str, &str)], set: &str| {
        let args = ["build", &fixture.recipe(), "--from", "hub", "--out", &fixture.arg("out"), "--set", set];
        let run = fixture.run_with(&args, env);
        let said = run.assert_failure();
        assert!(!said.contains("panicked") && !said.contains("stack") && !said.contains(READ), "{said}");
        said
    };
    let said = build(&[], "source.web.revision=v9");
    assert!(said.contains("no branch, tag or commit `v9`") && said.contains(&page), "{said}");
    let said = build(&[], "source.web.repo=lab/none");
    assert!(said.contains("the dataset lab/none does not exist, or is private"), "{said}");
    let said = build(&[("HF_TOKEN", "")], "source.web.repo=lab/none");
    assert!(said.contains("there is no token in HF_TOKEN"), "{said}");
    let said = build(&[("HF_TOKEN", "hf_expired")], "seed=1");
    assert!(said.contains("wrong, revoked or expired") && said.contains("/settings/tokens"), "{said}");
    let said = build(&[], "source.web.files=['*.parquet']");
    assert!(said.contains("no file of the dataset lab/web matches *.parquet") && said.contains(&page), "{said}");
    let said = build(&[("HF_ENDPOINT", "http://127.0.0.1:9")], "seed=1");
    assert!(said.contains("cannot be reached") && said.contains("HF_ENDPOINT"), "{said}");
    fixture.hub.faults().plan("GET", "/revision/", FaultKind::TooMany(3600), 1);
    let said = build(&[], "seed=1");
    assert!(said.contains("asks to wait 3600 s") && said.contains("/settings/tokens"), "{said}");
    fixture.hub.faults().plan("GET", "/revision/", FaultKind::Status(500), 99);
    let said = build(&[], "seed=1");
    assert!(said.contains("status 500") && said.contains("status.huggingface.co"), "{said}");
    fixture.hub.faults().clear();
    fixture.hub.store().repos.get_mut(WEB).unwrap().gated = Some(["bruno".to_owned()].into());
    let said = build(&[], "seed=1");
    assert!(said.contains("is gated: accept its terms at") && said.contains(&page), "{said}");
    fixture.run_with(&["pull", &fixture.recipe()], &[("HF_TOKEN", READ)]).assert_success();
}

#[test]
fn the_hub_s_wait_is_kept() {
    let fixture = fixture();
    fixture.hub.faults().plan("GET", "/resolve/", FaultKind::TooMany(2), 1);
    let start = std::time::Instant::now();
    let run = fixture.run(&["pull", &fixture.recipe(), "--jobs", "1"]).assert_success();
    assert!(start.elapsed().as_secs() >= 2, "it came back after {:?}", start.elapsed());
    assert!(run.stderr.contains("waiting 2 s"), "{run:?}");
}

#[test]
fn the_token_goes_to_the_hub_alone() {
    let fixture = HubFixture::new(Fixture::text(""));
    fixture.hub.store().put(WEB, [("a.parquet".to_owned(), standins::sample("mc4_raw_it.parquet"))]);
    fixture.run(&["pull", &fixture.recipe()]).assert_success();
    let log = fixture.hub.take_log();
    let (api, storage): (Vec<_>, Vec<_>) = log.iter().partition(|l| l.path.contains("lab/web"));
    assert!(api.iter().all(|l| l.token) && !storage.is_empty());
    assert!(storage.iter().all(|l| !l.token), "{storage:?}");
}

#[test]
fn content_that_is_not_what_was_announced_is_refused() {
    let fixture = fixture();
    fixture.hub.faults().plan("GET", "/resolve/", FaultKind::Spoil, 1);
    fixture.run(&["pull", &fixture.recipe(), "--jobs", "1"]).assert_success();
    fs::remove_dir_all(fixture.home()).unwrap();
    fixture.hub.faults().plan("GET", "/resolve/", FaultKind::Spoil, 2);
    let said = fixture.run(&["pull", &fixture.recipe(), "--jobs", "1"]).assert_failure();
    assert!(said.contains("arrived with other content") && !fixture.home().join("blobs").exists(), "{said}");
    // What rots in the cache is seen when it is read.
    fixture.hub.faults().clear();
    fixture.hub.store().put(WEB, [("big.parquet".to_owned(), standins::sample("mc4_raw_it.parquet"))]);
    let args = ["--set", "source.web.files=['*.parquet']"];
    fixture.build("out", &args).assert_success();
    let blobs = fs::read_dir(fixture.home().join("hub/datasets--lab--web/blobs")).unwrap().flatten();
    let blob = blobs.map(|e| e.path()).max_by_key(|p| fs::metadata(p).unwrap().len()).unwrap();
    let mut bytes = fs::read(&blob).unwrap();
    bytes[1000] ^= 1;
    fs::write(&blob, bytes).unwrap();
    let said = fixture.build("new", &args).assert_failure();
    assert!(said.contains("is not what the Hub states") && said.contains(blob.to_str().unwrap()), "{said}");
    fs::remove_file(&blob).unwrap();
    fixture.build("new", &args).assert_success();
}

#[test]
#[ignore = "needs a Python with huggingface_hub, at SETACCIO_PYTHON"]
fn python_finds_what_was_pulled() {
    let python = std::env::var("SETACCIO_PYTHON").expect("SETACCIO_PYTHON names a Python with huggingface_hub");
    let fixture = fixture();
    fixture.run(&["pull", &fixture.recipe()]).assert_success();
    let code = "import huggingface_hub as h; print(open(h.hf_hub_download('lab/web', 'deep/b.jsonl', repo_type='dataset')).read(), end='')";
    let output = Command::new(python)
        .args(["-c", code])
        .env("HF_HOME", fixture.home())
        .env("HF_HUB_OFFLINE", "1")
        .current_dir(ROOT)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), TestRng(2).lines(40));
}
