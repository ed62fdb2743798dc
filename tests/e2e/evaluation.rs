//! What a run does at its evaluations: it asks the model, stops in time, keeps the best.

use std::{fs, path::Path, process::Stdio};

use crate::{
    fixture::{Run, TestRng, setaccio, training},
    train::{data, metrics},
};

/// `setaccio train` of the tiny recipe with short rows, at a constant rate and with these changes.
fn command(out: &Path, sets: &[&str]) -> std::process::Command {
    let always = ["data.max_length=128", "train.schedule=constant", "train.warmup_ratio=0", "eval.sample_tokens=12"];
    training("tiny", data(), out, &[&always, sets].concat())
}

fn train(out: &Path, sets: &[&str]) -> Run {
    command(out, sets).output().unwrap().into()
}

fn weights(run: &Path) -> Vec<u8> {
    fs::read(run.join("adapter/adapter_model.safetensors")).unwrap()
}

/// Step and loss of every evaluation after the first step.
fn evaluations(run: &Path) -> Vec<(u64, f64)> {
    let lines = metrics(run);
    lines.iter().filter_map(|line| Some((line["step"].as_u64()?, line.get("eval_loss")?.as_f64()?))).collect()
}

#[test]
fn the_model_is_asked_the_same_at_each_evaluation() {
    let dir = tempfile::tempdir().unwrap();
    let (out, named, none) = (dir.path().join("out"), dir.path().join("named"), dir.path().join("none"));
    let short = ["train.max_steps=4", "eval.every=2", "eval.at_start=true"];
    train(&out, &short).assert_success();
    let asked = |run: &Path| -> Vec<(u64, Vec<(String, String)>)> {
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let both = |sample: &serde_json::Value| (text(&sample["prompt"]), text(&sample["text"]));
        let lines = metrics(run).into_iter().filter(|line| line.contains_key("samples"));
        lines
            .map(|l| (l["step"].as_u64().unwrap(), l["samples"].as_array().unwrap().iter().map(both).collect()))
            .collect()
    };
    let found = asked(&out);
    assert_eq!(found.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [0, 2, 4]);
    let prompts = |i: usize| found[i].1.iter().map(|(prompt, _)| prompt.clone()).collect::<Vec<_>>();
    assert!(prompts(0).len() == 3 && prompts(0) == prompts(1) && prompts(1) == prompts(2), "{found:?}");
    let card = fs::read_to_string(out.join("README.md")).unwrap();
    assert!(card.contains("## Samples") && card.contains("After step 0:") && card.contains("After step 4:"), "{card}");
    let events = fs::read(out.join("events.out.tfevents.0.setaccio")).unwrap();
    let has = |tag: &str| events.windows(tag.len()).any(|window| window == tag.as_bytes());
    assert!(has("sample/3/text_summary") && !has("sample/4/text_summary"));

    // A prompt of the recipe is asked as `generate` asks it.
    let prompts = "eval.prompts=[\"Perché il cielo è blu?\"]";
    train(&named, &[&short[..], &[prompts]].concat()).assert_success();
    let (_, last) = asked(&named).pop().unwrap();
    let run = named.to_str().unwrap();
    let said =
        setaccio(&["generate", run, "--prompt", "Perché il cielo è blu?", "--max-tokens", "12"]).assert_success();
    assert_eq!(last, [("Perché il cielo è blu?".to_owned(), said.stdout.strip_suffix('\n').unwrap().to_owned())]);
    assert!(weights(&named) == weights(&out), "asking changes nothing");
    train(&none, &[&short[..], &["eval.samples=0"]].concat()).assert_success();
    assert!(asked(&none).is_empty() && weights(&none) == weights(&out));
    assert!(!fs::read_to_string(none.join("README.md")).unwrap().contains("## Samples"));
}

