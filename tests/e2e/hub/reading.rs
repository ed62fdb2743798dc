//! In: listings, pins, the cache that Python shares.

use std::{fs, process::Command};

use setaccio_test_hub::{FaultKind, READ};

use super::{HubFixture, standins};
use crate::fixture::{Fixture, ROOT, Run, TestRng, Transcript, assert_snapshot, published};

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
fn a_lock_is_built_from_its_commit_wherever_the_branch_is() {
    let fixture = fixture();
    fixture.build("out", &[]).assert_success();
    let first = published(&fixture.local.path("out"));
    fixture
        .hub
        .store()
        .put(WEB, [("a.jsonl", 9), ("c.jsonl", 3)].map(|(n, seed)| (n.to_owned(), TestRng(seed).lines(30))));
    // As the Hub has it: without what the folder hides.
    fixture.local.write("pulled/recipe.lock.toml", &first["recipe.lock.toml"]);
    let lock = fixture.arg("pulled/recipe.lock.toml");
    let run = fixture.run(&["build", &lock, "--out", &fixture.arg("again")]).assert_success();
    assert!(run.stderr.is_empty(), "{}", run.stderr);
    assert_eq!(published(&fixture.local.path("again")), first);
    let why = |row: &str| fixture.run(&["why", &fixture.arg("again"), row]).assert_success().stdout;
    let kept = why("web/deep/b.jsonl:7");
    assert!(kept.starts_with("+ kept") && kept.contains("web/deep/b.jsonl, row 7 (from 0)"), "{kept}");
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
    let mut transcript = Transcript::default();
    let dry = fixture.run(&[&args[..], &["--dry-run"]].concat()).assert_success();
    transcript.add("pin --dry-run", &dry.said());
    assert_eq!(fs::read_to_string(&recipe).unwrap(), text);
    transcript.add("pin", &fixture.run(&args).assert_success().said());
    let pinned = fs::read_to_string(&recipe).unwrap();
    assert_eq!(pinned, text.replace("'main' # the newest", &format!("\"{first}\" # main (the newest)")));
    transcript.add("pin again", &fixture.run(&args).assert_success().said());
    {
        let mut store = fixture.hub.store();
        store.put(
            WEB,
            [("a.jsonl", TestRng(7).lines(5)), ("new.jsonl", TestRng(8).lines(5))].map(|(n, t)| (n.to_owned(), t)),
        );
        let repo = store.repos.get_mut(WEB).unwrap();
        repo.commit("main", "Remove", "", [("deep/b.jsonl".to_owned(), None)]);
    }
    transcript.add("pin, once files have changed", &fixture.run(&args).assert_success().said());
    transcript.assert_snapshot("hub-pin");
    let second = fixture.hub.store().repos[WEB].refs["main"].clone();
    assert_eq!(fs::read_to_string(&recipe).unwrap(), pinned.replace(&first, &second));
    fixture.build("out", &[]).assert_success();
    fixture.hub.take_log();
    fixture.build("again", &[]).assert_success();
    assert_eq!(fixture.hub.take_log(), [], "a pinned recipe whose files are here asks nothing");
}

#[cfg(feature = "train")]
#[test]
fn pin_rewrites_the_rows_of_a_task_and_of_its_examples() {
    let fixture = fixture();
    let text = "# A task.\nname = \"a\"\ntitle = \"\"\nmetrics = [\"byte_perplexity\"]\n\n[data]\nrepo = \"lab/web\"\nrevision = \"main\" # rows\n\
                files = [\"**/*.jsonl\"]\n\n[perplexity]\ntext = \"{{ text }}\"\n";
    let task = fixture.local.write("task.toml", text);
    let args = ["pin", task.to_str().unwrap()];
    let said = fixture.run(&args).assert_success().said();
    let commit = fixture.hub.store().repos[WEB].refs["main"].clone();
    assert!(said.contains("1 source pinned anew"), "{said}");
    let pinned = text.replace("\"main\" # rows", &format!("\"{commit}\" # main (rows)"));
    assert_eq!(fs::read_to_string(&task).unwrap(), pinned);
    // What is wrong with it is said, and it stays.
    fs::write(&task, pinned.replace("byte_perplexity", "acc")).unwrap();
    let said = fixture.run(&args).assert_failure();
    assert!(said.contains("`acc` is no metric of this kind of task"), "{said}");
}

