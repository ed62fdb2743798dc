//! Configurations and files against transformers: tests/oracles/train/model_files.py.

use std::path::Path;

use candle_core::Tensor;
use serde::Deserialize;
use serde_json::{Map, Value};
use setaccio_base::sha256::hex_digest;
use setaccio_train::{
    formats::model_files::ModelFiles,
    model::{config::Config, rope_scaling::RopeScaling},
};

use crate::formula::asset;

#[derive(Deserialize)]
struct Oracle {
    ropes: Vec<Rope>,
    smollm2: Smollm2,
}

#[derive(Deserialize)]
struct Rope {
    name: String,
    config: Map<String, Value>,
    inv_freq: Vec<f64>,
    divisors: Option<Vec<f32>>,
}

#[derive(Deserialize)]
struct Smollm2 {
    config: Map<String, Value>,
    inv_freq: Vec<f64>,
    tied: bool,
    tensors: std::collections::BTreeMap<String, Expected>,
}

#[derive(Deserialize)]
struct Expected {
    shape: Vec<usize>,
    sha256: String,
    sum: f64,
    at: Vec<usize>,
    values: Vec<f32>,
}

fn oracle() -> Oracle {
    serde_json::from_str(include_str!("../../../tests/oracles/train/model_files.json")).unwrap()
}

/// Largest relative difference.
fn apart(ours: &[f64], theirs: &[f64]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).map(|(a, b)| ((a - b) / b).abs()).fold(0.0, f64::max)
}

/// Equal in f32, bit for bit; a JSON number may be off by its last digit in f64.
const SAME: f64 = 1e-15;

#[test]
fn frequencies_are_those_of_transformers() {
    for rope in oracle().ropes {
        let config = Config::from_json(Path::new("config.json"), &rope.config).unwrap();
        let ours = config.inv_freq();
        let difference = apart(&ours, &rope.inv_freq);
        assert!(difference < SAME, "{}: {difference:e}", rope.name);
        if let Some(divisors) = rope.divisors {
            let gguf = Config { rope_scaling: RopeScaling::Divisors(divisors), ..config };
            let difference = apart(&gguf.inv_freq(), &rope.inv_freq);
            assert!(difference < 1e-6, "{} by divisors: {difference:e}", rope.name);
        }
    }
}

#[test]
#[ignore = "needs the real models: SETACCIO_ASSETS, which tools/fetch-assets.sh fills"]
fn smollm2_from_gguf_is_that_of_transformers() {
    let path = asset("smollm2/SmolLM2-135M-Instruct.Q4_1.gguf");
    let (files, oracle) = (ModelFiles::open(&path).unwrap(), oracle().smollm2);
    files.check().unwrap();
    let config = files.config();
    // Our writing of the configuration against transformers' reading of the file.
    let ours = config.to_json().unwrap();
    for (key, theirs) in &oracle.config {
        assert_eq!(ours[key].as_f64(), theirs.as_f64(), "{key}");
    }
    assert_eq!(config.tie_word_embeddings, oracle.tied);
    assert!(apart(&config.inv_freq(), &oracle.inv_freq) < SAME);
    for (name, shape) in config.shapes() {
        let tensor = files.load(&name, &shape).unwrap();
        let Some(expected) = oracle.tensors.get(&name) else { continue };
        assert_eq!(shape, expected.shape, "{name}");
        let values = flat(&tensor);
        let picked: Vec<f32> = expected.at.iter().map(|at| values[*at]).collect();
        assert_eq!(picked, expected.values, "{name}");
        let sum: f64 = values.iter().map(|v| f64::from(*v)).sum();
        assert!((sum - expected.sum).abs() < 1e-6 * expected.sum.abs().max(1.0), "{name}: {sum} {}", expected.sum);
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(hex_digest(&bytes), expected.sha256, "{name}");
    }
    let shape = [config.vocab_size, config.hidden_size];
    let (head, embedding) = (files.load("lm_head.weight", &shape), files.load("model.embed_tokens.weight", &shape));
    assert!(flat(&head.unwrap()) == flat(&embedding.unwrap()), "the tied head is the embedding");
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}
