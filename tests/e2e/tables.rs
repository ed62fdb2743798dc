//! Adapters upon embedding and head, and modules trained whole beside the adapter, as a user meets them: the tiny model, whose head
//! is its embedding.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    fixture::{Run, Transcript, setaccio, training, wait_for},
    train::{data, metrics},
};

const SAVED: &str = "lora.modules_to_save=[\"lm_head\", \"norm\"]";
const TARGETS: &str = "lora.targets=[\"q_proj\", \"embed_tokens\"]";

/// `setaccio train` of the tiny recipe into `out`: eight steps, a checkpoint every two.
fn command(out: &Path, sets: &[&str]) -> Command {
    let usual = ["train.max_steps=8", "data.max_length=128", "checkpoint.every=2", "eval.every=0", "lora.dropout=0.1"];
    let mut command = training("tiny", data(), out, &[&usual[..], sets].concat());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn train(out: &Path, sets: &[&str], args: &[&str]) -> Run {
    command(out, sets).args(args).output().unwrap().into()
}

fn says(args: &[&str]) -> String {
    let asked = ["generate", "--prompt", "Perché il cielo è blu?", "--max-tokens", "12"];
    setaccio(&[&asked, args].concat()).assert_success().stdout
}

#[test]
fn a_run_is_gone_on_with_asked_merged_and_exported() {
    for (what, set) in [("saved", SAVED), ("targets", TARGETS)] {
        let dir = tempfile::tempdir().unwrap();
        let [whole, cut, more] = ["whole", "cut", "more"].map(|name| dir.path().join(name));
        let plan = train(&whole, &[set], &["--plan"]).assert_success().stdout;
        assert_eq!(plan.contains("trained whole               embed_tokens norm"), what == "saved", "{plan}");
        train(&whole, &[set], &["--jobs", "1"]).assert_success();
        // Killed and gone on with, and with more threads, it is the same to the byte.
        let mut child = command(&cut, &[set]).spawn().unwrap();
        wait_for(&mut child, || cut.join("checkpoints/step-000002").exists());
        child.kill().unwrap();
        child.wait().unwrap();
        train(&cut, &[set], &["--resume", "--jobs", "2"]).assert_success();
        let bytes = |run: &Path, file: &str| fs::read(run.join("adapter").join(file)).unwrap();
        let file = "adapter_model.safetensors";
        assert!(bytes(&cut, file) == bytes(&whole, file), "{what}");
        let config: serde_json::Value = serde_json::from_slice(&bytes(&whole, "adapter_config.json")).unwrap();
        assert_eq!(config["ensure_weight_tying"], true, "{what}");
        let card = fs::read_to_string(whole.join("README.md")).unwrap();
        assert_eq!(card.contains("| trained whole beside it | embed_tokens, norm |"), what == "saved", "{card}");

        let run = whole.to_str().unwrap();
        let base = format!("{run}/base");
        let tuned = says(&[run]);
        assert_ne!(tuned, says(&["--model", &base]), "{what}");
        setaccio(&["export", run, "--quant", "f32"]).assert_success();
        assert_eq!(says(&["--model", &format!("{run}/merged")]), tuned, "{what}");
        assert_eq!(says(&["--model", &format!("{run}/export/tiny-F32.gguf")]), tuned, "{what}");
        let merged: serde_json::Value =
            serde_json::from_slice(&fs::read(whole.join("merged/config.json")).unwrap()).unwrap();
        assert_eq!(merged["tie_word_embeddings"], true, "one matrix stays one");
        let said = setaccio(&["export", run, "--to", "gguf-lora"]).assert_failure();
        assert!(said.contains("merge, and export the model"), "{said}");

        // Another run goes on from what this one learned.
        let from = format!("lora.adapter={run}/adapter");
        train(&more, &[set, &from, "train.learning_rate=0.0"], &["--max-steps", "1"]).assert_success();
        assert!(bytes(&more, file) == bytes(&whole, file), "{what}: a rate of 0 changes nothing");
        let loss = |run: &Path| metrics(run).iter().find_map(|line| line.get("loss")?.as_f64()).unwrap();
        assert!(loss(&more) < loss(&whole) - 0.05, "{what}");
        let without = train(&dir.path().join("other"), &[&from], &[]).assert_failure();
        let said = if what == "saved" { "the recipe does not train it" } else { "`lora.targets` names it" };
        assert!(without.contains(said), "{without}");
    }
}

/// Tokens behind those of the tokenizer: their rows are learned, written with the run, merged and exported.
#[test]
fn tokens_are_added_learned_merged_and_exported() {
    let dir = tempfile::tempdir().unwrap();
    let [run, more] = ["run", "more"].map(|name| dir.path().join(name));
    let added = ["model.add_tokens=[\"biglietto\"]", "model.add_special_tokens=[\"<|nota|>\"]"];
    let sets = [&added[..], &["lora.modules_to_save=[\"embed_tokens\"]"]].concat();
    let plan = train(&run, &sets, &["--plan"]).assert_success().stdout;
    assert!(plan.contains("biglietto <|nota|>  of 2,050 rows"), "{plan}");
    train(&run, &sets, &[]).assert_success();
    let name = run.to_str().unwrap();
    let read = |file: &str| fs::read_to_string(run.join(file)).unwrap();
    let tokenizer: serde_json::Value = serde_json::from_str(&read("adapter/tokenizer.json")).unwrap();
    let last = tokenizer["added_tokens"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["content"], &last["id"], &last["special"]), (&"<|nota|>".into(), &2049.into(), &true.into()));
    let card = read("README.md");
    assert!(card.contains("| tokens added | ") && card.contains("biglietto"), "{card}");
    assert!(card.contains("model.resize_token_embeddings(2050)"), "{card}");
    let asked = ["--prompt", "Un biglietto <|nota|>", "--raw", "--max-tokens", "12"];
    let says = |args: &[&str]| setaccio(&[&["generate"], args, &asked].concat()).assert_success().stdout;
    let tuned = says(&[name]);
    setaccio(&["export", name, "--quant", "f32"]).assert_success();
    assert_eq!(says(&["--model", &format!("{name}/merged")]), tuned);
    assert_eq!(says(&["--model", &format!("{name}/export/tiny-F32.gguf")]), tuned);
    let merged: serde_json::Value = serde_json::from_str(&read("merged/config.json")).unwrap();
    assert_eq!((&merged["vocab_size"], &merged["tie_word_embeddings"]), (&2050.into(), &true.into()));
    let said = setaccio(&["export", name, "--to", "gguf-lora"]).assert_failure();
    assert!(said.contains("merge, and export the model"), "{said}");
    // Another run goes on with it under the same tokens, and under no others.
    let from = format!("lora.adapter={name}/adapter");
    let on = [&sets[..], &[&from, "train.learning_rate=0.0"]].concat();
    train(&more, &on, &["--max-steps", "1"]).assert_success();
    let weights = |run: &Path| fs::read(run.join("adapter/adapter_model.safetensors")).unwrap();
    assert!(weights(&more) == weights(&run), "a rate of 0 changes nothing");
    let without = train(&dir.path().join("other"), &["lora.modules_to_save=[\"embed_tokens\"]", &from], &[]);
    assert!(without.assert_failure().contains("has 2050 rows of the embedding, the base 2048, and the run 2048"));
    let others = ["model.add_special_tokens=[\"biglietto\", \"<|nota|>\"]", sets[2], &from];
    let others = train(&dir.path().join("other"), &others, &[]).assert_failure();
    let said =
        r#"was trained with added tokens "biglietto", "<|nota|>" (special), and the run adds "biglietto" (special), "#;
    assert!(others.contains(said), "{others}");
    // Rows that stay are saved all the same.
    let stay = [&added[..], &["model.added_stay=true"]].concat();
    let place = dir.path().join("stay");
    train(&place, &stay, &["--max-steps", "2"]).assert_success();
    setaccio(&["merge", place.to_str().unwrap()]).assert_success();
    // Every weight.
    let whole = [&added[..], &["method=full"]].concat();
    let place = dir.path().join("whole");
    train(&place, &whole, &["--max-steps", "2"]).assert_success();
    says(&["--model", place.join("model").to_str().unwrap()]);
}