#[test]
fn a_run_stops_when_its_loss_does_not_fall_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    // At a rate of 0 every evaluation is the first one again.
    let still = [
        "train.max_steps=50",
        "train.learning_rate=0",
        "eval.every=2",
        "eval.patience=3",
        "checkpoint.every=0",
        "eval.samples=0",
    ];
    let said = train(&out, &still).assert_success().stdout;
    assert!(said.contains("trained: 8 steps") && said.contains("stopped before the 50 steps"), "{said}");
    assert_eq!(evaluations(&out).iter().map(|(step, _)| *step).collect::<Vec<_>>(), [2, 4, 6, 8]);
    assert!(out.join("checkpoints/step-000008").exists());
    let card = fs::read_to_string(out.join("README.md")).unwrap();
    assert!(
        card.contains("It stopped before the 50 steps that were planned: 3 evaluations did not lower the loss."),
        "{card}"
    );
    assert!(card.contains("| length | 8 steps,"), "{card}");
    let said = train(&out, &still).assert_success().stdout;
    assert!(said.contains("up to date"), "{said}");
    // With more patience it goes on.
    let mut command = command(&out, &still);
    command.args(["--resume", "--set", "eval.patience=5"]);
    let said = Run::from(command.output().unwrap()).assert_success().stdout;
    assert!(said.contains("trained: 12 steps, resumed from step 8"), "{said}");
    let said = train(&dir.path().join("no"), &["eval.every=0", "eval.patience=1"]).assert_failure();
    assert!(said.contains("set `eval.every`"), "{said}");
}

/// At so high a rate, with the embedding learned too, the loss on held-out rows soon rises. With a constant rate a run of fewer steps is the beginning of a
/// longer one, so it says what the best state was.
const RISING: [&str; 8] = [
    "train.max_steps=5",
    "train.learning_rate=0.03",
    "lora.modules_to_save=[\"embed_tokens\"]",
    "eval.every=1",
    "eval.samples=0",
    "checkpoint.every=0",
    "checkpoint.keep=1",
    "checkpoint.load_best_model_at_end=true",
];

#[test]
fn the_result_is_the_state_of_the_least_loss() {
    let dir = tempfile::tempdir().unwrap();
    let (out, short) = (dir.path().join("out"), dir.path().join("short"));
    let said = train(&out, &RISING).assert_success().stdout;
    let best = evaluations(&out).into_iter().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap().0;
    assert!((1..5).contains(&best), "the loss has to rise for this test: {:?}", evaluations(&out));
    assert!(said.contains(&format!("the result is that of step {best},")), "{said}");
    let card = fs::read_to_string(out.join("README.md")).unwrap();
    assert!(
        card.contains(&format!("The adapter is that of step {best}, which had the least evaluation loss.")),
        "{card}"
    );
    let steps = format!("train.max_steps={best}");
    train(&short, &[&RISING[1..7], &[&steps]].concat()).assert_success();
    assert!(weights(&out) == weights(&short), "the state after step {best}");
}

#[test]
fn killed_at_any_moment_it_stops_at_the_same_step_with_the_same_result() {
    let dir = tempfile::tempdir().unwrap();
    let sets = [&RISING[..], &["eval.patience=3", "checkpoint.every=2", "train.max_steps=40"]].concat();
    let whole = dir.path().join("whole");
    let began = std::time::Instant::now();
    train(&whole, &sets).assert_success();
    let took = began.elapsed();
    let steps = evaluations(&whole).last().unwrap().0;
    assert!(steps < 40, "it stops early: {:?}", evaluations(&whole));
    let mut rng = TestRng(23);
    for round in 0..2 {
        let out = dir.path().join(format!("out{round}"));
        let mut child = command(&out, &sets).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(took * (300 + rng.below_u32(600)) / 1000);
        child.kill().unwrap();
        child.wait().unwrap();
        let mut command = command(&out, &sets);
        Run::from(command.arg("--resume").output().unwrap()).assert_success();
        assert_eq!(metrics(&out), metrics(&whole), "round {round}");
        assert!(weights(&out) == weights(&whole), "round {round}");
    }
}
