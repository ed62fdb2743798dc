//! Models whose weights are functions of their names: the twin of `tests/oracles/train/fixture.py`.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use serde_json::Value;
use setaccio_train::{
    Result,
    artifacts::tiny::Tiny,
    data::{Batch, Example},
    formats::{model_files::ModelFiles, safetensors::to_bytes},
    kernels::RowLoss,
    loss::TokenSums,
    model::{
        config::Config,
        layer::Layer,
        llama::{Llama, Training},
        load::{self, LoadOptions, Source, Trainable},
        lora::LoraLayer,
    },
    random::{key, permutation, uniform_vec},
    recipe::Lora,
};

const WEIGHTS: u64 = 1;
const ADAPTER: u64 = 2;
const DATA: u64 = 3;
/// Size of the vocabulary.
pub const VOCAB: usize = 96;

/// A committed oracle, parsed.
pub fn oracle(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/oracles/train").join(name);
    let text = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&text).unwrap()
}

/// Where a test that writes files for an oracle's script puts them. Such tests are ignored and check nothing; those that check
/// never write here.
pub fn oracle_out() -> PathBuf {
    std::env::var_os("SETACCIO_ORACLE_OUT").expect("SETACCIO_ORACLE_OUT names the folder to write to").into()
}

/// A file of a real model, for tests that are ignored where there is none.
pub fn asset(name: &str) -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/setaccio-assets");
    let path = std::env::var_os("SETACCIO_ASSETS").map_or_else(home, PathBuf::from).join(name);
    assert!(path.exists(), "{} is not there; tools/fetch-assets.sh brings it", path.display());
    path
}

/// A number, or a list of them, as f64.
pub fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(list) => list.iter().flat_map(numbers).collect(),
        other => vec![other.as_f64().unwrap()],
    }
}

/// Assert that two numbers agree to `relative`, or to `absolute` where they are small.
#[track_caller]
pub fn close(what: &str, got: f64, want: f64, relative: f64, absolute: f64) {
    assert!((got - want).abs() <= relative * want.abs() + absolute, "{what}: {got} instead of {want}");
}

/// Weights by their names.
pub struct Formula;

impl Source for Formula {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let n = shape.iter().product();
        let uniform = |scale: f64| {
            #[allow(clippy::cast_possible_truncation, reason = "rounded once, as the oracle does")]
            uniform_vec(key(WEIGHTS, name), n, scale as f32)
        };
        let values = if name.ends_with("norm.weight") {
            uniform(0.2).into_iter().map(|x| x + 1.0).collect()
        } else if shape.len() == 1 {
            uniform(0.2)
        } else if name == "model.embed_tokens.weight" {
            uniform(0.5)
        } else {
            uniform(0.5 / (shape[1] as f64).sqrt())
        };
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
    }
}