#[test]
fn what_was_pulled_is_enough_without_a_network() {
    let fixture = fixture();
    let offline = [("HF_HUB_OFFLINE", "1")];
    let args = ["build", &fixture.recipe(), "--from", "hub", "--out", &fixture.arg("out")];
    let mut transcript = Transcript::default();
    transcript.add("build offline, with nothing in the cache", &fixture.run_with(&args, &offline).assert_failure());
    transcript.add("pull", &fixture.run(&["pull", &fixture.recipe()]).assert_success().said());
    transcript.add("pull again", &fixture.run(&["pull", &fixture.recipe()]).assert_success().said());
    assert_eq!(fixture.hub.take_log().iter().filter(|l| l.path.contains("/resolve/")).count(), 2, "once each");
    fixture.run_with(&args, &offline).assert_success();
    fixture.run_with(&["plan", &fixture.recipe(), "--from", "hub"], &offline).assert_success();
    assert_eq!(fixture.hub.take_log(), []);
    // A file that is missing is named.
    let cache = fixture.home().join("hub/datasets--lab--web/snapshots");
    let commit = fs::read_dir(cache).unwrap().flatten().next().unwrap().path();
    fs::remove_file(commit.join("a.jsonl")).unwrap();
    let args = ["build", &fixture.recipe(), "--from", "hub", "--out", &fixture.arg("new")];
    transcript.add("build offline, with a file missing", &fixture.run_with(&args, &offline).assert_failure());
    transcript.assert_snapshot("hub-pull");
}

#[test]
fn plan_and_preview_fetch_no_more_than_they_show() {
    let fixture = fixture();
    let plan = fixture.run(&["plan", &fixture.recipe(), "--from", "hub"]).assert_success();
    assert_snapshot("hub-plan", plan.said());
    assert_eq!(fixture.fetched(), Vec::<String>::new());
    fixture.run(&["preview", &fixture.recipe(), "--from", "hub", "-n", "4"]).assert_success();
    assert_eq!(fixture.fetched().len(), 1);
}

#[test]
fn files_of_another_kind_in_a_folder_of_the_hub_are_named() {
    let fixture = HubFixture::new(Fixture::text(""));
    let recipe = fs::read_to_string(fixture.recipe()).unwrap().replace("['**/*']", "['rows']");
    fixture.local.write("recipe.toml", recipe);
    let rows = ["rows/a.jsonl", "rows/note.txt", "rows/altro/tesi.pdf", "rows/.hidden/b.jsonl", "note.txt"];
    fixture.hub.store().put(WEB, rows.map(|name| (name.to_owned(), TestRng(1).lines(4))));
    let names = "web/rows/altro/tesi.pdf, web/rows/note.txt";
    let told = |run: Run, what: String| {
        let said = run.assert_success().said();
        assert!(said.contains(&what), "{said}");
    };
    let left_out = serde_json::json!(["web/rows/altro/tesi.pdf", "web/rows/note.txt"]);
    for (command, what, pointer) in [
        ("plan", "not read: 2 files beside these, ", "/sources/0/left_out"),
        ("preview", "2 files of web not read: ", "/left_out/web"),
    ] {
        let args = [command, &fixture.recipe(), "--from", "hub"];
        told(fixture.run(&args), format!("{what}{names}"));
        let run = fixture.run(&[&args[..], &["--json"]].concat()).assert_success();
        let object: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!(object.pointer(pointer), Some(&left_out), "{object}");
    }
    let note = format!("The folders of `web` hold 2 more files, of another kind, that were not read: {names}.");
    told(fixture.build("out", &[]), note);
    assert!(fs::read_to_string(fixture.local.path("out/README.md")).unwrap().contains(names));
    // Only what is read is fetched.
    fixture.run(&["pull", &fixture.recipe()]).assert_success();
    let fetched = fixture.fetched();
    assert!(fetched.len() == 1 && fetched[0].ends_with("rows/a.jsonl"), "{fetched:?}");
}

