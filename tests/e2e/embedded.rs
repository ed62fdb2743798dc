//! The program alone, in an empty folder: the recipes that it carries, and what recipes name.

use std::{fs, path::Path, process::Command};

use crate::fixture::{ROOT, Run, Transcript, published, setaccio};

/// Run the program in a folder.
pub fn run_in(folder: &Path, args: &[&str]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_setaccio"));
    command.args(args).current_dir(folder).env("SETACCIO_LISTS", folder.join("no-lists")).output().unwrap().into()
}

/// Shards and rejects, which no path and no command has a part in.
fn rows(out: &Path) -> Vec<(String, Vec<u8>)> {
    published(out).into_iter().filter(|(name, _)| name.ends_with(".parquet")).collect()
}

/// The recipes of a folder of the repository, and their files.
fn recipes(home: &str) -> Vec<(String, String)> {
    let files = fs::read_dir(format!("{ROOT}/{home}")).unwrap().flatten().map(|entry| entry.path());
    let mut recipes: Vec<(String, String)> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap()))
        .collect();
    recipes.sort();
    recipes
}

#[test]
fn a_recipe_by_name_builds_in_an_empty_folder() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (name, _) in recipes("pipelines") {
        run_in(here.path(), &["build", &name]).assert_success();
        let built = here.path().join("data/out").join(&name);
        let repository = there.path().join(&name);
        setaccio(&["build", &format!("pipelines/{name}.toml"), "--out", repository.to_str().unwrap()]).assert_success();
        assert_eq!(rows(&built), rows(&repository), "{name}");
        run_in(here.path(), &["verify", built.to_str().unwrap()]).assert_success();
        let card = fs::read_to_string(built.join("README.md")).unwrap();
        assert!(card.contains(&format!("\nsetaccio build {name}\n")), "the command that builds it again: {card}");
    }
}

#[test]
fn a_copy_finds_what_it_named_and_a_file_beside_it_comes_first() {
    let dir = tempfile::tempdir().unwrap();
    let copy = run_in(dir.path(), &["recipes", "build", "sft-mix"]).assert_success().stdout;
    assert_eq!(copy, fs::read_to_string(format!("{ROOT}/pipelines/sft-mix.toml")).unwrap());
    fs::write(dir.path().join("mine.toml"), copy).unwrap();
    run_in(dir.path(), &["build", "mine.toml", "--out", "copy"]).assert_success();
    run_in(dir.path(), &["build", "sft-mix", "--out", "carried"]).assert_success();
    assert_eq!(rows(&dir.path().join("copy")), rows(&dir.path().join("carried")));
    fs::create_dir(dir.path().join("templates")).unwrap();
    fs::write(dir.path().join("templates/alpaca-llama3.jinja"), "{{ messages | length }} turns").unwrap();
    run_in(dir.path(), &["build", "mine.toml", "--out", "own"]).assert_success();
    assert_ne!(rows(&dir.path().join("own")), rows(&dir.path().join("carried")));
}

#[test]
fn a_name_that_is_none_gets_the_nearest_and_the_list() {
    let dir = tempfile::tempdir().unwrap();
    let mut transcript = Transcript::default();
    let cases: [&[&str]; 3] = [&["build", "sft-mxi"], &["plan", "pipelines/dolly.toml"], &["recipes", "build", "doly"]];
    for args in cases {
        transcript.add(args.join(" "), &run_in(dir.path(), args).assert_failure());
    }
    transcript.assert_snapshot("embedded-names_that_are_none");
}

#[test]
fn every_recipe_is_listed_and_printed_as_it_is() {
    let all = setaccio(&["recipes"]).assert_success().stdout;
    for (command, home) in [("build", ""), ("train", "/train"), ("train-all", "/train/all")] {
        for (name, text) in recipes(&format!("pipelines{home}")) {
            assert!(all.lines().any(|line| line.split_whitespace().next() == Some(&name)), "{name}: {all}");
            assert_eq!(setaccio(&["recipes", command, &name]).assert_success().stdout, text);
        }
    }
}

#[test]
fn shells_and_man_learn_the_commands() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        assert!(setaccio(&["completions", shell]).assert_success().stdout.contains("preview"), "{shell}");
    }
    run_in(dir.path(), &["man", "--out", "man"]).assert_success();
    let page = fs::read_to_string(dir.path().join("man/setaccio-build.1")).unwrap();
    assert!(page.contains("on\\-bad\\-row"), "{page}");
    assert!(setaccio(&["man"]).assert_success().stdout.contains("130"), "exit codes");
}

#[cfg(feature = "train")]
#[test]
fn training_by_name_works_in_an_empty_folder() {
    let dir = tempfile::tempdir().unwrap();
    run_in(dir.path(), &["build", "sft-mix"]).assert_success();
    run_in(dir.path(), &["train", "tiny", "--max-steps", "2"]).assert_success();
    let lock = fs::read_to_string(dir.path().join("runs/tiny/run.lock.toml")).unwrap();
    assert!(lock.contains("\ncommand = \"setaccio train tiny --set train.max_steps=2\"\n"), "{lock}");
    // A copy of a recipe that is laid over another one, which it did not bring along.
    let copy = run_in(dir.path(), &["recipes", "train", "tiny"]).assert_success().stdout;
    fs::write(dir.path().join("mine.toml"), copy).unwrap();
    run_in(dir.path(), &["train", "mine.toml", "--max-steps", "2", "--out", "runs/copy"]).assert_success();
    let adapter = |run: &str| fs::read(dir.path().join(run).join("adapter/adapter_model.safetensors")).unwrap();
    assert_eq!(adapter("runs/tiny"), adapter("runs/copy"));
    let said = run_in(dir.path(), &["train", "tyny"]).assert_failure();
    assert!(said.contains("did you mean `tiny`?"), "{said}");
}

#[cfg(feature = "train")]
#[test]
fn a_chain_by_name_works_in_an_empty_folder() {
    let dir = tempfile::tempdir().unwrap();
    let mut args = vec!["train-all", "tiny"];
    for set in ["sft.train.max_steps=1", "dpo.train.max_steps=1", "adapt.train.max_steps=1"] {
        args.extend(["--set", set]);
    }
    run_in(dir.path(), &args).assert_success();
    assert!(dir.path().join("runs/tiny/merged/model.safetensors").is_file());
}
