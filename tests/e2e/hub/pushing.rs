//! Out: one commit with what changed, nothing where nothing changed, and nothing of this machine.

use std::{collections::BTreeMap, fs};

use setaccio_test_hub::{Commit, Content, FaultKind, READ, WRITE};

use super::{HubFixture, gguf, lock_run, run_folder, safetensors};
use crate::fixture::{Fixture, ROOT, TestRng, Transcript, assert_snapshot};

const REPO: &str = "datasets/anna/web";

/// A built data set in `out`.
fn fixture() -> HubFixture {
    let fixture =
        Fixture::text("[dedup]\n[split]\nvalidation = 0.1\n[output]\nshard_bytes = 20000\nrow_group_bytes = 8000\n");
    fixture.write("data/web/x.jsonl", TestRng(1).lines(120));
    fixture.build("out", &[]).assert_success();
    HubFixture::new(fixture)
}

impl HubFixture {
    fn push(&self, args: &[&str]) -> crate::fixture::Run {
        self.run(&[&["push", &self.arg("out"), "anna/web"], args].concat())
    }

    fn history(&self, revision: &str) -> Vec<Commit> {
        self.hub.store().repos[REPO].history(revision).into_iter().cloned().collect()
    }

    fn head(&self) -> BTreeMap<String, Vec<u8>> {
        let files = self.hub.store().repos[REPO].at("main").unwrap().files.clone();
        files.into_iter().filter(|(n, _)| n != ".gitattributes").map(|(n, c)| (n, c.bytes.to_vec())).collect()
    }
}

#[test]
fn a_card_is_pushed_with_what_a_person_thought_where_somebody_asks() {
    let fixture = fixture();
    let said = fixture.push(&["--review"]).assert_failure();
    assert!(said.contains("holds no judgement"), "{said}");
    assert!(fixture.hub.store().repos.is_empty());
    let ledger = std::fs::read(fixture.local.path("out/ledger.json")).unwrap();
    let ledger: serde_json::Value = serde_json::from_slice(&ledger).unwrap();
    let said = serde_json::json!({
        "build": ledger["fingerprint"], "id": "0", "rule": "kept", "source": "web", "verdict": "drop",
    });
    fixture.local.write("out.review.jsonl", format!("{said}\n"));
    fixture.push(&["--review"]).assert_success();
    let card = String::from_utf8(fixture.head()["README.md"].clone()).unwrap();
    let local = std::fs::read_to_string(fixture.local.path("out/README.md")).unwrap();
    assert!(
        card.starts_with(&local) && card.contains("\n## What a person thought\n") && card.contains("| kept | 1 | 1 |"),
        "{card}"
    );
    assert!(!local.contains("What a person thought"));
}

#[test]
fn a_push_makes_one_commit_and_the_next_none() {
    let fixture = fixture();
    let mut transcript = Transcript::default();
    transcript.add("push --dry-run", &fixture.push(&["--dry-run"]).assert_success().said());
    assert!(fixture.hub.store().repos.is_empty());
    transcript.add("push --private", &fixture.push(&["--private"]).assert_success().said());
    let mut expected = fixture.local.published("out");
    expected.retain(|name, _| !name.starts_with("rejects/"));
    assert!(expected.len() > 6, "several shards");
    assert_eq!(fixture.head(), expected);
    assert_eq!(fixture.history("main").len(), 2, "the Hub's first and ours");
    assert!(fixture.hub.store().repos[REPO].private);
    let shards = fixture.history("main")[0]
        .files
        .iter()
        .filter(|(n, _)| n.starts_with("data/"))
        .all(|(_, c)| c.sha256.is_some());
    assert!(shards && fixture.history("main")[0].files["README.md"].sha256.is_none());

    fixture.hub.take_log();
    transcript.add("push again", &fixture.push(&[]).assert_success().said());
    assert_eq!(fixture.history("main").len(), 2);
    assert!(fixture.hub.take_log().iter().all(|l| l.method == "GET"), "a look changes nothing");

    // Fewer shards: the old ones go, in the same commit.
    fixture.local.build("out", &["--set", "output.shard_bytes=40000", "--set", "seed=7"]).assert_success();
    transcript.add("push --with-rejects, of fewer shards", &fixture.push(&["--with-rejects"]).assert_success().said());
    transcript.assert_snapshot("hub-push");
    assert_eq!(fixture.head(), fixture.local.published("out"));
    assert_eq!(fixture.history("main").len(), 3);
    fixture.push(&[]).assert_success();
    assert!(fixture.head().keys().all(|n| !n.starts_with("rejects/")), "rejects that are pushed no more are gone");
}

