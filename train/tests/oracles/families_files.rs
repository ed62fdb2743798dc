//! Adapters and merged models of every family, in PEFT and transformers: tests/oracles/train/families_files.py.

use std::{collections::BTreeMap, path::Path};

use setaccio_train::{
    formats::peft::{self, AdapterFile, Beside},
    model::config::BlockLinear,
};

use crate::{
    families::variants,
    folders::{self, adapter_config, open, same_bytes},
    formula::{TRAINED, attach, close, documents, numbers, oracle, oracle_out, recipe},
    logits::logits,
};

/// The model of a variant, an adapter and both as one, in folders of `out`.
fn files(config: &serde_json::Value, out: &Path) {
    folders::write(config, out, |files, mut model| {
        attach(&mut model, &recipe(), TRAINED);
        let linears = files.config().linears();
        let targets = linears.iter().map(|l| l.last().to_owned()).collect();
        let tensors = model.adapters().unwrap();
        assert_eq!(tensors.len(), files.config().layers * linears.len());
        let config = adapter_config(targets, Beside::default());
        AdapterFile { config, tensors, saved: BTreeMap::new(), magnitudes: BTreeMap::new() }
    });
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
        same_bytes(&want["sha256"], dir.path(), &name);
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
