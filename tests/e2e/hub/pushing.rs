//! Out: one commit with what changed, nothing where nothing changed, and nothing of this machine.

use std::{collections::BTreeMap, fs};

use setaccio_test_hub::{Commit, Content, READ, Trouble, WRITE};

use super::{Bench, lock_run, run_folder};
use crate::lab::{Dice, Lab, ROOT};

const REPO: &str = "datasets/anna/web";

/// A built data set in `out`.
fn bench() -> Bench {
    let lab = Lab::text("[dedup]\n[split]\nvalidation = 0.1\n[output]\nshard_bytes = 20000\nrow_group_bytes = 8000\n");
    lab.write("data/web/x.jsonl", Dice(1).lines(120));
    lab.build("out", &[]).good();
    Bench::new(lab)
}

impl Bench {
    fn push(&self, args: &[&str]) -> crate::lab::Run {
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
fn a_push_makes_one_commit_and_the_next_none() {
    let bench = bench();
    let said = bench.push(&["--dry-run"]).good().stdout;
    assert!(said.contains("would be created") && said.contains("data/train-00000"), "{said}");
    assert!(bench.hub.store().repos.is_empty());
    let said = bench.push(&["--private"]).good().stdout;
    assert!(
        said.contains("one commit") && said.contains(&format!("{}/datasets/anna/web", bench.hub.endpoint())),
        "{said}"
    );
    let mut expected = bench.lab.published("out");
    expected.retain(|name, _| !name.starts_with("rejects/"));
    assert!(expected.len() > 6, "several shards");
    assert_eq!(bench.head(), expected);
    assert_eq!(bench.history("main").len(), 2, "the Hub's first and ours");
    assert!(bench.hub.store().repos[REPO].private);
    let shards =
        bench.history("main")[0].files.iter().filter(|(n, _)| n.starts_with("data/")).all(|(_, c)| c.sha256.is_some());
    assert!(shards && bench.history("main")[0].files["README.md"].sha256.is_none());

    bench.hub.take_log();
    let said = bench.push(&[]).good().stdout;
    assert!(said.contains("nothing to push"), "{said}");
    assert_eq!(bench.history("main").len(), 2);
    assert!(bench.hub.take_log().iter().all(|l| l.method == "GET"), "a look changes nothing");

    // Fewer shards: the old ones go, in the same commit.
    bench.lab.build("out", &["--set", "output.shard_bytes=40000", "--set", "seed=7"]).good();
    let said = bench.push(&["--with-rejects"]).good().stdout;
    assert!(said.contains("- data/train-"), "{said}");
    assert_eq!(bench.head(), bench.lab.published("out"));
    assert_eq!(bench.history("main").len(), 3);
    bench.push(&[]).good();
    assert!(bench.head().keys().all(|n| !n.starts_with("rejects/")), "rejects that are pushed no more are gone");
}

#[test]
fn branches_and_pull_requests() {
    let bench = bench();
    bench.push(&["--revision", "next"]).good();
    assert_eq!(bench.history("main").len(), 1);
    assert_eq!(bench.history("next").len(), 2);
    let said = bench.push(&["--create-pr"]).good().stdout;
    assert!(said.contains("/discussions/1"), "{said}");
    let said = bench.push(&["--create-pr"]).good().stdout;
    assert!(said.contains("nothing to push") && said.contains("/discussions/1"), "{said}");
    assert_eq!(bench.hub.store().repos[REPO].pulls.len(), 1);
    assert_eq!((bench.history("main").len(), bench.history("refs/pr/1").len()), (1, 2));
}

#[test]
fn a_card_that_was_edited_on_the_hub_is_not_lost() {
    let bench = bench();
    bench.push(&[]).good();
    let card = String::from_utf8(bench.head()["README.md"].clone()).unwrap();
    let edited = card.replacen("A test.", "A test, and more words.", 1);
    assert_ne!(card, edited);
    let content = Content::new("README.md", edited.clone());
    bench.hub.store().repos.get_mut(REPO).unwrap().commit(
        "main",
        "Edit",
        "",
        [("README.md".to_owned(), Some(content))],
    );
    bench.lab.build("out", &["--set", "seed=3"]).good();
    for args in [&[][..], &["--dry-run"]] {
        let said = bench.push(args).bad();
        assert!(said.contains("was edited there") && said.contains("- A test, and more words."), "{said}");
        assert!(said.contains("+ A test.") && said.contains("--force"), "{said}");
    }
    assert_eq!(bench.history("main").len(), 3);
    assert_eq!(bench.head()["README.md"], edited.as_bytes());
    bench.push(&["--force"]).good();
    assert_ne!(bench.head()["README.md"], edited.as_bytes());
    // What somebody else's program pushed is theirs.
    bench.lab.build("out", &["--set", "seed=4"]).good();
    bench.push(&[]).good();
}

#[test]
fn a_folder_that_is_not_what_was_built_is_not_pushed() {
    let bench = bench();
    let shard = fs::read_dir(bench.lab.path("out/data")).unwrap().flatten().next().unwrap().path();
    let whole = fs::read(&shard).unwrap();
    fs::write(&shard, &whole[..whole.len() - 1]).unwrap();
    assert!(bench.push(&[]).bad().contains("is not what the build wrote"));
    fs::write(&shard, whole).unwrap();
    bench.lab.write("none/notes.txt", "x");
    let said = bench.run(&["push", &bench.arg("none"), "anna/none"]).bad();
    assert!(said.contains("holds nothing to push"), "{said}");
    assert!(bench.run(&["push", &bench.arg("out"), "web"]).bad().contains("write owner/name"));
    assert!(bench.hub.store().repos.is_empty());
}

#[test]
fn who_may_not_write_is_told_so() {
    let bench = bench();
    let push =
        |token: &str, repo: &str| bench.run_with(&["push", &bench.arg("out"), repo], &[("HF_TOKEN", token)]).bad();
    let said = push("", "anna/web");
    assert!(said.contains("pushing needs a token") && said.contains("/settings/tokens"), "{said}");
    let said = push(READ, "bruno/web");
    assert!(said.contains("may read and not write") && !said.contains(READ), "{said}");
    let said = push(WRITE, "carla/web");
    assert!(said.contains("does not let this token write") && said.contains("the rights to write here"), "{said}");
    assert!(push("hf_old", "anna/web").contains("wrong, revoked or expired"));
}

#[test]
fn an_adapter_is_pushed_as_peft_looks_for_it() {
    let bench = bench();
    run_folder(&bench);
    let home = bench.arg("home");
    bench.run_with(&["push", &bench.arg("run"), "anna/adapter"], &[("HOME", &home)]).good();
    let files = bench.hub.store().repos["models/anna/adapter"].at("main").unwrap().files.clone();
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
    assert_eq!(files["tokenizer.json"].bytes, fs::read(bench.lab.path("run/adapter/tokenizer.json")).unwrap());
    assert_eq!(text("adapter_config.json"), "{\"base_model_name_or_path\": \"llama\"}\n");
    assert!(text("run.lock.toml").contains("\ncommand = \"setaccio train x.toml --model llama\"\n"));
}

#[test]
fn a_whole_model_takes_the_place_of_an_adapter() {
    let bench = bench();
    run_folder(&bench);
    bench.run(&["push", &bench.arg("run"), "anna/it"]).good();
    // The same run again, with every weight trained; what lies in `adapter/` is not its own any more.
    bench.lab.write("run/model/config.json", "{}\n");
    bench.lab.write("run/model/model.safetensors", [8_u8; 5_000]);
    lock_run(&bench, "full", "run/model", &["config.json", "model.safetensors"]);
    bench.lab.write("run/README.md", "# Run\n\nmodel = AutoModelForCausalLM.from_pretrained(\"model\")\n");
    bench.run(&["push", &bench.arg("run"), "anna/it"]).good();
    let files = bench.hub.store().repos["models/anna/it"].at("main").unwrap().files.clone();
    let weights: Vec<&str> =
        files.keys().map(String::as_str).filter(|f| f.contains("adapter") || f.contains("model")).collect();
    assert_eq!(
        weights,
        ["model.safetensors"],
        "transformers would look for an adapter where there is its configuration"
    );
    let card = String::from_utf8(files["README.md"].bytes.to_vec()).unwrap();
    assert!(card.contains("from_pretrained(\"anna/it\")"), "{card}");
    bench.lab.write("run/model/model.safetensors", [9_u8; 5_000]);
    let said = bench.run(&["push", &bench.arg("run"), "anna/it"]).bad();
    assert!(said.contains("is not what the run wrote"), "{said}");
}

#[test]
fn models_of_every_kind_are_known() {
    let bench = bench();
    for (folder, name, repo) in [("gguf", "model-q4.gguf", "anna/gguf"), ("merged", "model.safetensors", "anna/merged")]
    {
        bench.lab.write(&format!("{folder}/{name}"), vec![3_u8; 9_000_000]);
        bench.lab.write(&format!("{folder}/config.json"), "{}\n");
        bench.lab.write(&format!("{folder}/README.md"), "# A model\n");
        let said = bench.run(&["push", &bench.arg(folder), repo]).good().stdout;
        assert!(said.contains("one commit"), "{said}");
        let store = bench.hub.store();
        let files = &store.repos[&format!("models/{repo}")].at("main").unwrap().files;
        assert_eq!(files[name].bytes.len(), 9_000_000, "in three parts");
        assert!(files.contains_key("README.md"));
    }
    assert!(bench.hub.take_log().iter().any(|l| l.path.contains("/lfs/complete/")));
}

#[test]
fn nothing_of_this_machine_reaches_the_hub() {
    let bench = bench();
    run_folder(&bench);
    let home = bench.arg("home");
    let user = "vera-testuser";
    let env = [("HOME", home.as_str()), ("USER", user), ("LOGNAME", user)];
    let mut said = String::new();
    for (folder, repo) in [("out", "anna/web"), ("run", "anna/adapter")] {
        let run = bench.run_with(&["push", &bench.arg(folder), repo], &env).good();
        said.push_str(&(run.stdout + &run.stderr));
    }
    bench.hub.faults().plan("GET", "/api/whoami-v2", Trouble::Status(500), 9);
    said.push_str(&bench.run_with(&["push", &bench.arg("out"), "anna/web"], &env).bad());
    let lab = bench.lab.path("").to_string_lossy().into_owned();
    let secrets = [WRITE, user, home.as_str(), lab.trim_end_matches('/'), ROOT];
    let store = bench.hub.store();
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
    for name in bench.lab.published("out").into_values() {
        assert!(!name.windows(WRITE.len()).any(|w| w == WRITE.as_bytes()));
    }
}

#[test]
fn a_path_or_a_token_in_a_data_set_stops_the_push() {
    let bench = bench();
    let about = format!("about='See {}/notes'", bench.arg("home"));
    bench.lab.build("out", &["--set", &about]).good();
    let home = bench.arg("home");
    let push = || bench.run_with(&["push", &bench.arg("out"), "anna/web"], &[("HOME", &home)]).bad();
    assert!(push().contains("names a path of this machine"));
    bench.lab.build("out", &["--set", &format!("about='Use {WRITE}'")]).good();
    let said = push();
    assert!(said.contains("holds an access token") && !said.contains(WRITE), "{said}");
    assert!(bench.hub.store().repos.is_empty());
}
