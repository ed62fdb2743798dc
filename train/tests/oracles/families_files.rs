//! Adapters and merged models of every family, in PEFT and transformers: tests/oracles/train/families_files.py.

use std::{collections::BTreeMap, fs, path::Path};

use candle_core::DType;
use setaccio_base::sha256::hex_digest;
use setaccio_train::{
    artifacts::merge::{Options, merge},
    formats::{
        model_files::ModelFiles,
        peft::{self, AdapterConfig, AdapterFile, Beside, Except, Targets},
    },
    model::{
        config::BlockLinear,
        llama::Llama,
        load::{self, LoadOptions},
    },
};

use crate::{
    families::variants,
    formula::{TRAINED, attach, close, documents, model_folder, numbers, oracle, oracle_out, recipe},
    logits::logits,
};

fn open(folder: &Path) -> (ModelFiles, Llama) {
    let files = ModelFiles::open(folder).unwrap();
    files.check().unwrap();
    let model = load::model(files.config(), &files, &LoadOptions::default(), &|_| true).unwrap();
    (files, model)
}

/// The model of a variant, an adapter and both as one, in folders of `out`.
fn files(config: &serde_json::Value, out: &Path) {
    let [base, adapter, merged] = ["model", "adapter", "merged"].map(|name| out.join(name));
    fs::create_dir_all(out).unwrap();
    model_folder(config, &base);
    let (files, mut model) = open(&base);
    attach(&mut model, &recipe(), TRAINED);
    let config = AdapterConfig {
        base: "formula".into(),
        revision: None,
        r: 4,
        alpha: 8.0,
        dropout: 0.0,
        rslora: false,
        targets: Targets::Names(files.config().linears().iter().map(|l| l.last().to_owned()).collect()),
        except: Except::default(),
        rank_pattern: Vec::new(),
        alpha_pattern: Vec::new(),
        beside: Beside::default(),
    };
    let file =
        AdapterFile { config, tensors: model.adapters().unwrap(), saved: BTreeMap::new(), magnitudes: BTreeMap::new() };
    assert_eq!(file.tensors.len(), files.config().layers * files.config().linears().len());
    peft::save(&adapter, &file).unwrap();
    let options = Options { dtype: Some(DType::F32), same_base: true, ..Options::default() };
    merge(&files, &adapter, &merged, &options, &()).unwrap();
}

#[test]
#[ignore = "writes the folders that families_files.py reads"]
fn write_for_transformers() {
    for (name, variant) in variants() {
        files(&variant["config"], &oracle_out().join(name));
    }
}

#[test]
fn adapters_and_merged_models_say_what_peft_says() {
    let want = oracle("families_files.json");
    for (name, variant) in variants() {
        let dir = tempfile::tempdir().unwrap();
        files(&variant["config"], dir.path());
        let want = &want[&name];
        let hashes: BTreeMap<String, String> = serde_json::from_value(want["sha256"].clone()).unwrap();
        assert!(hashes.len() > 3, "{name}");
        for (file, hash) in hashes {
            assert_eq!(hex_digest(&fs::read(dir.path().join(&file)).unwrap()), hash, "{name}: {file}");
        }
        let (base, mut adapted) = open(&dir.path().join("model"));
        let read = peft::load(&dir.path().join("adapter")).unwrap();
        read.fits(base.config(), dir.path()).unwrap();
        read.attach(&mut adapted).unwrap();
        let (_, merged) = open(&dir.path().join("merged"));
        let theirs = numbers(&want["adapted"]);
        let size = theirs.iter().fold(1.0_f64, |top, x| top.max(x.abs()));
        let mut worst = 0.0_f64;
        for (what, model) in [("with the adapter", adapted), ("merged", merged)] {
            let got = logits(&model, &documents()[0]);
            for (got, want) in got[got.len() - theirs.len()..].iter().zip(&theirs) {
                close(&format!("{name} {what}"), *got, *want, 0.0, 2e-5 * size);
                worst = worst.max((got - want).abs() / size);
            }
        }
        let apart = want["merged"].as_f64().unwrap() / size;
        assert!(apart < 2e-5, "{name}: {apart} in transformers");
        println!("{name}: at most {worst:.1e} of the largest logit from PEFT's, merged in transformers {apart:.1e}");
    }
}

/// A bias that is not said, or a target that the family does not have.
#[test]
fn targets_of_another_family_are_named() {
    let all = variants();
    let block = |name: &str| -> Vec<&'static str> {
        let config = &all[name]["config"];
        let config = setaccio_train::model::config::Config::from_json(Path::new("c"), config.as_object().unwrap());
        config.unwrap().linears().iter().map(BlockLinear::last).collect()
    };
    for (name, targets, said) in [
        ("qwen3", &["qkv_proj"][..], "`qkv_proj`, and this model's blocks have q_proj"),
        ("phi3", &["q_proj", "v_proj"], "`q_proj` without `k_proj`"),
        ("phi3", &["up_proj"], "`up_proj` without `gate_proj`"),
    ] {
        let lora = setaccio_train::recipe::Lora { targets: targets.iter().map(|t| (*t).into()).collect(), ..recipe() };
        let why = lora.targets_in(&block(name)).unwrap_err();
        assert!(why.starts_with(said), "{why}");
    }
    let lora = setaccio_train::recipe::Lora { targets: vec!["qkv_proj".into(), "o_proj".into()], ..recipe() };
    assert_eq!(lora.targets_in(&block("phi3")).unwrap(), ["qkv_proj", "o_proj"]);
}
