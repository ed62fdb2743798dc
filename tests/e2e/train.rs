//! `setaccio train` and `setaccio generate`, as a user meets them: the tiny recipe on the samples.

#![allow(clippy::needless_for_each, reason = "one line each")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::Instant,
};

use crate::fixture::{
    Run, TestRng, Transcript, assert_measured_snapshot, assert_snapshot, built, setaccio, signal, training, wait_for,
};

/// The SFT mix of the samples, built once for all tests.
pub fn data() -> &'static Path {
    static DATA: OnceLock<tempfile::TempDir> = OnceLock::new();
    DATA.get_or_init(|| built("sft-mix")).path()
}

/// `setaccio train` of the tiny recipe into `out`, with 12 steps, a checkpoint every 3 and an evaluation every 6.
fn command(out: &Path, args: &[&str]) -> Command {
    let sets = ["train.max_steps=12", "data.max_length=128", "checkpoint.every=3", "eval.every=6", "lora.dropout=0.1"];
    let mut command = training("tiny", data(), out, &sets);
    command.args(args);
    command
}

fn train(out: &Path, args: &[&str]) -> Run {
    command(out, args).output().unwrap().into()
}

/// Each line of metrics.jsonl without what the clock and the machine say.
pub fn metrics(run: &Path) -> Vec<BTreeMap<String, serde_json::Value>> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let parse = |line: &str| -> BTreeMap<String, serde_json::Value> { serde_json::from_str(line).unwrap() };
    let mut lines: Vec<_> = text.lines().map(parse).collect();
    lines.iter_mut().for_each(|l| {
        l.retain(|name, _| !["tokens_per_second", "peak_memory_gib", "predicted_memory_gib"].contains(&name.as_str()));
    });
    lines
}

fn losses(run: &Path) -> Vec<f64> {
    metrics(run).iter().filter_map(|l| l.get("loss")?.as_f64()).collect()
}

/// Every file that must be the same for the same recipe, rows and seed.
fn repeatable(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for folder in ["adapter", "base", "."] {
        for entry in fs::read_dir(run.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(run).unwrap().to_str().unwrap().to_owned();
            // The manifest has the hashes of these.
            let timed = ["tfevents", "metrics.jsonl", "manifest.json"].iter().any(|part| name.contains(part));
            if path.is_file() && !timed {
                files.insert(name, fs::read(path).unwrap());
            }
        }
    }
    files
}

#[test]
fn a_run_leaves_all_that_it_should_and_repeats_to_the_byte() {
    let dir = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "two"].map(|name| dir.path().join(name));
    let said = train(&one, &["--jobs", "2"]).assert_success().stdout;
    assert_measured_snapshot("train-run", said);
    let names = [
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
        "adapter/tokenizer.json",
        "adapter/tokenizer_config.json",
        "checkpoints/step-000012/manifest.toml",
        "metrics.jsonl",
        "events.out.tfevents.0.setaccio",
        "loss.svg",
        "run.lock.toml",
        "README.md",
        "manifest.json",
    ];
    names.iter().for_each(|name| assert!(one.join(name).is_file(), "{name} is missing"));
    let losses = losses(&one);
    assert_eq!(losses.len(), 12);
    assert!(losses[11] < losses[0] - 0.1, "it learns: {losses:?}");
    let card = fs::read_to_string(one.join("README.md")).unwrap();
    assert_measured_snapshot("train-card", card);
    // The adapter is asked with the template that it was trained with.
    let config = fs::read_to_string(one.join("adapter/tokenizer_config.json")).unwrap();
    assert!(config.contains("### Instruction:"), "{config}");

    let mut transcript = Transcript::default();
    transcript.add("the same again", &train(&one, &[]).assert_success().said());
    let changed = train(&one, &["--set", "train.learning_rate=1e-4"]).assert_failure();
    transcript.add("another learning rate", &changed);
    transcript.assert_measured_snapshot("train-again");

    // Another number of threads, another folder: the same bytes but for the folder's name.
    train(&two, &["--jobs", "1"]).assert_success();
    let text = |files: BTreeMap<String, Vec<u8>>, run: &Path| -> BTreeMap<String, String> {
        let plain = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).replace(run.to_str().unwrap(), "RUN");
        files.into_iter().map(|(name, bytes)| (name, plain(bytes))).collect()
    };
    let (first, second) = (text(repeatable(&one), &one), text(repeatable(&two), &two));
    assert!(first.keys().eq(second.keys()));
    for (name, bytes) in &first {
        // The lock and the card have hashes of adapter_config.json, which names the base's folder.
        let hashes = ["run.lock.toml", "README.md"].contains(&name.as_str());
        assert!(hashes || *bytes == second[name], "{name} differs");
    }
    assert_eq!(metrics(&one), metrics(&two));
}

