//! Preference training and chains, as a user meets them: the tiny model on the samples.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::OnceLock,
};

use crate::{
    fixture::{ROOT, Run, Transcript, assert_measured_snapshot, built, setaccio, training},
    train,
};

/// The preference mix of the samples, built once for all tests.
fn pairs() -> &'static Path {
    static DATA: OnceLock<tempfile::TempDir> = OnceLock::new();
    DATA.get_or_init(|| built("dpo-mix")).path()
}

/// `setaccio train` of the preference recipe into `out`: six steps.
fn learn(out: &Path, sets: &[&str]) -> Run {
    let small =
        ["lora.r=8", "data.max_length=256", "train.max_steps=6", "train.learning_rate=2e-3", "train.log_every=1"];
    let sets = [&small[..], &["eval.every=3", "checkpoint.every=3"], sets].concat();
    training("dpo", pairs(), out, &sets).output().unwrap().into()
}

fn column(run: &Path, key: &str) -> Vec<f64> {
    train::metrics(run).iter().filter_map(|line| line.get(key)?.as_f64()).collect()
}

#[test]
fn every_loss_learns_and_tells() {
    let dir = tempfile::tempdir().unwrap();
    for (loss, told) in [
        ("dpo", vec!["rewards/margins", "rewards/accuracies", "logps/chosen", "logits/rejected"]),
        ("orpo", vec!["nll_loss", "log_odds_ratio", "log_odds_chosen", "rewards/margins"]),
        ("kto", vec!["kl", "rewards/chosen", "logps/rejected"]),
        ("simpo", vec!["rewards/accuracies", "logps/chosen"]),
        ("cpo", vec!["nll_loss", "rewards/margins"]),
    ] {
        let out = dir.path().join(loss);
        let said = learn(&out, &[&format!("preference.loss={loss}"), "preference.beta=0.1"]).assert_success().stdout;
        assert!(!said.contains("perplexity"), "{said}");
        for key in told {
            assert_eq!(column(&out, key).len(), 6, "{loss}: {key}");
            assert_eq!(
                column(&out, &format!("eval_{key}")).len(),
                3,
                "{loss}: eval_{key} at the start, in the middle, at the end"
            );
        }
        let losses = column(&out, "loss");
        // Batches differ more than six steps change; the held-out pair is the same each time.
        let evals = column(&out, "eval_loss");
        assert!((evals[2] - evals[0]).abs() > 1e-4, "{loss}: {evals:?}");
        assert!(loss != "dpo" || evals[2] < evals[0], "{evals:?}");
        let first = match loss {
            "dpo" => std::f64::consts::LN_2,
            "kto" => 0.5,
            _ => losses[0],
        };
        assert!((losses[0] - first).abs() < 1e-6, "{loss}: {losses:?}");
        let card = fs::read_to_string(out.join("README.md")).unwrap();
        assert_measured_snapshot(&format!("preference-card-{loss}"), card);
        let curve = fs::read_to_string(out.join("loss.svg")).unwrap();
        assert_eq!(curve.contains("chosen answer ahead"), loss != "kto");
        assert!(curve.contains("reward margin"));
    }
}

#[test]
fn a_reference_is_the_same_live_computed_once_and_of_a_continued_adapter() {
    let dir = tempfile::tempdir().unwrap();
    let [live, once, on] = ["live", "once", "on"].map(|name| dir.path().join(name));
    learn(&live, &[]).assert_success();
    learn(&once, &["preference.reference=precomputed"]).assert_success();
    for (a, b) in column(&live, "loss").iter().zip(column(&once, "loss")) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
    let file = fs::read_dir(once.join("reference")).unwrap().next().unwrap().unwrap().path();
    let before = fs::metadata(&file).unwrap().modified().unwrap();
    let mut transcript = Transcript::default();
    let longer = learn(&once, &["preference.reference=precomputed", "train.max_steps=7"]).assert_failure();
    transcript.add("another number of steps", &longer);
    assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), before, "it is not computed again");

    // Going on with an adapter: the reference is that adapter, so that the first loss is ln 2 again.
    let adapter = live.join("adapter");
    let go_on = format!("lora.adapter={}", adapter.display());
    let base = format!("model.path={}", live.join("base").display());
    learn(&on, &[&go_on, &base]).assert_success();
    assert!((column(&on, "loss")[0] - std::f64::consts::LN_2).abs() < 1e-6);
    let lock = fs::read_to_string(on.join("run.lock.toml")).unwrap();
    assert!(lock.contains("[[start]]"), "{lock}");
    let other = learn(&dir.path().join("r"), &[&go_on, &base, "lora.r=4"]).assert_failure();
    transcript.add("going on with an adapter of another rank", &other);
    transcript.assert_measured_snapshot("preference-references");
}

