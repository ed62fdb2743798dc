//! What differs between two runs and between two chains; `tests/python/check_compare_runs.py` finds the same in their files.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use serde_json::{Value, json};

use crate::{
    fixture::{assert_measured_snapshot, setaccio, training},
    train::data,
};

const TASK: [&str; 8] = ["--task", "pipelines/eval/arc_it.toml", "--limit", "12", "--device", "cpu", "--jobs", "2"];

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn json_of(args: &[&str]) -> Value {
    serde_json::from_str(&setaccio(&[args, &["--json"]].concat()).assert_success().stdout).unwrap()
}

/// Numbers differ from processor to processor, their signs and how long they are among it, and so do fingerprints and what a model writes.
fn assert_compared(name: &str, said: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r" +[+-]?\d+\.\d+(e-?\d+)?", " [N]");
    settings.add_filter(r"\b[0-9a-f]{64}\b", "[HASH]");
    settings.add_filter(r"(?m)^( +after step \d+ +\| after step \d+\n)( {4}.*\n?)+", "${1}    [TEXTS]\n");
    settings.bind(|| assert_measured_snapshot(name, said));
}

/// Two runs that train every weight, with another rate and another length, both evaluated by a task.
fn runs() -> &'static [PathBuf; 2] {
    static DIR: OnceLock<tempfile::TempDir> = OnceLock::new();
    static RUNS: OnceLock<[PathBuf; 2]> = OnceLock::new();
    RUNS.get_or_init(|| {
        let dir = DIR.get_or_init(|| tempfile::tempdir().unwrap());
        let sets = ["method=full", "eval.every=2", "eval.prompts=[\"Come stai?\"]", "eval.sample_tokens=8"];
        [("first", "0.002", "4"), ("second", "0.001", "6")].map(|(name, rate, steps)| {
            let run = dir.path().join(name);
            let own =
                [format!("train.learning_rate={rate}"), format!("train.max_steps={steps}"), format!("name=\"{name}\"")];
            let sets: Vec<&str> = sets.iter().copied().chain(own.iter().map(String::as_str)).collect();
            let done = training("tiny", data(), &run, &sets).output().unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            setaccio(&[&["eval", text(&run)], &TASK[..]].concat()).assert_success();
            run
        })
    })
}

#[test]
fn runs_differ_in_what_they_were_told_and_in_what_came_of_it() {
    let [a, b] = runs().each_ref().map(|run| text(run));
    let said = json_of(&["compare", a, b]);
    assert_eq!(said["compared"], "runs");
    assert_eq!(
        said["recipe"],
        json!([
            ["name", ["first", "second"]],
            ["train.learning_rate", ["0.002", "0.001"]],
            ["train.max_steps", ["4", "6"]],
        ])
    );
    assert_eq!((&said["data"], &said["model"]), (&json!([]), &json!([])));
    let steps: Vec<u64> = said["steps"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|at| at["name"] == "eval_loss")
        .map(|at| at["step"].as_u64().unwrap())
        .collect();
    assert_eq!(steps, [2, 4]);
    let sample = &said["samples"][0];
    assert_eq!(
        (&sample["prompt"], &sample["texts"][0][0], &sample["texts"][1][0]),
        (&json!("Come stai?"), &json!(4), &json!(6))
    );
    assert_compared("compare-runs", &setaccio(&["compare", a, b]).assert_success().said());
    assert_compared("compare-runs-same", &setaccio(&["compare", a, a]).assert_success().said());
}