/// The configuration of a variant: plain, tied, llama31, qwen2, mistral or mixtral.
pub fn config(variant: &str) -> Config {
    let mut json = serde_json::json!({
        "model_type": "llama", "vocab_size": VOCAB, "hidden_size": 64, "intermediate_size": 160,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5,
        "max_position_embeddings": 128, "rope_theta": 10000.0, "tie_word_embeddings": variant == "tied",
    });
    match variant {
        "llama31" => {
            json["rope_scaling"] = serde_json::json!({
                "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            });
        }
        "qwen2" | "mistral" => json["model_type"] = variant.into(),
        "mixtral" => {
            json["model_type"] = variant.into();
            json["num_local_experts"] = 3.into();
        }
        _ => {}
    }
    Config::from_json(Path::new("config.json"), json.as_object().unwrap()).unwrap()
}

/// The formula's weights of a model with this config.json, as a folder.
pub fn model_folder(json: &Value, folder: &Path) {
    let config = Config::from_json(Path::new("config.json"), json.as_object().unwrap()).unwrap();
    let tensors = config.shapes().into_iter().map(|(name, shape)| {
        let tensor = Formula.tensor(&name, &shape).unwrap();
        (name, tensor)
    });
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("model.safetensors"), to_bytes(&tensors.collect()).unwrap()).unwrap();
    std::fs::write(folder.join("config.json"), json.to_string()).unwrap();
}

/// A variant without an adapter, in f32 or f64.
pub fn model(variant: &str, dtype: DType) -> Llama {
    load::model(&config(variant), &Formula, &LoadOptions { dtype, ..LoadOptions::default() }, &|_| true).unwrap()
}

/// A variant of which every weight is trained.
pub fn whole(variant: &str, dtype: DType) -> Llama {
    load::model(
        &config(variant),
        &Formula,
        &LoadOptions { dtype, trainable: Trainable::Weights, ..LoadOptions::default() },
        &|_| true,
    )
    .unwrap()
}

/// What the recipe `tiny` trains: 512 tokens, seed 42.
pub fn tiny(dtype: DType) -> Llama {
    let folder = tempfile::tempdir().unwrap();
    Tiny::new(512, 42).make(folder.path()).unwrap();
    let files = ModelFiles::open(folder.path()).unwrap();
    load::model(files.config(), &files, &LoadOptions { dtype, ..LoadOptions::default() }, &|_| true).unwrap()
}

/// What the oracles train: r 4, alpha 8 on every linear layer.
pub fn recipe() -> Lora {
    Lora { r: 4, alpha: 8.0, ..Lora::default() }
}

/// The largest value of B in an adapter that was trained.
pub const TRAINED: f32 = 0.3;
/// And in a new one.
pub const FRESH: f32 = 0.0;

/// Put the formula's adapter on every linear layer, with values of B up to `b`.
pub fn attach(model: &mut Llama, recipe: &Lora, b: f32) {
    let dtype = model.dtype;
    for linear in model.layers.iter_mut().flat_map(Layer::linears_mut) {
        let (out, input) = linear.weight.shape();
        #[allow(clippy::cast_possible_truncation, reason = "rounded once, as the oracle does")]
        let scales = [(1.0 / (input as f64).sqrt()) as f32, b];
        let half = |which: &str, shape: (usize, usize), scale: f32| {
            let values = uniform_vec(key(ADAPTER, &format!("{}.{which}", linear.name)), shape.0 * shape.1, scale);
            Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
        };
        let (a, b) = (half("lora_A", (recipe.r, input), scales[0]), half("lora_B", (out, recipe.r), scales[1]));
        linear.lora = Some(LoraLayer::new(&linear.name, &a, &b, recipe, dtype).unwrap());
    }
}

/// The two documents.
pub fn documents() -> [Vec<u32>; 2] {
    [(0, 11), (1, 7)].map(|(i, n)| {
        let order = permutation(key(DATA, &format!("document/{i}")), VOCAB);
        order[..n].iter().map(|id| u32::try_from(*id).unwrap()).collect()
    })
}

/// Documents laid end to end, the first `ignored` tokens of each no targets.
pub fn batch(documents: &[Vec<u32>], ignored: usize) -> Batch {
    let mut batch = Batch::default();
    for (row, ids) in documents.iter().enumerate() {
        let trained = (0..ids.len()).map(|i| i >= ignored.max(1)).collect();
        batch.push(&Example { ids: ids.clone(), trained }, u32::try_from(row).unwrap());
    }
    batch
}

/// Forward and backward of a loss that is `scale` times the sum of -log p over the targets.
pub fn train_sum(model: &Llama, batch: &Batch, training: &Training, scale: f64) -> TokenSums {
    let mut sums = TokenSums::default();
    let weigh = |rows: &[RowLoss]| {
        sums = TokenSums::of(rows);
        Some(vec![scale; rows.len()])
    };
    model.train(batch, training, weigh).unwrap();
    sums
}

/// A tensor's elements as f64.
pub fn elements(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}