/// Lengths of rows beside A and B.
#[test]
fn dora_is_trained_asked_and_merged() {
    let dir = tempfile::tempdir().unwrap();
    let [run, more] = ["run", "more"].map(|name| dir.path().join(name));
    let sets = ["lora.use_dora=true", "lora.dropout=0.0"];
    let plan = train(&run, &sets, &["--plan"]).assert_success().stdout;
    assert!(plan.contains("alpha 32, DoRA, on q_proj"), "{plan}");
    train(&run, &sets, &[]).assert_success();
    let name = run.to_str().unwrap();
    let card = fs::read_to_string(run.join("README.md")).unwrap();
    assert!(card.contains("lengths of rows trained too (DoRA)"), "{card}");
    let tuned = says(&[name]);
    setaccio(&["export", name, "--quant", "f32"]).assert_success();
    assert_eq!(says(&["--model", &format!("{name}/merged")]), tuned);
    let said = setaccio(&["export", name, "--to", "gguf-lora"]).assert_failure();
    assert!(said.contains("is DoRA, and llama.cpp knows plain LoRA alone"), "{said}");
    let from = format!("lora.adapter={name}/adapter");
    let on = [&sets[..], &[&from, "train.learning_rate=0.0"]].concat();
    train(&more, &on, &["--max-steps", "1"]).assert_success();
    let weights = |run: &Path| fs::read(run.join("adapter/adapter_model.safetensors")).unwrap();
    assert!(weights(&more) == weights(&run), "a rate of 0 changes nothing");
    let plain = train(&dir.path().join("other"), &[&from, "lora.dropout=0.0"], &[]).assert_failure();
    assert!(plain.contains("is DoRA: set `lora.use_dora = true`"), "{plain}");
}

#[test]
fn mistakes_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut transcript = Transcript::default();
    let cases: [&[&str]; 14] = [
        &["lora.modules_to_save=[\"q_proj\"]"],
        &["lora.modules_to_save=[\"head\"]"],
        &["lora.modules_to_save=[\"\"]"],
        &["lora.modules_to_save=[\"norm\", \"norm\"]"],
        &[TARGETS, "lora.modules_to_save=[\"lm_head\"]"],
        &[TARGETS, "lora.init=pissa"],
        &[TARGETS, "train.lora_plus_ratio=16.0"],
        &["lora.use_dora=true"],
        &["lora.use_dora=true", "lora.dropout=0.0", "lora.init=pissa"],
        &["lora.use_dora=true", "lora.dropout=0.0", TARGETS],
        &["model.add_tokens=[\"biglietto\"]"],
        &["model.add_tokens=[\"a\"]", "model.added_stay=true"],
        &["model.add_tokens=[\"x y\", \" z\"]", "model.added_stay=true"],
        &["model.added_stay=true"],
    ];
    for sets in cases {
        transcript.add(sets.join(" "), &train(&dir.path().join("run"), sets, &[]).assert_failure());
    }
    transcript.assert_snapshot("tables-mistakes");
}
