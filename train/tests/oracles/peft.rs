//! Adapters against PEFT: tests/oracles/train/peft_files.py, which says what the weights are.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use candle_core::{Device, Tensor};
use serde::Deserialize;
use serde_json::Value;
use setaccio_base::sha256::hex_digest;
use setaccio_train::{
    formats::{
        peft::{AdapterConfig, AdapterFile, Beside, Except, Targets, load, save},
        safetensors::to_bytes,
    },
    model::{
        config::Config,
        context::Mode,
        load::{self as load_model, LoadOptions},
    },
    random::{key, uniform_vec},
    recipe::LINEARS,
};

use crate::formula::{Formula, batch, close, elements, numbers, oracle_out};

#[derive(Deserialize)]
struct Oracle {
    ids: Vec<u32>,
    ours_sha256: BTreeMap<String, String>,
    logits: BTreeMap<String, Value>,
}

fn oracle() -> Oracle {
    serde_json::from_slice(&fs::read(oracles().join("peft_files.json")).unwrap()).unwrap()
}

/// What PEFT saved.
pub fn theirs() -> PathBuf {
    oracles().join("peft_adapter")
}

pub fn oracles() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/oracles/train")
}

/// The base model of the script.
pub fn base() -> Config {
    let json = r#"{"model_type": "llama", "vocab_size": 64, "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5}"#;
    Config::from_json(Path::new("config.json"), &serde_json::from_str(json).unwrap()).unwrap()
}

/// Weights by the formula for every module that `targets` and `base` have in common.
fn formula(seed: u64, targets: &[&str], rank: impl Fn(&str) -> usize) -> BTreeMap<String, (Tensor, Tensor)> {
    let mut tensors = BTreeMap::new();
    for (name, shape) in base().shapes() {
        let Some(module) = name.strip_suffix(".weight") else { continue };
        if !targets.iter().any(|target| module.ends_with(target)) {
            continue;
        }
        let (out, inner, r) = (shape[0], shape[1], rank(module));
        #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "as the script rounds it")]
        let scale = (1.0 / (inner as f64).sqrt()) as f32;
        let of = |half: &str, rows, columns, scale| {
            let values = uniform_vec(key(seed, &format!("{module}.{half}")), rows * columns, scale);
            Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap()
        };
        tensors.insert(module.to_owned(), (of("lora_A", r, inner, scale), of("lora_B", out, r, 0.3)));
    }
    tensors
}

#[test]
fn what_peft_saved_is_loaded() {
    let folder = theirs();
    let adapter = load(&folder).unwrap();
    adapter.fits(&base(), &folder).unwrap();
    let config = &adapter.config;
    assert_eq!((config.r, config.alpha, config.dropout, config.rslora), (4, 16.0, 0.05, false));
    assert_eq!((config.base.as_str(), config.revision.as_deref()), ("formula/llama", Some("main")));
    let mut linears = LINEARS.map(str::to_owned).to_vec();
    linears.sort();
    assert_eq!(config.targets, Targets::Names(linears));
    for (module, scale) in [("0.self_attn.q_proj", 4.0), ("1.self_attn.q_proj", 1.5), ("1.mlp.down_proj", 8.0)] {
        let module = format!("model.layers.{module}");
        assert!((config.scale_of(&module).unwrap() - scale).abs() < 1e-12, "{module}");
    }
    let expected = formula(2, &LINEARS, |module| if module.ends_with("down_proj") { 2 } else { 4 });
    assert!(adapter.tensors.keys().eq(expected.keys()));
    for (module, (a, b)) in &expected {
        let (found_a, found_b) = &adapter.tensors[module];
        assert_eq!(rows(found_a), rows(a), "{module}");
        assert_eq!(rows(found_b), rows(b), "{module}");
    }
}

/// What PEFT is given: r 8, rsLoRA, on three of the seven.
pub fn ours() -> AdapterFile {
    let targets = ["q_proj", "v_proj", "down_proj"];
    AdapterFile {
        config: AdapterConfig {
            base: "formula/llama".into(),
            revision: None,
            r: 8,
            alpha: 16.0,
            dropout: 0.1,
            rslora: true,
            targets: Targets::Names(targets.map(str::to_owned).to_vec()),
            except: Except::default(),
            rank_pattern: Vec::new(),
            alpha_pattern: Vec::new(),
            beside: Beside::default(),
        },
        tensors: formula(3, &targets, |_| 8),
        saved: BTreeMap::new(),
        magnitudes: BTreeMap::new(),
    }
}

#[test]
#[ignore = "writes the adapter that peft_files.py reads"]
fn write_for_peft() {
    save(&oracle_out(), &ours()).unwrap();
}

