//! `method = "full"`: every weight trained, as a user meets it, with the tiny model on the samples.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::OnceLock,
};

use crate::{
    fixture::{Run, Transcript, assert_measured_snapshot, built, setaccio, training, wait_for},
    train::metrics,
};

/// The Italian documents of the samples, built once for all tests.
fn documents() -> &'static Path {
    static DATA: OnceLock<tempfile::TempDir> = OnceLock::new();
    DATA.get_or_init(|| built("adapt-it")).path()
}

/// `setaccio train` of the recipe for every weight into `out`: eight steps, a checkpoint every two.
fn command(out: &Path, args: &[&str]) -> Command {
    let sets =
        ["data.max_length=128", "train.batch=2", "train.learning_rate=2e-3", "checkpoint.every=2", "train.log_every=1"];
    let mut command = training("adapt-full", documents(), out, &sets);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).args(["--max-steps", "8"]).args(args);
    command
}

fn train(out: &Path, args: &[&str]) -> Run {
    command(out, args).output().unwrap().into()
}

/// What a model writes on from a few words.
fn says(model: &Path) -> String {
    let model = model.to_str().unwrap();
    setaccio(&["generate", "--model", model, "--prompt", "La città", "--raw", "--max-tokens", "12"])
        .assert_success()
        .stdout
}

fn weights(run: &Path) -> Vec<u8> {
    fs::read(run.join("model/model.safetensors")).unwrap()
}

#[test]
fn every_weight_learns_and_the_model_stands_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (run, again) = (dir.path().join("run"), dir.path().join("again"));
    assert_measured_snapshot("full-plan", train(&run, &["--plan"]).assert_success().said());
    train(&run, &["--jobs", "1"]).assert_success();
    assert!(!run.join("adapter").exists());
    for name in ["config.json", "generation_config.json", "tokenizer.json", "model.safetensors"] {
        assert!(run.join("model").join(name).is_file(), "{name}");
    }
    let losses: Vec<f64> = metrics(&run).iter().filter_map(|line| line.get("loss")?.as_f64()).collect();
    assert!(losses.len() == 8 && losses[7] < losses[0] - 0.1, "{losses:?}");
    assert_ne!(says(&run.join("model")), says(&run.join("base")));
    let card = fs::read_to_string(run.join("README.md")).unwrap();
    assert_measured_snapshot("full-card", card);
    // The same bytes with more threads; nothing to do a second time.
    train(&again, &["--jobs", "2"]).assert_success();
    assert!(weights(&again) == weights(&run));
    assert!(train(&run, &[]).assert_success().stdout.contains("up to date"));
    // `merge` has nothing to merge, and writes another type.
    let (bf16, name) = (dir.path().join("bf16"), run.to_str().unwrap());
    let merge = ["merge", name, "--out", bf16.to_str().unwrap()];
    let mut transcript = Transcript::default();
    let in_bf16 = setaccio(&[&merge[..], &["--dtype", "bf16"]].concat()).assert_success();
    transcript.add("merge of a run that has no adapter", &in_bf16.said());
    let lengths = [run.join("model"), bf16.clone()].map(|m| fs::metadata(m.join("model.safetensors")).unwrap().len());
    assert!(lengths[1] * 2 < lengths[0] + 8192, "{lengths:?}");
    assert!(!says(&bf16).is_empty());
    let with_adapter = setaccio(&[&merge[..], &["--adapter", name]].concat()).assert_failure();
    transcript.add("merge of it with an adapter", &with_adapter);
    transcript.assert_snapshot("full-merge");
}

#[test]
fn killed_it_resumes_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let [whole, cut] = ["whole", "cut"].map(|name| dir.path().join(name));
    train(&whole, &[]).assert_success();
    let mut child = command(&cut, &[]).spawn().unwrap();
    wait_for(&mut child, || cut.join("checkpoints/step-000002").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    train(&cut, &["--resume"]).assert_success();
    assert!(weights(&cut) == weights(&whole));
    assert_eq!(metrics(&cut), metrics(&whole));
    // An adapter is another run, and takes the place of the model only when it is asked to.
    let said = train(&cut, &["--set", "method=lora"]).assert_failure();
    assert_measured_snapshot("full-an_adapter_in_its_place", said);
    train(&cut, &["--set", "method=lora", "--force"]).assert_success();
    assert!(cut.join("adapter").is_dir() && !cut.join("model").exists());
}

#[test]
fn what_does_not_go_with_it_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut transcript = Transcript::default();
    let cases: [&[&str]; 5] = [
        &["model.quantization=nf4"],
        &["lora.adapter=somewhere"],
        &["train.lora_plus_ratio=16.0"],
        &["method=ful"],
        &["method=lora", "lora.r=0"],
    ];
    for sets in cases {
        let args: Vec<&str> = sets.iter().flat_map(|set| ["--set", *set]).collect();
        transcript.add(sets.join(" "), &train(&dir.path().join("run"), &args).assert_failure());
    }
    transcript.assert_snapshot("full-mistakes");
}

/// With a copy of the weights as the reference, with one that was computed before the first step, and with a loss that needs none.
#[test]
fn preferences_train_every_weight_too() {
    let dir = tempfile::tempdir().unwrap();
    let pairs = built("dpo-mix");
    let ln_2 = Some(std::f64::consts::LN_2);
    for (loss, reference, first) in
        [("dpo", "live", ln_2), ("dpo", "precomputed", ln_2), ("kto", "live", Some(0.5)), ("orpo", "live", None)]
    {
        let out = dir.path().join(format!("{loss}-{reference}"));
        let [chosen, asked] = [format!("preference.loss={loss}"), format!("preference.reference={reference}")];
        let usual = ["method=full", "data.max_length=256", "train.learning_rate=1e-3", "train.log_every=1"];
        let sets = [&usual[..], &[&chosen, &asked]].concat();
        let run: Run = training("dpo", pairs.path(), &out, &sets).args(["--max-steps", "4"]).output().unwrap().into();
        run.assert_success();
        let column = |key: &str| metrics(&out).iter().filter_map(|l| l.get(key)?.as_f64()).collect::<Vec<f64>>();
        if let Some(first) = first {
            assert!((column("loss")[0] - first).abs() < 1e-6, "{:?}", column("loss"));
        }
        assert!(column("rewards/margins").iter().skip(1).any(|margin| margin.abs() > 1e-4), "{loss}");
        assert!(out.join("model/model.safetensors").is_file());
    }
}

#[test]
fn a_stage_of_a_chain_may_train_every_weight() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    let mut args = vec!["train-all", "tiny", "--out", out, "--set", "dpo.method=full"];
    let small: Vec<String> = ["sft", "dpo", "adapt"]
        .iter()
        .flat_map(|s| [format!("{s}.train.max_steps=2"), format!("{s}.data.max_length=128")])
        .collect();
    args.extend(small.iter().flat_map(|set| ["--set", set.as_str()]));
    let said = setaccio(&args).assert_success().stdout;
    assert!(said.contains("trained whole: written in"), "{said}");
    let stands = setaccio(&["status", out]).assert_success().stdout;
    assert!(stands.starts_with("train  done"), "{stands}");
    let card = fs::read_to_string(dir.path().join("merged/README.md")).unwrap();
    assert!(card.contains("| every weight |") && dir.path().join("export/tiny-Q8_0.gguf").is_file(), "{card}");
    let said = setaccio(&args).assert_success().stdout;
    assert!(!said.contains("trained:") && !said.contains("trained whole"), "{said}");
}