#[test]
fn each_refusal_has_its_own_sentence_and_a_page_to_go_to() {
    let fixture = fixture();
    let mut transcript = Transcript::default();
    let mut build = |case: &str, env: &[(&str, &str)], set: &str| {
        let args = ["build", &fixture.recipe(), "--from", "hub", "--out", &fixture.arg("out"), "--set", set];
        let said = fixture.run_with(&args, env).assert_failure();
        assert!(!said.contains(READ), "{said}");
        transcript.add(case, &said);
    };
    build("no such revision", &[], "source.web.revision=v9");
    build("no such repository", &[], "source.web.repo=lab/none");
    build("no such repository, without a token", &[("HF_TOKEN", "")], "source.web.repo=lab/none");
    build("an expired token", &[("HF_TOKEN", "hf_expired")], "seed=1");
    build("no such file", &[], "source.web.files=['*.parquet']");
    build("no Hub", &[("HF_ENDPOINT", "http://127.0.0.1:9")], "seed=1");
    fixture.hub.faults().plan("GET", "/revision/", FaultKind::TooMany(3600), 1);
    build("a wait of an hour", &[], "seed=1");
    fixture.hub.faults().plan("GET", "/revision/", FaultKind::Status(500), 99);
    build("status 500, again and again", &[], "seed=1");
    fixture.hub.faults().clear();
    fixture.hub.store().repos.get_mut(WEB).unwrap().gated = Some(["bruno".to_owned()].into());
    build("a gated repository", &[], "seed=1");
    transcript.assert_snapshot("hub-refusals_of_reads");
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
    assert!(!fixture.home().join("blobs").exists());
    let mut transcript = Transcript::default();
    transcript.add("on its way, twice", &said);
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
    transcript.add("in the cache", &fixture.build("new", &args).assert_failure());
    transcript.assert_snapshot("hub-content_that_is_not_what_was_announced");
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

#[test]
fn rows_of_one_s_own_are_held_against_sets_of_the_hub() {
    let settings = "[decontamination]\nsets = ['arc', 'gsm8k-it']\nmissing = 'skip'\n";
    let fixture = HubFixture::new(Fixture::text(settings));
    let recipe = fs::read_to_string(fixture.recipe()).unwrap();
    let start = recipe.find("repo = ").unwrap();
    let end = recipe.find("language = ").unwrap();
    fixture.local.write("recipe.toml", format!("{}path = 'rows.jsonl'\n{}", &recipe[..start], &recipe[end..]));
    let question = "A puddle on a school playground is gone by the afternoon although nobody swept it away.";
    let rows = TestRng(1).lines(20) + &serde_json::json!({ "text": question }).to_string();
    fixture.local.write("rows.jsonl", rows);
    let (_, repo, file) = standins::EVALUATIONS[0];
    fixture.hub.store().put(&format!("datasets/{repo}"), vec![(file.into(), standins::sample("evaluation/arc.jsonl"))]);
    let mut transcript = Transcript::default();
    let plan = fixture.run(&["plan", &fixture.recipe(), "--from", "hub"]).assert_success();
    transcript.add("plan", &plan.said());
    assert_eq!(fixture.fetched(), Vec::<String>::new());
    transcript.add("build", &fixture.build("out", &[]).assert_success().said());
    assert_eq!(fixture.fetched().len(), 1);
    transcript.add(
        "with a set that is missing",
        &fixture.build("stop", &["--set", "decontamination.missing=stop"]).assert_failure(),
    );
    let lock = fs::read_to_string(fixture.local.path("out/recipe.lock.toml")).unwrap();
    let commit = lock.split("[[evaluation]]").nth(1).unwrap().split("\n\n").next().unwrap().contains("commit = ");
    assert!(commit && lock.contains("from = \"hub\""), "{lock}");
    // A set of one's own is pinned as a source is.
    let own = format!(
        "{}[[decontamination.set]]\nname = 'quiz'\nrepo = '{repo}'\nrevision = 'main'\nfiles = ['**']\nfields = 'question'\n",
        fs::read_to_string(fixture.recipe()).unwrap()
    );
    fixture.local.write("recipe.toml", own);
    fixture.run(&["pin", &fixture.recipe()]).assert_success();
    let commit = fixture.hub.store().repos[&format!("datasets/{repo}")].refs["main"].clone();
    let pinned = fs::read_to_string(fixture.recipe()).unwrap();
    assert!(pinned.contains(&format!("revision = \"{commit}\" # main")), "{pinned}");
    // Other questions there are no reason to build another data set from the lock.
    let other = standins::sample("evaluation/mmlu.jsonl");
    fixture.hub.store().put(&format!("datasets/{repo}"), vec![(file.into(), other)]);
    let lock = fixture.arg("out/recipe.lock.toml");
    fixture.run(&["build", &lock, "--out", &fixture.arg("again")]).assert_success();
    assert_eq!(fixture.local.published("again"), fixture.local.published("out"));
    transcript.assert_snapshot("hub-evaluations");
}