#[test]
fn products_of_bf16_are_named_where_a_run_says_what_it_computed_in() {
    let dir = tempfile::tempdir().unwrap();
    let [exact, rounded] = ["f32", "bf16"].map(|dtype| {
        let run = dir.path().join(dtype);
        let set = format!("train.dtype={dtype}");
        train(&run, &["--set", "train.max_steps=3", "--set", "data.max_length=256", "--set", &set]).assert_success();
        let text = |name: &str| fs::read_to_string(run.join(name)).unwrap();
        let named = if dtype == "f32" { "f32 on cpu" } else { "f32, products of bf16, on cpu" };
        assert!(text("run.lock.toml").contains(&format!("compute = \"{named}\"")), "{}", text("run.lock.toml"));
        assert!(text("README.md").contains(named));
        losses(&run)
    });
    let off: Vec<f64> = exact.iter().zip(&rounded).map(|(one, other)| (one - other).abs()).collect();
    assert!(off.iter().all(|off| *off > 0.0 && *off < 1e-2), "{exact:?} {rounded:?}");
    // It is no run to go on with in another type.
    let run = dir.path().join("f32");
    let resume = |dtype: &str, steps: &str| {
        let set = format!("train.dtype={dtype}");
        train(&run, &["--resume", "--max-steps", steps, "--set", "data.max_length=256", "--set", &set])
    };
    let said = resume("bf16", "3").assert_failure();
    assert!(said.contains("compute: f32 on cpu -> f32, products of bf16, on cpu"), "{said}");
    let said = resume("1", "3").assert_failure();
    assert!(said.contains("unknown variant `1`, expected one of `auto`, `f32`, `bf16` in `train.dtype`"), "{said}");
    // The same type by another name is; and what computed the first steps stays known.
    assert!(resume("auto", "3").assert_success().stdout.contains("up to date: "));
    let lock = run.join("run.lock.toml");
    let read = || fs::read_to_string(&lock).unwrap();
    let by = read().lines().find(|line| line.starts_with("instructions = ")).unwrap().to_owned();
    fs::write(&lock, read().replace(&by, "instructions = [\"products of f32 by hand\"]")).unwrap();
    let said = resume("auto", "4").assert_success();
    assert!(said.stderr.contains("up to step 3 this run had products of f32 by hand"), "{}", said.stderr);
    let both = by.replace('[', "[\"products of f32 by hand\", ");
    assert!(read().contains(&both), "{}", read());
    assert!(
        fs::read_to_string(run.join("README.md"))
            .unwrap()
            .contains("products of f32 by hand; then products of f32 by ")
    );
}

#[test]
fn verify_sees_what_was_changed_in_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    train(&run, &["--set", "train.max_steps=2"]).assert_success();
    let verify = || crate::fixture::setaccio(&["verify", run.to_str().unwrap()]);
    let said = verify().assert_success().stdout;
    assert!(said.contains("whole: ") && !said.contains("did not write"), "{said}");
    for name in [
        "metrics.jsonl",
        "README.md",
        "loss.svg",
        "run.lock.toml",
        "manifest.json",
        "events.out.tfevents.0.setaccio",
        "adapter/adapter_model.safetensors",
        "adapter/tokenizer.json",
        "base/model.safetensors",
    ] {
        let path = run.join(name);
        let whole = fs::read(&path).unwrap();
        for at in [0, whole.len() / 2, whole.len() - 1] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&path, changed).unwrap();
            verify().assert_failure();
        }
        fs::write(&path, whole).unwrap();
    }
    fs::write(run.join("adapter/more.bin"), "x").unwrap();
    let said = verify().assert_failure();
    assert!(said.contains("wrong: adapter/more.bin: the run wrote no such file"), "{said}");
    fs::remove_file(run.join("adapter/more.bin")).unwrap();
    fs::write(run.join("notes.txt"), "x").unwrap();
    let said = verify().assert_success().stdout;
    assert!(said.contains("1 name in the folder that it did not write: notes.txt"), "{said}");
    fs::remove_file(run.join("manifest.json")).unwrap();
    let said = verify().assert_failure();
    assert!(said.contains("manifest.json: it is not there"), "{said}");
}

