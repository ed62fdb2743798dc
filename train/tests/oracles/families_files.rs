//! Adapters and merged models of every family, in PEFT and transformers: tests/oracles/train/families_files.py.

use std::{collections::BTreeMap, path::Path};

use setaccio_train::{
    formats::peft::{self, AdapterFile, Beside},
    model::{config::Config, layer::Layer},
};

use crate::{
    families::variants,
    folders::{self, adapter_config, open, same_bytes},
    formula::{TRAINED, attach, close, documents, numbers, oracle, oracle_out, recipe},
    logits::logits,
};

/// All linear layers; of a model that has experts in some layers only those of the attention, for PEFT has no adapter on the rest.
fn targets(config: &Config) -> Vec<String> {
    let mut all = config.targets();
    if config.experts.as_ref().is_some_and(|experts| experts.without.contains(&true)) {
        all.truncate(4);
    }
    all
}

/// The model of a variant, an adapter and both as one, in folders of `out`.
fn files(config: &serde_json::Value, out: &Path) {
    folders::write(config, out, |files, mut model| {
        attach(&mut model, &recipe(), TRAINED);
        let targets = targets(files.config());
        for linear in model.layers.iter_mut().flat_map(Layer::linears_mut) {
            linear.lora = linear.lora.take().filter(|_| targets.iter().any(|target| linear.name.ends_with(target)));
        }
        let tensors = model.adapters().unwrap();
        let all = model.layers.iter().flat_map(Layer::linears).filter(|linear| linear.lora.is_some()).count();
        assert!(tensors.len() == all && all >= 4 * files.config().layers);
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
    let block = |name: &str| -> Vec<String> {
        let config = &all[name]["config"];
        Config::from_json(Path::new("c"), config.as_object().unwrap()).unwrap().targets()
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