#[test]
fn branches_and_pull_requests() {
    let fixture = fixture();
    fixture.push(&["--revision", "next"]).assert_success();
    assert_eq!(fixture.history("main").len(), 1);
    assert_eq!(fixture.history("next").len(), 2);
    let mut transcript = Transcript::default();
    transcript.add("push --create-pr", &fixture.push(&["--create-pr"]).assert_success().said());
    transcript.add("push --create-pr again", &fixture.push(&["--create-pr"]).assert_success().said());
    transcript.assert_snapshot("hub-push_as_a_pull_request");
    assert_eq!(fixture.hub.store().repos[REPO].pulls.len(), 1);
    assert_eq!((fixture.history("main").len(), fixture.history("refs/pr/1").len()), (1, 2));
}

#[test]
fn a_card_that_was_edited_on_the_hub_is_not_lost() {
    let fixture = fixture();
    fixture.push(&[]).assert_success();
    let card = String::from_utf8(fixture.head()["README.md"].clone()).unwrap();
    let edited = card.replacen("A test.", "A test, and more words.", 1);
    assert_ne!(card, edited);
    let content = Content::new("README.md", edited.clone());
    fixture.hub.store().repos.get_mut(REPO).unwrap().commit(
        "main",
        "Edit",
        "",
        [("README.md".to_owned(), Some(content))],
    );
    fixture.local.build("out", &["--set", "seed=3"]).assert_success();
    let said = fixture.push(&[]).assert_failure();
    assert_eq!(fixture.push(&["--dry-run"]).assert_failure(), said);
    assert_snapshot("hub-a_card_that_was_edited", said);
    assert_eq!(fixture.history("main").len(), 3);
    assert_eq!(fixture.head()["README.md"], edited.as_bytes());
    fixture.push(&["--force"]).assert_success();
    assert_ne!(fixture.head()["README.md"], edited.as_bytes());
    // What somebody else's program pushed is theirs.
    fixture.local.build("out", &["--set", "seed=4"]).assert_success();
    fixture.push(&[]).assert_success();
}

#[test]
fn a_folder_that_is_not_what_was_built_is_not_pushed() {
    let fixture = fixture();
    let shard = fs::read_dir(fixture.local.path("out/data")).unwrap().flatten().next().unwrap().path();
    let whole = fs::read(&shard).unwrap();
    fs::write(&shard, &whole[..whole.len() - 1]).unwrap();
    let mut transcript = Transcript::default();
    transcript.add("a shard that is one byte short", &fixture.push(&[]).assert_failure());
    fs::write(&shard, whole).unwrap();
    for (name, from, to) in [
        ("ledger.json", "\"rows\": 12", "\"rows\": 13"),
        ("recipe.lock.toml", "command = \"setaccio", "command = \"Setaccio"),
        ("waterfall.svg", "#2b6cb0", "#2b6cb1"),
        ("README.md", "A test.", "A tests."),
    ] {
        let path = fixture.local.path("out").join(name);
        let whole = fs::read_to_string(&path).unwrap();
        assert!(whole.contains(from), "{name}: {whole}");
        fs::write(&path, whole.replacen(from, to, 1)).unwrap();
        transcript.add(format!("{name} with {to}"), &fixture.push(&[]).assert_failure());
        fs::write(&path, whole).unwrap();
    }
    fixture.local.write("out/data/mine.parquet", "x");
    transcript.add("a file that the build did not write", &fixture.push(&[]).assert_failure());
    fs::remove_file(fixture.local.path("out/data/mine.parquet")).unwrap();
    fixture.local.write("none/notes.txt", "x");
    let nothing = fixture.run(&["push", &fixture.arg("none"), "anna/none"]).assert_failure();
    transcript.add("a folder of notes", &nothing);
    let no_owner = fixture.run(&["push", &fixture.arg("out"), "web"]).assert_failure();
    transcript.add("a repository without an owner", &no_owner);
    transcript.assert_snapshot("hub-what_is_not_pushed");
    assert!(fixture.hub.store().repos.is_empty());
}