/// A linear schedule with a warmup of a tenth, at 5e-3: that of a run of so many steps, at a step counted from 0.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "few steps")]
fn linear(step: u64, steps: u64) -> f64 {
    let warmup = (steps as f64 * 0.1).ceil();
    let (step, steps) = (step as f64, steps as f64);
    5e-3 * if step < warmup { step / warmup } else { (steps - step) / (steps - warmup) }
}

#[test]
fn a_finished_run_goes_on_to_more_steps_on_the_schedule_of_their_number() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    train(&out, &[]).assert_success();
    let of_twelve = metrics(&out);
    let more = ["--resume", "--max-steps", "20"];
    let said = train(&out, &more).assert_success();
    assert!(said.stderr.contains("the learning rate is that of a run of 20 steps"), "{}", said.stderr);
    assert!(said.stdout.contains("20 steps, resumed from step 12"), "{}", said.stdout);
    let whole = metrics(&out);
    assert_eq!(whole[..of_twelve.len()], of_twelve[..]);
    let rates = whole.iter().filter_map(|line| Some((line["step"].as_u64()?, line.get("learning_rate")?.as_f64()?)));
    let rates: Vec<(u64, f64)> = rates.collect();
    assert_eq!(rates.len(), 20);
    for (step, rate) in rates {
        let expected = linear(step - 1, if step <= 12 { 12 } else { 20 });
        assert!((rate - expected).abs() < 1e-12, "step {step}: {rate} instead of {expected}");
    }
    let card = fs::read_to_string(out.join("README.md")).unwrap();
    assert!(card.contains("; until step 12 that of a run of 12 steps |"), "{card}");
    assert!(card.contains("- before it with `--max-steps 12`\n- then as above, with `--resume`\n"), "{card}");
    let run = setaccio(&["generate", out.to_str().unwrap(), "--prompt", "Perché?", "--max-tokens", "4"]);
    run.assert_success();

    // The same again is done; from the first step on it would be another run.
    let said = train(&out, &more).assert_success().stdout;
    assert!(said.contains("up to date"), "{said}");
    let said = train(&out, &["--max-steps", "20"]).assert_failure();
    assert!(said.contains("holds a run already"), "{said}");
    let said = train(&out, &["--resume", "--max-steps", "9"]).assert_failure();
    assert!(said.contains("is beyond the 9 steps that are asked for"), "{said}");

    // Killed in the middle of what was added, it comes to the same bytes.
    let torn = dir.path().join("torn");
    train(&torn, &[]).assert_success();
    let mut child = quiet(&torn, &more);
    wait_for(&mut child, || torn.join("checkpoints/step-000015/manifest.toml").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    train(&torn, &more).assert_success();
    assert_eq!(metrics(&torn), whole);
    let weights = |run: &Path| fs::read(run.join("adapter/adapter_model.safetensors")).unwrap();
    assert!(weights(&torn) == weights(&out));
    // What is left of a run that was gone on with gives way to a new one.
    train(&torn, &["--force", "--max-steps", "3"]).assert_success();
}

#[test]
fn a_run_that_was_stopped_goes_on_to_other_epochs() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let mut child = quiet(&out, &["--epochs", "50"]);
    wait_for(&mut child, || out.join("checkpoints/step-000003/manifest.toml").exists());
    signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(143));
    let stopped = metrics(&out).last().unwrap()["step"].as_u64().unwrap();
    train(&out, &["--resume", "--epochs", "2"]).assert_success();
    let lines = metrics(&out);
    let steps = lines.last().unwrap()["step"].as_u64().unwrap();
    assert!(steps > stopped, "{stopped} of {steps}");
    let rate = |step: u64| lines.iter().find(|l| l["step"] == step && l.contains_key("learning_rate")).unwrap();
    let next = rate(stopped + 1)["learning_rate"].as_f64().unwrap();
    assert!((next - linear(stopped, steps)).abs() < 1e-12, "{next}");
    let card = fs::read_to_string(out.join("README.md")).unwrap();
    assert!(card.contains(&format!(", stopped after step {stopped}\n")), "{card}");
}

