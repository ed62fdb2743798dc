//! Folders of a model, an adapter and both as one, which other programs read; and what the bytes of their files were.

use std::{collections::BTreeMap, fs, path::Path};

use candle_core::DType;
use serde_json::Value;
use setaccio_base::sha256::hex_digest;
use setaccio_train::{
    artifacts::merge::{Options, merge},
    formats::{
        model_files::ModelFiles,
        peft::{self, AdapterConfig, AdapterFile, Beside, Except, Targets},
    },
    model::{
        llama::Llama,
        load::{self, LoadOptions},
    },
};

use crate::formula::model_folder;

/// The model of a folder.
pub fn open(folder: &Path) -> (ModelFiles, Llama) {
    let files = ModelFiles::open(folder).unwrap();
    files.check().unwrap();
    let model = load::model(files.config(), &files, &LoadOptions::default(), &|_| true).unwrap();
    (files, model)
}

/// How the adapters here are to be applied: r 4, alpha 8.
pub fn adapter_config(targets: Vec<String>, beside: Beside) -> AdapterConfig {
    AdapterConfig {
        base: "formula".into(),
        revision: None,
        r: 4,
        alpha: 8.0,
        dropout: 0.0,
        rslora: false,
        targets: Targets::Names(targets),
        except: Except::default(),
        rank_pattern: Vec::new(),
        alpha_pattern: Vec::new(),
        beside,
    }
}

/// Write `model`, `adapter` and `merged` into `out`: the model that `json` describes, the adapter that is made of it, and both
/// as one.
pub fn write(json: &Value, out: &Path, adapter: impl FnOnce(&ModelFiles, Llama) -> AdapterFile) {
    fs::create_dir_all(out).unwrap();
    model_folder(json, &out.join("model"));
    let (files, model) = open(&out.join("model"));
    peft::save(&out.join("adapter"), &adapter(&files, model)).unwrap();
    merge_into(&files, &out.join("adapter"), &out.join("merged"));
}

/// Merge an adapter's folder into its model, in f32.
pub fn merge_into(files: &ModelFiles, adapter: &Path, merged: &Path) {
    let options = Options { dtype: Some(DType::F32), same_base: true, ..Options::default() };
    merge(files, adapter, merged, &options, &()).unwrap();
}

/// Check that files of `folder` have the SHA-256 that the oracle states of those which it read.
pub fn same_bytes(stated: &Value, folder: &Path, name: &str) {
    let hashes: BTreeMap<String, String> = serde_json::from_value(stated.clone()).unwrap();
    assert!(hashes.len() > 3, "{name}");
    for (file, hash) in hashes {
        assert_eq!(hex_digest(&fs::read(folder.join(&file)).unwrap()), hash, "{name}: {file}");
    }
}