#[test]
fn peft_accepted_this_very_file() {
    let adapter = ours();
    adapter.fits(&base(), Path::new("ours")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), &adapter).unwrap();
    let oracle = oracle();
    assert_eq!(oracle.ours_sha256.len(), 2);
    for (file, hash) in oracle.ours_sha256 {
        assert_eq!(hex_digest(&fs::read(dir.path().join(&file)).unwrap()), hash, "{file}");
    }
}

/// Ranks and alphas that differ by layer, rsLoRA, and no adapter at all: what the model says.
#[test]
fn logits_are_those_of_peft() {
    let oracle = oracle();
    let theirs = load(&theirs()).unwrap();
    let mut worst = 0.0_f64;
    for (name, adapter) in [("base", None), ("theirs", Some(theirs)), ("ours", Some(ours()))] {
        let mut model = load_model::model(&base(), &Formula, &LoadOptions::default(), &|_| true).unwrap();
        if let Some(adapter) = adapter {
            adapter.attach(&mut model).unwrap();
        }
        let hidden = model.hidden_states(&batch(std::slice::from_ref(&oracle.ids), 1), Mode::Eval).unwrap();
        let (got, want) = (elements(&model.head.logits(&hidden).unwrap()), numbers(&oracle.logits[name]));
        assert_eq!((got.len(), want.len()), (5 * 64, 5 * 64));
        for (i, (got, want)) in got.into_iter().zip(want).enumerate() {
            close(&format!("{name}: logit {i}"), got, want, 0.0, 1e-5);
            worst = worst.max((got - want).abs());
        }
    }
    println!("logits beside PEFT's: largest residual {worst:e}");
}

fn rows(tensor: &Tensor) -> Vec<Vec<f32>> {
    tensor.to_vec2().unwrap()
}

/// The files of an adapter with these keys, with weights for these modules.
fn with_keys(keys: &Value, modules: &BTreeMap<String, (usize, f64)>, folder: &Path) {
    let mut config = serde_json::json!({"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 16});
    config.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    let mut tensors = BTreeMap::new();
    for (name, shape) in base().shapes() {
        let module = name.strip_suffix(".weight").unwrap();
        let Some((rank, _)) = modules.get(module) else { continue };
        for (half, rows, columns) in [("lora_A", *rank, shape[1]), ("lora_B", shape[0], *rank)] {
            let values = uniform_vec(key(3, &format!("{module}.{half}")), rows * columns, 0.3);
            let tensor = Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap();
            tensors.insert(format!("base_model.model.{module}.{half}.weight"), tensor);
        }
    }
    fs::write(folder.join("adapter_config.json"), config.to_string()).unwrap();
    fs::write(folder.join("adapter_model.safetensors"), to_bytes(&tensors).unwrap()).unwrap();
}

#[test]
fn modules_ranks_and_scales_are_those_of_peft() {
    let cases: Vec<Value> = serde_json::from_slice(&fs::read(oracles().join("peft_keys.json")).unwrap()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for case in cases {
        let (keys, modules) = (&case["keys"], &case["modules"]);
        let modules: BTreeMap<String, (usize, f64)> = serde_json::from_value(modules.clone()).unwrap();
        with_keys(keys, &modules, dir.path());
        let adapter = load(dir.path()).unwrap_or_else(|e| panic!("{keys}: {e}"));
        adapter.fits(&base(), dir.path()).unwrap_or_else(|e| panic!("{keys}: {e}"));
        assert!(adapter.tensors.keys().eq(modules.keys()), "{keys}");
        for (module, (rank, scale)) in &modules {
            assert_eq!(adapter.config.rank_of(module).unwrap(), *rank, "{keys}: {module}");
            close(&format!("{keys}: {module}"), adapter.config.scale_of(module).unwrap(), *scale, 1e-9, 0.0);
        }
        // What is written of it is read as the same, in the same order.
        save(dir.path(), &adapter).unwrap();
        assert_eq!(load(dir.path()).unwrap().config, adapter.config, "{keys}");
        // One module less is a gap, one more is none of PEFT's.
        let named = keys["target_modules"].is_array();
        let mut fewer = modules.clone();
        fewer.pop_first();
        with_keys(keys, &fewer, dir.path());
        assert_eq!(load(dir.path()).unwrap().fits(&base(), dir.path()).is_err(), named, "{keys}");
        for layer in [0, 1] {
            for last in ["q_proj", "v_proj"] {
                let module = format!("model.layers.{layer}.self_attn.{last}");
                let mut more = modules.clone();
                if more.insert(module, (4, 0.0)).is_none() {
                    with_keys(keys, &more, dir.path());
                    assert!(load(dir.path()).is_err(), "{keys}");
                }
            }
        }
    }
}