fn quiet(out: &Path, args: &[&str]) -> Child {
    command(out, args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn killed_at_any_moment_it_resumes_to_the_same_losses() {
    killed_at_any_moment(2);
}

#[test]
#[ignore = "soak"]
fn soak_killed_at_any_moment_it_resumes_to_the_same_losses() {
    killed_at_any_moment(50);
}

fn killed_at_any_moment(rounds: usize) {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    let began = Instant::now();
    train(&whole, &[]).assert_success();
    let took = began.elapsed();
    let want = (metrics(&whole), fs::read(whole.join("adapter/adapter_model.safetensors")).unwrap());
    let mut rng = TestRng(7);
    for round in 0..rounds {
        let out = dir.path().join(format!("out{round}"));
        let mut child = quiet(&out, &[]);
        if round % 2 == 0 {
            // In the middle of a checkpoint: as soon as one is being written.
            wait_for(&mut child, || {
                let entries = fs::read_dir(out.join("checkpoints")).into_iter().flatten().flatten();
                entries.filter(|e| e.file_name().to_string_lossy().starts_with(".writing-")).count() > 0
            });
        } else {
            std::thread::sleep(took * rng.below_u32(1000) / 1000);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        train(&out, &["--resume"]).assert_success();
        assert_eq!(metrics(&out), want.0, "round {round}");
        assert!(fs::read(out.join("adapter/adapter_model.safetensors")).unwrap() == want.1, "round {round}");
    }
}

#[test]
fn a_torn_checkpoint_is_named_and_the_one_before_it_used() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, torn) = (dir.path().join("whole"), dir.path().join("torn"));
    train(&whole, &[]).assert_success();
    let mut child = quiet(&torn, &[]);
    wait_for(&mut child, || torn.join("checkpoints/step-000006/manifest.toml").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    let mut steps: Vec<PathBuf> = fs::read_dir(torn.join("checkpoints")).unwrap().map(|e| e.unwrap().path()).collect();
    steps.retain(|p| p.file_name().unwrap().to_str().unwrap().starts_with("step-"));
    steps.sort();
    let newest = steps.last().unwrap();
    let file = newest.join("tensors.safetensors");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 100]).unwrap();
    let run = train(&torn, &["--resume"]).assert_success();
    assert!(run.stderr.contains(newest.to_str().unwrap()) && run.stderr.contains("is torn"), "{}", run.stderr);
    assert_eq!(metrics(&torn), metrics(&whole));
}

#[test]
fn an_interruption_keeps_the_last_step_and_a_changed_recipe_is_not_mixed_in() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let many = ["--set", "train.max_steps=5000", "--set", "checkpoint.every=0"];
    let mut child = quiet(&out, &many);
    wait_for(&mut child, || fs::read_to_string(out.join("metrics.jsonl")).is_ok_and(|t| t.lines().count() > 2));
    signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(143));
    let kept = fs::read_dir(out.join("checkpoints")).unwrap().flatten();
    assert_eq!(kept.filter(|e| e.file_name().to_string_lossy().starts_with("step-")).count(), 1);
    assert!(!out.join("adapter").exists());
    let changed = ["--resume", "--set", "train.learning_rate=1e-4", "--set", "train.max_steps=5000"];
    assert_measured_snapshot("train-resume_of_another_recipe", train(&out, &changed).assert_failure());
}

#[test]
fn a_loss_that_is_no_number_is_never_a_success() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let wild = ["train.learning_rate=1e9", "train.max_grad_norm=0", "train.warmup_ratio=0", "train.schedule=constant"];
    let sets: Vec<&str> = wild.iter().flat_map(|set| ["--set", *set]).collect();
    // A rate beyond what recipes allow is refused at once.
    let mut transcript = Transcript::default();
    transcript.add("a rate beyond all bounds", &train(&out, &sets).assert_failure());
    let sets: Vec<String> = sets.iter().map(|s| s.replace("1e9", "10")).collect();
    let mut sets: Vec<&str> = sets.iter().map(String::as_str).collect();
    sets.extend(["--set", "lora.alpha=1e30"]);
    transcript.add("an adapter that explodes", &train(&out, &sets).assert_failure());
    transcript.assert_measured_snapshot("train-a_loss_that_is_no_number");
    assert!(!out.join("adapter").exists());
}

