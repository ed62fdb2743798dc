//! Whole models in bitsandbytes' NF4, read and written: tests/oracles/train/four_bit.py.

use std::{fs, path::Path};

use candle_core::DType;
use serde_json::{Value, json};
use setaccio_base::sha256::hex_digest;
use setaccio_train::{
    artifacts::export::save_4bit,
    formats::model_files::ModelFiles,
    model::{
        context::Mode,
        layer::Layer,
        load::{self, LoadOptions},
        weight::Weight,
    },
    nf4::DoubleQuant,
};

use crate::formula::{batch, close, elements, model_folder, numbers, oracle, oracle_out};

/// Ours of the folder, against logits of the oracle; every linear layer is in 4 bits.
fn compare(what: &str, folder: &Path, oracle: &Value, want: &Value) -> f64 {
    let files = ModelFiles::open(folder).unwrap();
    files.check().unwrap();
    let model = load::model(files.config(), &files, &LoadOptions::default(), &|_| true).unwrap();
    assert!(model.layers.iter().flat_map(Layer::linears).all(|l| matches!(l.weight, Weight::Nf4(_))));
    let ids = numbers(&oracle["ids"]).into_iter();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "token ids")]
    let ids: Vec<u32> = ids.map(|id| id as u32).collect();
    let hidden = model.hidden_states(&batch(&[ids], 1), Mode::Eval).unwrap();
    let (got, want) = (elements(&model.head.logits(&hidden).unwrap()), numbers(want));
    assert_eq!(got.len(), want.len());
    let mut worst = 0.0_f64;
    for (i, (got, want)) in got.into_iter().zip(want).enumerate() {
        close(&format!("{what}: logit {i}"), got, want, 0.0, 1e-4);
        worst = worst.max((got - want).abs());
    }
    worst
}

/// `small` of the script, as a folder.
fn small(folder: &Path) {
    let json = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 64, "hidden_size": 64,
        "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 16, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "max_position_embeddings": 128,
        "tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "float32",
        "a_key_of_others": [3],
    });
    model_folder(&json, folder);
}

#[test]
fn what_transformers_saved_gives_its_logits() {
    let oracle = oracle("four_bit.json");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/oracles/train/four_bit_model");
    let worst = compare("theirs", &folder, &oracle, &oracle["theirs"]["nf4"]);
    println!("4-bit model of transformers: largest residual {worst:e}");
    // The comparison could fail: quantising changed the logits by far more than it allows.
    let pairs = numbers(&oracle["theirs"]["nf4"]).into_iter().zip(numbers(&oracle["theirs"]["plain"]));
    assert!(pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) > 0.01);
}

#[test]
#[ignore = "writes the folder that four_bit.py reads"]
fn write_for_transformers() {
    let dir = tempfile::tempdir().unwrap();
    small(dir.path());
    save_4bit(&ModelFiles::open(dir.path()).unwrap(), &oracle_out(), DoubleQuant::On, DType::F32).unwrap();
}

#[test]
fn transformers_loads_this_very_folder() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, four) = (dir.path().join("whole"), dir.path().join("four"));
    small(&whole);
    let files = ModelFiles::open(&whole).unwrap();
    save_4bit(&files, &four, DoubleQuant::On, DType::F32).unwrap();
    let (oracle, read) = (oracle("four_bit.json"), |name: &str| fs::read(four.join(name)).unwrap());
    for (name, hash) in oracle["ours"]["sha256"].as_object().unwrap() {
        assert_eq!(hex_digest(&read(name)), hash.as_str().unwrap(), "{name}");
    }
    assert_eq!(oracle["ours"]["sha256"].as_object().unwrap().len(), 2);
    let worst = compare("ours", &four, &oracle, &oracle["ours"]["logits"]);
    println!("4-bit model of ours in transformers: largest residual {worst:e}");
    // Both quantised the same weights.
    let pairs = numbers(&oracle["theirs"]["nf4"]).into_iter().zip(numbers(&oracle["ours"]["logits"]));
    pairs.enumerate().for_each(|(i, (a, b))| close(&format!("logit {i}, theirs and ours"), a, b, 0.0, 1e-6));

    let config: Value = serde_json::from_slice(&read("config.json")).unwrap();
    assert_eq!(config["a_key_of_others"], json!([3]));
    // Once in 4 bits, always the same 4 bits.
    let again = dir.path().join("again");
    save_4bit(&ModelFiles::open(&four).unwrap(), &again, DoubleQuant::Off, DType::F32).unwrap();
    assert!(fs::read(again.join("model.safetensors")).unwrap() == read("model.safetensors"));
    assert!(fs::read(again.join("config.json")).unwrap() == read("config.json"));
}

#[test]
fn what_cannot_be_written_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    small(dir.path());
    let files = ModelFiles::open(dir.path()).unwrap();
    let before = fs::read(dir.path().join("model.safetensors")).unwrap();
    let error = save_4bit(&files, dir.path(), DoubleQuant::On, DType::F32).unwrap_err().to_string();
    assert!(error.contains("name another place"), "{error}");
    let error = save_4bit(&files, &dir.path().join("four"), DoubleQuant::On, DType::F64).unwrap_err().to_string();
    assert!(error.contains("f64") && !dir.path().join("four").exists(), "{error}");
    assert!(fs::read(dir.path().join("model.safetensors")).unwrap() == before);
}
