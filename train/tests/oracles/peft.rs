//! Adapters against PEFT: tests/oracles/train/peft.py, which says what the weights are.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use candle_core::{Device, Tensor};
use serde::Deserialize;
use setaccio_filters::hash::sha256;
use setaccio_train::{
    lora::peft::{AdapterConfig, AdapterFile, Targets, load, save},
    model::config::Config,
    random::{key, uniform_vec},
    recipe::LINEARS,
};

#[derive(Deserialize)]
struct Oracle {
    ours_sha256: BTreeMap<String, String>,
}

fn oracles() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/oracles/train")
}

/// The base model of the script.
fn base() -> Config {
    let json = r#"{"model_type": "llama", "vocab_size": 64, "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}"#;
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
    let folder = oracles().join("peft_adapter");
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

#[test]
fn peft_accepted_this_very_file() {
    let targets = ["q_proj", "v_proj", "down_proj"];
    let adapter = AdapterFile {
        config: AdapterConfig {
            base: "formula/llama".into(),
            revision: None,
            r: 8,
            alpha: 16.0,
            dropout: 0.1,
            rslora: true,
            targets: Targets::Names(targets.map(str::to_owned).to_vec()),
            rank_pattern: BTreeMap::new(),
            alpha_pattern: BTreeMap::new(),
        },
        tensors: formula(3, &targets, |_| 8),
    };
    adapter.fits(&base(), Path::new("ours")).unwrap();
    if let Some(out) = std::env::var_os("SETACCIO_ORACLE_OUT") {
        save(Path::new(&out), &adapter).unwrap();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), &adapter).unwrap();
    let oracle: Oracle = serde_json::from_slice(&fs::read(oracles().join("peft.json")).unwrap()).unwrap();
    assert_eq!(oracle.ours_sha256.len(), 2);
    for (file, hash) in oracle.ours_sha256 {
        assert_eq!(sha256(&fs::read(dir.path().join(&file)).unwrap()), hash, "{file}");
    }
}

fn rows(tensor: &Tensor) -> Vec<Vec<f32>> {
    tensor.to_vec2().unwrap()
}