#[test]
fn mistakes_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let mut transcript = Transcript::default();
    let cases: [&[&str]; 13] = [
        &["--set", "train.batch=-1"],
        &["--set", "train.batch=9223372036854775807"],
        &["--set", "lora.alpha=-1"],
        &["--set", "name=.."],
        &["--set", "lora.droput=0.1"],
        &["--set", "lora.targets=[\"q_prj\"]"],
        &["--set", "train.optimizer=adam"],
        &["--set", "data.train=[\"data/out/nothing-here\"]"],
        &["--model", "/nowhere"],
        &["--set", "data.template=none.jinja"],
        &["--set", "data.max_length=4096"],
        &["--set", "train.warmup_steps=3"],
        &["--set", "lora.init=pissa", "--set", "lora.r=100"],
    ];
    for args in cases {
        transcript.add(args.join(" "), &train(&out, args).assert_failure());
        assert!(!out.join("adapter").exists());
    }
    transcript.assert_measured_snapshot("train-mistakes");
}

#[test]
fn plan_and_show_batch_read_no_weights() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    assert_measured_snapshot("train-plan", train(&out, &["--plan"]).assert_success().said());
    let tight = ["--plan", "--set", "train.memory_gib=0.001", "--max-steps", "1"];
    assert_measured_snapshot("train-plan_of_too_little_memory", train(&out, &tight).assert_failure());
    assert_snapshot("train-show_batch", train(&out, &["--show-batch", "2"]).assert_success().said());
    let said = train(&out, &["--show-batch", "1", "--json"]).assert_success().stdout;
    let line: serde_json::Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert_eq!(line["ids"].as_array().unwrap().len(), line["trained"].as_array().unwrap().len());
    // However many are asked for, there are no more than the run has.
    let said =
        train(&out, &["--max-steps", "5", "--show-batch", "18446744073709551615", "--json"]).assert_success().stdout;
    let last: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(last["step"], 5);
    assert!(!out.join("run.lock.toml").exists() && !out.join("checkpoints").exists());
}

#[test]
fn what_was_learned_can_be_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    train(&out, &[]).assert_success();
    let path = |name: &str| out.join(name).to_str().unwrap().to_owned();
    let (base, adapter) = (path("base"), path("adapter"));
    let ask = |args: &[&str]| {
        let mut all = vec!["generate", "--model", &base, "--prompt", "Perché?", "--max-tokens", "12"];
        all.extend(args);
        setaccio(&all)
    };
    let plain = ask(&[]).assert_success().stdout;
    let tuned = ask(&["--adapter", &adapter]).assert_success().stdout;
    assert_ne!(plain, tuned, "the adapter changes what is written");
    assert_eq!(tuned, ask(&["--adapter", &adapter, "--jobs", "1"]).assert_success().stdout);
    let run =
        setaccio(&["generate", out.to_str().unwrap(), "--prompt", "Perché?", "--max-tokens", "12"]).assert_success();
    assert_eq!(run.stdout, tuned, "a run says which base and adapter");
    let sampled = |seed| ask(&["--adapter", &adapter, "--temperature", "1.5", "--seed", seed]).assert_success().stdout;
    assert_eq!(sampled("1"), sampled("1"));
    assert_ne!(sampled("1"), sampled("2"));
    // 1024 positions: no text goes beyond them.
    let base = ["generate", "--model", &base, "--raw", "--prompt"];
    let mut transcript = Transcript::default();
    let long = setaccio(&[&base[..], &["Uno", "--max-tokens", "5000"]].concat()).assert_success();
    transcript.add("an answer that does not end", &long.stderr);
    let question = setaccio(&[&base[..], &["1 2 3 ".repeat(999).as_str()]].concat()).assert_failure();
    transcript.add("a question that is too long", &question);
    transcript.add("no such adapter", &ask(&["--adapter", "/nowhere"]).assert_failure());
    transcript.assert_measured_snapshot("generate-mistakes");
}