#[test]
fn a_card_that_was_edited_here_goes_if_somebody_says_so() {
    let fixture = fixture();
    let path = fixture.local.path("out/README.md");
    let card = fs::read_to_string(&path).unwrap() + "\nA note of mine.\n";
    fs::write(&path, &card).unwrap();
    fixture.push(&[]).assert_failure();
    assert!(fixture.hub.store().repos.is_empty());
    fixture.push(&["--force"]).assert_success();
    assert_eq!(fixture.head()["README.md"], card.as_bytes());
    // Rejects that stay here may be gone, and are missed where they are to go too.
    fs::remove_dir_all(fixture.local.path("out/rejects")).unwrap();
    fixture.push(&["--force"]).assert_success();
}

#[test]
fn a_model_that_is_not_whole_is_not_pushed_and_what_is_no_part_of_it_stays() {
    let fixture = fixture();
    let mut transcript = Transcript::default();
    let write = |name: &str, bytes: &[u8]| fixture.local.write(&format!("model/{name}"), bytes);
    let push = || fixture.run(&["push", &fixture.arg("model"), "anna/model"]);
    let whole = safetensors("w", 5_000, || 7);
    write("config.json", b"{}\n");
    write("model.safetensors", &whole[..4_999]);
    transcript.add("weights that are one byte short", &push().assert_failure());
    write("model.safetensors", &[&whole[..], b"x"].concat());
    transcript.add("weights that are one byte too long", &push().assert_failure());
    write("model.safetensors", &whole);
    write("config.json", b"{\n");
    transcript.add("a configuration that is cut", &push().assert_failure());
    write("config.json", b"{}\n");
    write("model-q4.gguf", &gguf(1_000)[..999]);
    transcript.add("a GGUF file that is one byte short", &push().assert_failure());
    fs::remove_file(fixture.local.path("model/model-q4.gguf")).unwrap();
    fs::rename(
        fixture.local.path("model/model.safetensors"),
        fixture.local.path("model/model-00001-of-00002.safetensors"),
    )
    .unwrap();
    transcript.add("shards without an index", &push().assert_failure());
    let index = |map: &str| write("model.safetensors.index.json", format!(r#"{{"weight_map": {{{map}}}}}"#).as_bytes());
    index(r#""w": "model-00001-of-00002.safetensors", "v": "model-00002-of-00002.safetensors""#);
    transcript.add("a shard that is not there", &push().assert_failure());
    index(r#""w": "model-00001-of-00002.safetensors", "v": "model-00001-of-00002.safetensors""#);
    transcript.add("a tensor that is not there", &push().assert_failure());
    index("");
    transcript.add("a tensor that nothing tells of", &push().assert_failure());
    assert!(fixture.hub.store().repos.is_empty());

    index(r#""w": "model-00001-of-00002.safetensors""#);
    for name in
        ["notes.txt", "secrets.json", "optimizer.safetensors", "train.py", "checkpoints/x", ".hidden", "LICENSE"]
    {
        write(name, b"{}");
    }
    transcript.add("a model, and what lies beside it", &push().assert_success().said());
    let names = |repo: &str| -> Vec<String> {
        let store = fixture.hub.store();
        let files = &store.repos[repo].at("main").unwrap().files;
        files.keys().filter(|name| *name != ".gitattributes").cloned().collect()
    };
    let expected = ["LICENSE", "config.json", "model-00001-of-00002.safetensors", "model.safetensors.index.json"];
    assert_eq!(names("models/anna/model"), expected);

    run_folder(&fixture);
    fixture.local.write("run/adapter/notes.txt", "mine");
    fixture.local.write("run/adapter/optimizer.safetensors", "mine");
    let said = fixture.run(&["push", &fixture.arg("run"), "anna/adapter"]).assert_success().said();
    transcript.add("a run, and what lies beside its adapter", &said);
    assert!(names("models/anna/adapter").iter().all(|name| !name.contains("notes") && !name.contains("optimizer")));
    fixture.local.write("run/metrics.jsonl", "{}\n{\"step\": 1, \n");
    transcript.add("metrics that are cut", &fixture.run(&["push", &fixture.arg("run"), "anna/cut"]).assert_failure());
    transcript.assert_snapshot("hub-models_that_are_not_whole");
    assert!(!fixture.hub.store().repos.contains_key("models/anna/cut"));
}

#[test]
fn who_may_not_write_is_told_so() {
    let fixture = fixture();
    let push = |token: &str, repo: &str| {
        fixture.run_with(&["push", &fixture.arg("out"), repo], &[("HF_TOKEN", token)]).assert_failure()
    };
    let mut transcript = Transcript::default();
    transcript.add("no token", &push("", "anna/web"));
    transcript.add("a token that may read only", &push(READ, "bruno/web"));
    transcript.add("a repository of somebody else", &push(WRITE, "carla/web"));
    transcript.add("an expired token", &push("hf_old", "anna/web"));
    transcript.assert_snapshot("hub-who_may_not_write");
}

#[test]
fn an_adapter_is_pushed_as_peft_looks_for_it() {
    let fixture = fixture();
    run_folder(&fixture);
    let home = fixture.arg("home");
    fixture.run_with(&["push", &fixture.arg("run"), "anna/adapter"], &[("HOME", &home)]).assert_success();
    let files = fixture.hub.store().repos["models/anna/adapter"].at("main").unwrap().files.clone();
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    let expected = [
        ".gitattributes",
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "metrics.jsonl",
        "run.lock.toml",
        "tokenizer.json",
    ];
    assert_eq!(names, expected);
    let text = |name: &str| String::from_utf8(files[name].bytes.to_vec()).unwrap();
    assert!(text("README.md").contains("from_pretrained(model, \"anna/adapter\")"));
    assert_eq!(files["tokenizer.json"].bytes, fs::read(fixture.local.path("run/adapter/tokenizer.json")).unwrap());
    assert_eq!(text("adapter_config.json"), "{\"base_model_name_or_path\": \"llama\"}\n");
    assert!(text("run.lock.toml").contains("\ncommand = \"setaccio train x.toml --model llama\"\n"));
}

#[test]
fn a_whole_model_takes_the_place_of_an_adapter() {
    let fixture = fixture();
    run_folder(&fixture);
    fixture.run(&["push", &fixture.arg("run"), "anna/it"]).assert_success();
    // The same run again, with every weight trained; what lies in `adapter/` is not its own any more.
    fixture.local.write("run/model/config.json", "{}\n");
    fixture.local.write("run/model/model.safetensors", safetensors("w", 5_000, || 8));
    lock_run(&fixture, "full", "run/model", &["config.json", "model.safetensors"]);
    fixture.local.write("run/README.md", "# Run\n\nmodel = AutoModelForCausalLM.from_pretrained(\"model\")\n");
    fixture.run(&["push", &fixture.arg("run"), "anna/it"]).assert_success();
    let files = fixture.hub.store().repos["models/anna/it"].at("main").unwrap().files.clone();
    let weights: Vec<&str> =
        files.keys().map(String::as_str).filter(|f| f.contains("adapter") || f.contains("model")).collect();
    assert_eq!(
        weights,
        ["model.safetensors"],
        "transformers would look for an adapter where there is its configuration"
    );
    let card = String::from_utf8(files["README.md"].bytes.to_vec()).unwrap();
    assert!(card.contains("from_pretrained(\"anna/it\")"), "{card}");
    fixture.local.write("run/model/model.safetensors", safetensors("w", 5_000, || 9));
    fixture.run(&["push", &fixture.arg("run"), "anna/it"]).assert_failure();
}

#[test]
fn models_of_every_kind_are_known() {
    let fixture = fixture();
    for (folder, name, repo) in [("gguf", "model-q4.gguf", "anna/gguf"), ("merged", "model.safetensors", "anna/merged")]
    {
        let weights = if folder == "gguf" { gguf(9_000_000) } else { safetensors("w", 9_000_000, || 3) };
        fixture.local.write(&format!("{folder}/{name}"), weights);
        fixture.local.write(&format!("{folder}/config.json"), "{}\n");
        fixture.local.write(&format!("{folder}/README.md"), "# A model\n");
        fixture.run(&["push", &fixture.arg(folder), repo]).assert_success();
        let store = fixture.hub.store();
        let files = &store.repos[&format!("models/{repo}")].at("main").unwrap().files;
        assert_eq!(files[name].bytes.len(), 9_000_000, "in three parts");
        assert!(files.contains_key("README.md"));
    }
    assert!(fixture.hub.take_log().iter().any(|l| l.path.contains("/lfs/complete/")));
}

#[test]
fn nothing_of_this_machine_reaches_the_hub() {
    let fixture = fixture();
    run_folder(&fixture);
    let home = fixture.arg("home");
    let user = "vera-testuser";
    let env = [("HOME", home.as_str()), ("USER", user), ("LOGNAME", user)];
    let mut said = String::new();
    for (folder, repo) in [("out", "anna/web"), ("run", "anna/adapter")] {
        let run = fixture.run_with(&["push", &fixture.arg(folder), repo], &env).assert_success();
        said.push_str(&(run.stdout + &run.stderr));
    }
    fixture.hub.faults().plan("GET", "/api/whoami-v2", FaultKind::Status(500), 9);
    said.push_str(&fixture.run_with(&["push", &fixture.arg("out"), "anna/web"], &env).assert_failure());
    let folder = fixture.local.path("").to_string_lossy().into_owned();
    let secrets = [WRITE, user, home.as_str(), folder.trim_end_matches('/'), ROOT];
    let store = fixture.hub.store();
    for (repo, content) in &store.repos {
        for commit in content.commits.values() {
            for secret in secrets {
                assert!(!commit.title.contains(secret) && !commit.message.contains(secret), "{repo}: {secret}");
                for (name, file) in &commit.files {
                    let found = file.bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
                    assert!(!found, "{repo}: {name} holds {secret}");
                }
            }
        }
    }
    assert!(!said.contains(WRITE), "{said}");
    for name in fixture.local.published("out").into_values() {
        assert!(!name.windows(WRITE.len()).any(|w| w == WRITE.as_bytes()));
    }
}

#[test]
fn a_path_or_a_token_in_a_data_set_stops_the_push() {
    let fixture = fixture();
    let about = format!("about='See {}/notes'", fixture.arg("home"));
    fixture.local.build("out", &["--set", &about]).assert_success();
    let home = fixture.arg("home");
    let push = || fixture.run_with(&["push", &fixture.arg("out"), "anna/web"], &[("HOME", &home)]).assert_failure();
    let mut transcript = Transcript::default();
    transcript.add("a path", &push());
    fixture.local.build("out", &["--set", &format!("about='Use {WRITE}'")]).assert_success();
    let said = push();
    assert!(!said.contains(WRITE), "{said}");
    transcript.add("a token", &said);
    transcript.assert_snapshot("hub-a_path_or_a_token_in_a_data_set");
    assert!(fixture.hub.store().repos.is_empty());
}