#[test]
fn evaluations_that_were_made_apart_are_paired_as_those_that_are_made_together() {
    let [a, b] = runs();
    let dir = tempfile::tempdir().unwrap();
    // Beside each other they need names of their own.
    let models = [("one", a), ("two", b)].map(|(name, run)| {
        let to = dir.path().join(name);
        fs::create_dir(&to).unwrap();
        for file in fs::read_dir(run.join("model")).unwrap().map(Result::unwrap) {
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
        to
    });
    let out = dir.path().join("together");
    let together = json_of(&[&["eval", text(&models[0]), text(&models[1]), "--out", text(&out)], &TASK[..]].concat());
    let together = together["tasks"][0]["differences"].as_array().unwrap();
    let apart = json_of(&["compare", text(a), text(b)]);
    let apart = apart["evaluations"]["numbers"].as_array().unwrap();
    assert!(!apart.is_empty());
    assert_eq!(apart.len(), together.len());
    for (one, other) in apart.iter().zip(together) {
        assert_eq!((&one["metric"], &one["difference"]), (&other["metric"], &other["value"]));
        assert_eq!((&one["interval"], &one["p"]), (&other["interval"], &other["p"]));
    }
}

/// Copy a folder with all that is in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn a_finished_run_that_was_changed_is_neither_compared_nor_shown() {
    let [a, _] = runs();
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    copy(a, &run);
    let (compare, report) = (["compare", text(&run), text(a)], ["report", text(&run)]);
    let commands: [&[&str]; 2] = [&compare, &report];
    // A card is a person's to edit.
    fs::write(run.join("README.md"), "# Mine\n").unwrap();
    for command in commands {
        setaccio(command).assert_success();
    }
    fs::remove_file(run.join("report.html")).unwrap();
    let refused = |name: &str, commands: &[&[&str]]| {
        for command in commands {
            let said = setaccio(command).assert_failure();
            let expected = format!("{name}: was changed after it was written; `setaccio verify` lists");
            assert!(said.contains(&expected), "{command:?}: {said}");
        }
    };
    let task = fs::read_dir(run.join("eval")).unwrap().map(|entry| entry.unwrap().path());
    let task = task.map(|path| path.join("results.json")).find(|path| path.is_file()).unwrap();
    let results = task.strip_prefix(&run).unwrap().to_str().unwrap();
    let of_files: [(&str, &[&[&str]]); 3] =
        [("metrics.jsonl", &commands), ("run.lock.toml", &commands), (results, &[&compare])];
    for (name, commands) in of_files {
        let path = run.join(name);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, [&whole[..], b"\n"].concat()).unwrap();
        refused(name, commands);
        fs::write(&path, whole).unwrap();
    }
    // Emptied and removed metrics are no run of no steps.
    let metrics = run.join("metrics.jsonl");
    fs::write(&metrics, "").unwrap();
    refused("metrics.jsonl", &commands);
    fs::remove_file(&metrics).unwrap();
    refused("metrics.jsonl", &commands);
    assert!(!run.join("report.html").exists());
    // A run that goes on has no manifest, and is read as far as it is.
    fs::remove_file(run.join("manifest.json")).unwrap();
    setaccio(&compare).assert_success();
}

#[test]
fn chains_are_compared_stage_by_stage() {
    let [a, b] = runs();
    let dir = tempfile::tempdir().unwrap();
    // Chains as far as a comparison reads them.
    let chain = |name: &str, stages: &[(&str, &PathBuf)]| {
        let chain = dir.path().join(name);
        for (stage, run) in stages {
            let to = chain.join(stage);
            fs::create_dir_all(&to).unwrap();
            for file in ["run.lock.toml", "metrics.jsonl"] {
                fs::copy(run.join(file), to.join(file)).unwrap();
            }
        }
        let names: Vec<&str> = stages.iter().map(|(stage, _)| *stage).collect();
        fs::write(chain.join("chain.lock.toml"), format!("stages = {names:?}\n")).unwrap();
        chain
    };
    let (one, other) = (chain("one", &[("sft", a), ("dpo", b)]), chain("other", &[("adapt", a), ("sft", b)]));
    let said = json_of(&["compare", text(&one), text(&other)]);
    assert_eq!((&said["compared"], &said["alone"]), (&json!("chains"), &json!([["dpo"], ["adapt"]])));
    let stages = said["stages"].as_array().unwrap();
    assert_eq!((stages.len(), &stages[0]["stage"]), (1, &json!("sft")));
    assert_eq!(stages[0]["recipe"], json_of(&["compare", text(a), text(b)])["recipe"]);
    assert_compared("compare-chains", &setaccio(&["compare", text(&one), text(&other)]).assert_success().said());
    // What is not of one kind has nothing in common.
    let said = setaccio(&["compare", text(&one), text(a)]).assert_failure();
    assert!(said.contains("holds a chain") && said.contains("a run"), "{said}");
    let said = setaccio(&["compare", text(a), text(b), "--rows", "rows.parquet"]).assert_failure();
    assert!(said.contains("--rows writes rows of builds"), "{said}");
}