/// What is trained whole beside the adapter is compared with as it was: computed beside each step or once, and as an adapter that is
/// gone on with has it.
#[test]
fn what_is_trained_whole_is_compared_with_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name);
    let saved = "lora.modules_to_save=[\"embed_tokens\", \"lm_head\", \"norm\"]";
    let (live, once, on, kto) = (place("live"), place("once"), place("on"), place("kto"));
    learn(&live, &[saved]).assert_success();
    learn(&once, &[saved, "preference.reference=precomputed"]).assert_success();
    for (a, b) in column(&live, "loss").iter().zip(column(&once, "loss")) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
    assert!(column(&live, "rewards/margins").iter().skip(1).any(|margin| margin.abs() > 1e-3));
    learn(&kto, &[saved, "preference.loss=kto"]).assert_success();
    assert!((column(&kto, "loss")[0] - 0.5).abs() < 1e-6);
    let go_on = format!("lora.adapter={}", live.join("adapter").display());
    let base = format!("model.path={}", live.join("base").display());
    learn(&on, &[saved, &go_on, &base]).assert_success();
    assert!((column(&on, "loss")[0] - std::f64::consts::LN_2).abs() < 1e-6);
}

#[test]
fn mistakes_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let chats = format!("data.train=[{:?}]", train::data().to_str().unwrap());
    let mut transcript = Transcript::default();
    let cases: [&[&str]; 9] = [
        &[&chats],
        &["task=sft"],
        &["preference.loss=kto", "train.batch=1"],
        &["preference.loss=kto", "preference.reference=precomputed"],
        &["data.packing=bfd"],
        &["preference.gamma=0.5"],
        &["preference.bta=0.5"],
        &["data.max_length=2"],
        &["lora.adapter=nowhere"],
    ];
    for sets in cases {
        transcript.add(sets.join(" "), &learn(&dir.path().join("run"), sets).assert_failure());
    }
    transcript.assert_snapshot("preference-mistakes");
}

fn all(out: &Path, sets: &[&str]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_setaccio"));
    command.current_dir(ROOT).stdin(Stdio::null()).args(["train-all", "tiny", "--out", out.to_str().unwrap()]);
    let small = ["sft", "dpo", "adapt"].map(|stage| format!("{stage}.train.max_steps=4"));
    let length = ["sft", "dpo", "adapt"].map(|stage| format!("{stage}.data.max_length=256"));
    for set in small.iter().chain(&length).map(String::as_str).chain(sets.iter().copied()) {
        command.args(["--set", set]);
    }
    command.output().unwrap().into()
}

/// `setaccio verify` sees each file of a chain that is not as it was left, in its runs and its rows too.
fn verified(out: &Path) {
    let verify = || setaccio(&["verify", out.to_str().unwrap()]);
    let said = verify().assert_success().stdout;
    assert!(said.contains("whole: ") && !said.contains("did not write"), "{said}");
    for name in [
        "chain.lock.toml",
        "manifest.json",
        "merged/model.safetensors",
        "merged/README.md",
        "merged/dpo.svg",
        "export/tiny-Q8_0.gguf",
        "dpo/adapter/adapter_model.safetensors",
        "sft/model/model.safetensors",
        "sft/metrics.jsonl",
        "sft/merged/model.safetensors",
        "dpo/manifest.json",
        "data/adapt/ledger.json",
        "data/adapt/README.md",
    ] {
        let path = out.join(name);
        let whole = fs::read(&path).unwrap();
        let mut changed = whole.clone();
        changed[whole.len() / 2] ^= 1;
        fs::write(&path, changed).unwrap();
        let said = verify().assert_failure();
        assert!(said.contains(name) || said.contains("manifest"), "{name}: {said}");
        fs::write(&path, whole).unwrap();
    }
    fs::write(out.join("sft/notes.txt"), "x").unwrap();
    let said = verify().assert_success().stdout;
    assert!(said.contains("1 name in the folder that it did not write: sft/notes.txt"), "{said}");
    fs::remove_file(out.join("sft/notes.txt")).unwrap();
}

