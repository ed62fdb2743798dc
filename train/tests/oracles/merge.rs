//! Merged models against PEFT with the adapter on, and in transformers: tests/oracles/train/merge.py.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use candle_core::{DType, Device, Tensor};
use serde::Deserialize;
use serde_json::json;
use setaccio_base::sha256::hex_digest;
use setaccio_train::{
    artifacts::merge::{Options, merge},
    formats::{
        model_files::ModelFiles,
        peft::{self, Targets},
        safetensors::to_bytes,
    },
    model::{
        config::Config,
        context::Mode,
        load::{self, LoadOptions, Source},
    },
};

use crate::{
    formula::{Formula, batch, close, elements, numbers, oracle},
    peft::{ours, theirs},
};

#[derive(Deserialize)]
struct Case {
    /// Largest difference of a logit between the merged folder in transformers and PEFT with the adapter on.
    apart: f64,
    /// The folder that transformers loaded.
    sha256: BTreeMap<String, String>,
}

/// The base of peft_files.py as a folder.
pub fn base(folder: &Path) -> ModelFiles {
    let json = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 64, "hidden_size": 32,
        "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 8, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "max_position_embeddings": 128,
        "tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "float32",
    });
    let config = Config::from_json(Path::new("config.json"), json.as_object().unwrap()).unwrap();
    let tensor = |(name, shape): (String, Vec<usize>)| {
        let tensor = Formula.tensor(&name, &shape).unwrap();
        (name, tensor)
    };
    fs::create_dir_all(folder).unwrap();
    let tensors = config.shapes().into_iter().map(tensor).collect();
    fs::write(folder.join("model.safetensors"), to_bytes(&tensors).unwrap()).unwrap();
    fs::write(folder.join("config.json"), json.to_string()).unwrap();
    ModelFiles::open(folder).unwrap()
}

/// A model with an adapter that adds nothing, as a folder.
pub fn folder_of(model: &Path, out: &Path, dtype: DType) {
    let base = ModelFiles::open(model).unwrap();
    let (name, [rows, columns]) = ("model.layers.0.self_attn.v_proj", {
        let shapes = base.config().shapes();
        let (_, shape) = shapes.iter().find(|(name, _)| name.ends_with("0.self_attn.v_proj.weight")).unwrap();
        [shape[0], shape[1]]
    });
    let zeros = |shape: (usize, usize)| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let mut file = ours();
    file.config.targets = Targets::Pattern(".*v_proj".into());
    file.tensors = BTreeMap::from([(name.to_owned(), (zeros((8, columns)), zeros((rows, 8))))]);
    let adapter = tempfile::tempdir().unwrap();
    peft::save(adapter.path(), &file).unwrap();
    let options = Options { dtype: Some(dtype), same_base: true, check: false, ..Options::default() };
    merge(&base, adapter.path(), out, &options, &()).unwrap();
}

#[test]
fn merged_folders_say_what_peft_says() {
    let dir = tempfile::tempdir().unwrap();
    let base = base(&dir.path().join("llama"));
    let (want, cases) = (oracle("peft_files.json"), std::env::var_os("SETACCIO_ORACLE_OUT").map(PathBuf::from));
    let adapter = dir.path().join("ours");
    peft::save(&adapter, &ours()).unwrap();
    let ids: Vec<u32> = numbers(&want["ids"]).into_iter().map(|id| format!("{id}").parse().unwrap()).collect();
    for (name, adapter) in [("theirs", theirs()), ("ours", adapter)] {
        // PEFT's own sums are not ours, so f32 is not exact either.
        for (dtype, shard_bytes, tolerance) in [(DType::F32, 10_000, 1e-5), (DType::BF16, 1 << 30, 0.1)] {
            let case = format!("{name}-{}", dtype.as_str());
            let out = cases.as_ref().map_or_else(|| dir.path().join(&case), |out| out.join(&case));
            let options = Options { dtype: Some(dtype), shard_bytes, ..Options::default() };
            let merged = merge(&base, &adapter, &out, &options, &()).unwrap();
            assert_eq!(merged.weights.shards > 1, dtype == DType::F32);
            let files = ModelFiles::open(&out).unwrap();
            let model = load::model(files.config(), &files, &LoadOptions::default(), &|_| true).unwrap();
            let hidden = model.hidden_states(&batch(std::slice::from_ref(&ids), 1), Mode::Eval).unwrap();
            let (got, want) = (elements(&model.head.logits(&hidden).unwrap()), numbers(&want["logits"][name]));
            assert_eq!((got.len(), want.len()), (5 * 64, 5 * 64));
            let mut worst = 0.0_f64;
            for (i, (got, want)) in got.into_iter().zip(want).enumerate() {
                close(&format!("{case}: logit {i}"), got, want, 0.0, tolerance);
                worst = worst.max((got - want).abs());
            }
            println!("{case}: largest residual beside PEFT {worst:e}, our check {:?}", merged.check);
            if cases.is_some() {
                continue;
            }
            let seen: Case = serde_json::from_value(oracle("merge.json")[&case].clone()).unwrap();
            assert!(seen.apart < tolerance && seen.sha256.len() > 1, "{case}");
            for (file, hash) in seen.sha256 {
                assert_eq!(hex_digest(&fs::read(out.join(&file)).unwrap()), hash, "{case}: {file}");
            }
        }
    }
}
