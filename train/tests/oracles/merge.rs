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
    artifacts::merge::{MergeReport, Options, merge},
    formats::{
        model_files::ModelFiles,
        peft::{self, Targets},
    },
    model::{
        context::Mode,
        load::{self, LoadOptions},
    },
};

use crate::{
    formula::{batch, close, elements, model_folder, numbers, oracle, oracle_out},
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
    model_folder(&json, folder);
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

/// Adapters, types and sizes of shards: what merge.py reads. PEFT's own sums are not ours, so f32 is not exact either.
const CASES: [(&str, DType, u64, f64); 4] = [
    ("theirs", DType::F32, 10_000, 1e-5),
    ("theirs", DType::BF16, 1 << 30, 0.1),
    ("ours", DType::F32, 10_000, 1e-5),
    ("ours", DType::BF16, 1 << 30, 0.1),
];

/// Merge one case into a folder of its name in `out`.
fn merged(adapter: &str, dtype: DType, shard_bytes: u64, out: &Path) -> (PathBuf, MergeReport) {
    let dir = tempfile::tempdir().unwrap();
    let base = base(&dir.path().join("llama"));
    peft::save(&dir.path().join("ours"), &ours()).unwrap();
    let folder = if adapter == "theirs" { theirs() } else { dir.path().join("ours") };
    let out = out.join(format!("{adapter}-{}", dtype.as_str()));
    let options = Options { dtype: Some(dtype), shard_bytes, ..Options::default() };
    let merged = merge(&base, &folder, &out, &options, &()).unwrap();
    (out, merged)
}

#[test]
#[ignore = "writes the folders that merge.py reads"]
fn write_for_transformers() {
    for (adapter, dtype, shard_bytes, _) in CASES {
        merged(adapter, dtype, shard_bytes, &oracle_out());
    }
}

#[test]
fn merged_folders_say_what_peft_says() {
    let (dir, want) = (tempfile::tempdir().unwrap(), oracle("peft_files.json"));
    let ids: Vec<u32> = numbers(&want["ids"]).into_iter().map(|id| format!("{id}").parse().unwrap()).collect();
    for (name, dtype, shard_bytes, tolerance) in CASES {
        let (out, merged) = merged(name, dtype, shard_bytes, dir.path());
        let case = format!("{name}-{}", dtype.as_str());
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
        let seen: Case = serde_json::from_value(oracle("merge.json")[&case].clone()).unwrap();
        assert!(seen.apart < tolerance && seen.sha256.len() > 1, "{case}");
        for (file, hash) in seen.sha256 {
            assert_eq!(hex_digest(&fs::read(out.join(&file)).unwrap()), hash, "{case}: {file}");
        }
    }
}