#[test]
fn a_chain_is_made_once_and_goes_on_where_it_failed() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("chain");
    // A question that leaves no room for an answer: the third stage fails, those before it are kept.
    let mut transcript = Transcript::default();
    transcript.add("the third stage has no rows", &all(&out, &["dpo.data.max_length=2"]).assert_failure());
    assert!(out.join("sft/merged/model.safetensors").is_file() && !out.join("merged").exists());
    let said = all(&out, &[]).assert_success().stdout;
    assert_eq!(
        said.matches("up to date").count(),
        3 + 4 + 4,
        "the rows of all stages, training and merging of the first two, and these in the table: {said}"
    );
    for name in [
        "merged/config.json",
        "merged/tokenizer.json",
        "merged/dpo.svg",
        "export/tiny-F16.gguf",
        "export/tiny-Q8_0.gguf",
    ] {
        assert!(out.join(name).is_file(), "{name}");
    }
    verified(&out);
    let card = fs::read_to_string(out.join("merged/README.md")).unwrap();
    // What the model answers differs from processor to processor.
    let (before, sample) = card.split_once("## Samples").unwrap();
    assert!(sample.contains("Before:") && sample.contains("## Limits"), "{sample}");
    assert_measured_snapshot("chain-card", before);
    let weights = |name: &str| fs::read(out.join(name)).unwrap();
    let before = ["merged/model.safetensors", "export/tiny-Q8_0.gguf", "merged/README.md"].map(weights);
    let said = all(&out, &[]).assert_success().stdout;
    assert!(!said.contains("trained:") && !said.contains("built:") && !said.contains("merged:"), "{said}");
    assert_eq!(["merged/model.safetensors", "export/tiny-Q8_0.gguf", "merged/README.md"].map(weights), before);
    // Another last stage: what comes before it stays.
    let said = all(&out, &["dpo.train.learning_rate=1e-3"]).assert_success().stdout;
    let trained = said.lines().filter(|line| line.starts_with("dpo: training") && line.contains("trained"));
    assert_eq!((trained.count(), said.matches("\ntrained:").count()), (1, 1), "{said}");
    assert_ne!(weights("merged/model.safetensors"), before[0]);
    transcript.add("no such stage", &all(&out, &["nine.train.batch=2"]).assert_failure());
    let run = |out: &Path| Run::from(training("tiny", &out.join("data/sft"), out, &[]).output().unwrap());
    transcript.add("a run in the folder of a chain", &run(&out).assert_failure());
    // What would only be found out at the end is found out at the beginning.
    let mut there = |name: &str, path: &str| {
        let out = dir.path().join(path.split('/').next().unwrap());
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
        transcript.add(name, &all(&out, &[]).assert_failure());
        assert!(!out.join("data").exists(), "{name}");
    };
    there("a chain in the folder of a run", "run/run.lock.toml");
    there("an export that no chain made", "other/export/tiny-F16.gguf");
    there("a model that no chain made", "third/merged/config.json");
    there("a stage's model that no chain made", "fourth/sft/merged/config.json");
    // A token that GGUF cannot say.
    let model = dir.path().join("model");
    fs::create_dir(&model).unwrap();
    for entry in fs::read_dir(out.join("merged")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let text = fs::read(&path).unwrap();
            fs::write(model.join(path.file_name().unwrap()), text).unwrap();
        }
    }
    let path = model.join("tokenizer.json");
    let text = fs::read_to_string(&path).unwrap();
    let changed = text.replacen("\"rstrip\":false", "\"rstrip\":true", 1);
    assert_ne!(text, changed);
    fs::write(&path, changed).unwrap();
    let upon = format!("sft.model.path={:?}", model.to_str().unwrap());
    let fifth = dir.path().join("fifth");
    transcript.add("a tokenizer that GGUF cannot say", &all(&fifth, &[&upon]).assert_failure());
    assert!(!fifth.join("sft/adapter").exists());
    transcript.assert_measured_snapshot("chain-mistakes");
}

/// Rows that somebody judged one by one, and what KTO makes of them; of one kind alone it makes nothing.
#[test]
fn kto_learns_from_labels() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let build = |name: &str, label: &dyn Fn(usize) -> bool, keep: &str| {
        let row = |i: usize| {
            let answer = if label(i) { "Sì, volentieri." } else { "Boh." };
            format!("{{\"prompt\": \"Domanda {i}?\", \"completion\": \"{answer}\", \"label\": {}}}\n", label(i))
        };
        fs::write(at(&format!("{name}.jsonl")), (0..24).map(row).collect::<String>()).unwrap();
        let recipe = format!(
            "name = '{name}'\ntitle = 't'\nabout = 'a'\nkind = 'chat'\n[[source]]\nname = 's'\nschema = 'kto'\nrepo = 'o/s'\n\
             revision = 'main'\nfiles = ['{name}.jsonl']\nsamples = '{name}.jsonl'\nlicense = 'mit'\n{keep}"
        );
        // Of chats of another schema the label is not kept.
        let recipe = if keep.contains("rename") { recipe.replace("'kto'", "'alpaca'") } else { recipe };
        fs::write(at(&format!("{name}.toml")), recipe).unwrap();
        let out = at(name);
        setaccio(&["build", at(&format!("{name}.toml")).to_str().unwrap(), "--out", out.to_str().unwrap()])
            .assert_success();
        format!("data.train=[{:?}]", out.to_str().unwrap())
    };
    let keep = "[output.keep]\nlabel = 'bool'\n";
    let both = build("both", &|i| i % 3 == 0, keep);
    let kto = ["preference.loss=kto", "preference.desirable_weight=2.0"];
    learn(&at("run"), &[kto[0], kto[1], &both]).assert_success();
    assert!((column(&at("run"), "loss")[0] - 0.5).abs() < 0.3);
    let card = fs::read_to_string(at("run/README.md")).unwrap();
    assert!(card.contains("| weights of desirable and undesirable answers | 2, 1 |"), "{card}");
    let mut transcript = Transcript::default();
    let wanted = learn(&at("r1"), &[kto[0], &build("good", &|_| true, keep)]).assert_failure();
    transcript.add("every answer is wanted", &wanted);
    let names = "rename = { instruction = 'prompt', output = 'completion' }\n";
    let bare = learn(&at("r2"), &[kto[0], &build("bare", &|i| i % 2 == 0, names)]).assert_failure();
    transcript.add("no labels", &bare);
    transcript.add("labels where pairs are asked for", &learn(&at("r3"), &[&both]).assert_failure());
    transcript.assert_snapshot("preference-labels");
}
