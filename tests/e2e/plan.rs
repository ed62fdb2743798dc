//! `setaccio train --plan` of models that are not here: by config.json alone, for GPUs that are not here either.

use std::{fs, path::Path};

use crate::{
    fixture::{Fixture, Run, Transcript, setaccio},
    hub::HubFixture,
    train,
};

/// The shape of Llama 3 8B.
const LLAMA_8B: &str = r#"{"model_type": "llama", "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336,
"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
"max_position_embeddings": 8192, "tie_word_embeddings": false, "torch_dtype": "bfloat16"}"#;

/// A folder with that configuration and nothing else.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("config.json"), LLAMA_8B).unwrap();
    dir
}

fn plan(model: &Path, args: &[&str]) -> Run {
    let model = model.to_str().unwrap();
    // The rows of the recipe may be built in the working folder, or not.
    let nowhere = "data.train=[\"data/out/not-built\"]";
    setaccio(&[&["train", "llama3-8b-anita", "--plan", "--model", model, "--set", nowhere], args].concat())
}

#[test]
fn a_configuration_alone_is_planned_for_a_gpu_that_is_not_here() {
    let dir = folder();
    let mut transcript = Transcript::default();
    let small = ["--gpu", "RTX 4090", "--set", "train.batch=2", "--set", "data.max_length=2048", "--max-steps", "1000"];
    transcript.add("a GPU with a name", &plan(dir.path(), &small).assert_success().said());
    let memory = ["--device-memory", "24GiB", "--set", "train.batch=2", "--set", "data.max_length=2048"];
    let file = dir.path().join("config.json");
    transcript.add("so much memory, and the file itself", &plan(&file, &memory).assert_success().said());
    transcript.add("an unknown GPU", &plan(dir.path(), &["--gpu", "rtx-4091"]).said());
    transcript.assert_measured_snapshot("plan-by_configuration");
}

/// What does not fit ends with an error, and what is advised, and nothing else, then does.
#[test]
fn what_is_advised_fits_when_it_is_planned_again() {
    let dir = folder();
    let cases: [&[&str]; 4] = [
        &["--gpu", "rtx-4090"],
        &["--gpu", "a100-80gb", "--set", "train.recompute=none"],
        &["--device-memory", "12GB", "--set", "train.batch=4"],
        &[
            "--gpu",
            "h200",
            "--set",
            "model.quantization=none",
            "--set",
            "method=full",
            "--set",
            "train.optimizer=adamw",
        ],
    ];
    for args in cases {
        let said = plan(dir.path(), args).assert_failure();
        let advice = said.split('`').nth(1).unwrap_or_else(|| panic!("{said}"));
        let sets: Vec<&str> = advice.split_whitespace().collect();
        assert!(sets.len() >= 2 && sets.len().is_multiple_of(2) && sets[0] == "--set", "{advice}");
        let again = plan(dir.path(), &[args, &sets].concat()).assert_success();
        assert!(again.stdout.contains("fits on"), "{}", again.stdout);
    }
    let said = plan(dir.path(), &["--device-memory", "4GiB"]).assert_failure();
    assert!(said.contains("take a smaller model") && !said.contains('`'), "{said}");
}

#[test]
fn a_name_on_the_hub_is_planned_by_its_configuration() {
    const MODEL: &str = "models/lab/Llama-8B";
    let fixture = HubFixture::new(Fixture::text(""));
    let files = [("config.json", LLAMA_8B), ("model.safetensors", "not asked for")];
    fixture.hub.store().put(MODEL, files.map(|(name, text)| (name.to_owned(), text.to_owned())));
    let args = ["train", "llama3-8b-anita", "--plan", "--gpu", "h200", "--set", "data.train=[\"data/out/not-built\"]"];
    let named = |name: &'static str| [&args[..], &["--model", name]].concat();
    let run = fixture.run(&named("lab/Llama-8B"));
    assert!(run.said().contains("lab/Llama-8B, by its configuration on the Hub at"), "{}", run.said());
    let fetched = fixture.fetched();
    assert!(fetched.len() == 1 && fetched[0].ends_with("config.json"), "weights are left where they are: {fetched:?}");
    // Offline it is taken from the cache.
    let again = fixture.run_with(&named("lab/Llama-8B"), &[("HF_HUB_OFFLINE", "1")]);
    assert_eq!(again.said(), run.said());
    let said = fixture.run(&named("lab/nothing")).assert_failure();
    assert!(said.contains("lab/nothing"), "{said}");
}

#[test]
fn built_rows_are_planned_for_another_machine() {
    let data = train::data().to_str().unwrap();
    let dir = folder();
    let rows = format!("data.train=[{data:?}]");
    let model = dir.path().to_str().unwrap();
    let args = [
        "train",
        "llama3-8b-anita",
        "--plan",
        "--model",
        model,
        "--set",
        &rows,
        "--gpu",
        "h200",
        "--set",
        "train.batch=2",
    ];
    let said = setaccio(&[&args[..], &["--set", "data.max_length=1024"]].concat()).assert_success().stdout;
    assert!(said.contains("181; every row is taken to have 1,024 tokens"), "{said}");
    // 181 rows, 2 x 8 a step, 3 passes.
    assert!(said.contains("at most 36") && said.contains("predicted from the GPU's data sheet"), "{said}");
    // With weights and a tokenizer the rows are known.
    let tiny = ["train", "tiny", "--plan", "--set", &rows, "--device-memory", "1GiB", "--set", "data.max_length=128"];
    let out = dir.path().join("run");
    let said = setaccio(&[&tiny[..], &["--out", out.to_str().unwrap()]].concat()).assert_success().stdout;
    assert!(said.contains("a GPU of 1 GiB") && said.contains("tokens of the whole run"), "{said}");
    let said = setaccio(&[&tiny[..], &["--out", out.to_str().unwrap(), "--device-memory", "514MiB"]].concat());
    assert!(said.code != Some(0), "one device at a time: {}", said.said());
}

/// The shape of Qwen3-30B-A3B: all parameters are held, a tenth of them is worked with.
#[test]
fn a_model_with_experts_says_what_a_token_goes_through() {
    let dir = tempfile::tempdir().unwrap();
    let config = r#"{"model_type": "qwen3_moe", "vocab_size": 151936, "hidden_size": 2048, "intermediate_size": 6144,
"num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128, "num_experts": 128,
"num_experts_per_tok": 8, "moe_intermediate_size": 768, "norm_topk_prob": true, "max_position_embeddings": 40960,
"torch_dtype": "bfloat16"}"#;
    fs::write(dir.path().join("config.json"), config).unwrap();
    let attention = "lora.targets=[\"q_proj\",\"k_proj\",\"v_proj\",\"o_proj\"]";
    let args = ["--gpu", "h200", "--set", "data.max_length=2048", "--set", "train.batch=1", "--max-steps", "100"];
    let said = plan(dir.path(), &[&args[..], &["--set", attention]].concat()).assert_success().said();
    assert!(said.contains("8 of 128 for a token, which goes through 3,35"), "{said}");
    assert!(said.contains("of 30,532,122,624 parameters"), "{said}");
    // 48 layers of r = 16 on q and o, 2048 and 4096 wide, and on k and v, 2048 and 512 wide.
    assert!(said.contains(&format!("trained parameters          {}", "13,369,344")), "{said}");
    let dropout = ["--set", "lora.dropout=0.1"];
    let said = plan(dir.path(), &[&args[..], &dropout].concat()).assert_failure();
    assert!(said.contains("lora.targets names layers of experts") && said.contains("set `lora.dropout = 0`"), "{said}");
}
