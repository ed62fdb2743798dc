//! DoRA beside PyTorch's autograd, PEFT and TRL: tests/oracles/train/dora.py.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use serde_json::Value;
use setaccio_train::{
    formats::peft::{self, AdapterFile, Beside},
    model::{
        config::Config,
        llama::Llama,
        load::{self, LoadOptions, Trainable},
    },
    random::{key, uniform_vec},
    recipe::Lora,
    trainer::Trainer,
};

use crate::{
    families::{ANGLES, compare, config},
    folders::{self, adapter_config, merge_into, open, same_bytes},
    formula::{FRESH, Formula, TRAINED, close, documents, model_folder, numbers, oracle, oracle_out, recipe},
    logits::logits,
    peft::{base, oracles},
    sft,
};

const ADAPTER: u64 = 2;

fn cases() -> serde_json::Map<String, Value> {
    oracle("dora.json")["cases"].as_object().unwrap().clone()
}

/// DoRA on every linear layer: A and B by formula, lengths of rows `moved` times those of the base.
fn model(config: &Config, of: Lora, (dtype, b, moved): (DType, f32, f64)) -> Llama {
    let lora = Lora { targets: config.targets(), use_dora: true, ..of };
    let options = LoadOptions { dtype, trainable: Trainable::Adapter(lora, 0), ..LoadOptions::default() };
    let model = load::model(config, &Formula, &options, &|_| true).unwrap();
    for param in model.params() {
        let value = if param.name.ends_with("lora_magnitude_vector") {
            (&param.value * moved).unwrap()
        } else {
            let (n, dims) = (param.value.elem_count(), param.value.dims());
            #[allow(clippy::cast_possible_truncation, reason = "rounded once, as the oracle does")]
            let scale = if param.name.ends_with("lora_A") { (1.0 / (dims[1] as f64).sqrt()) as f32 } else { b };
            Tensor::from_vec(uniform_vec(key(ADAPTER, &param.name), n, scale), dims, &Device::Cpu).unwrap()
        };
        param.put(&value).unwrap();
    }
    model
}

#[test]
fn gradients_equal_autograd() {
    for (name, want) in cases() {
        let model = model(&config(&want), recipe(), (DType::F64, TRAINED, 1.1));
        // PEFT takes the first lengths in 32 bits.
        compare(&name, &model, &want["loss"], &want["gradients"], ANGLES);
    }
}

#[test]
fn first_losses_equal_trl() {
    for (name, want) in cases() {
        let fresh = model(&config(&want), Lora { r: 8, alpha: 16.0, ..Lora::default() }, (DType::F32, FRESH, 1.0));
        let mut trainer = Trainer::new(fresh, &sft::recipe(), 50, 0).unwrap();
        let [losses, norms] = ["loss", "grad_norm"].map(|field| numbers(&want["sft"][field]));
        assert_eq!(losses.len(), 5);
        for (step, (loss, norm)) in (0..).zip(losses.iter().zip(&norms)) {
            let taken = trainer.step(&sft::batches(step, 1, 8), &|| false).unwrap();
            close(&format!("{name}, step {step}"), taken.loss(), *loss, 2e-6, 0.0);
            close(&format!("{name}, step {step}: norm"), taken.grad_norm, *norm, 1e-4, 0.0);
        }
    }
}

/// The model of a case, its adapter and both as one, in folders of `out`.
fn files(json: &Value, out: &Path) {
    folders::write(json, out, |files, _| {
        let model = model(files.config(), recipe(), (DType::F32, TRAINED, 1.1));
        let config = adapter_config(files.config().targets(), Beside { dora: true, ..Beside::default() });
        AdapterFile::of(config, &model, false).unwrap()
    });
}

#[test]
#[ignore = "writes the folders that dora.py reads"]
fn write_for_peft() {
    for (name, case) in cases() {
        files(&case["config"], &oracle_out().join(name));
    }
}

#[test]
fn files_and_merged_models_say_what_peft_says() {
    let ours = oracle("dora.json")["ours"].clone();
    for (name, case) in cases() {
        let (want, dir) = (&ours[&name], tempfile::tempdir().unwrap());
        files(&case["config"], dir.path());
        same_bytes(&want["sha256"], dir.path(), &name);
        let (base, mut adapted) = open(&dir.path().join("model"));
        let file = peft::load(&dir.path().join("adapter")).unwrap();
        file.fits(base.config(), dir.path()).unwrap();
        file.attach(&mut adapted).unwrap();
        let (_, merged) = open(&dir.path().join("merged"));
        let theirs = numbers(&want["adapted"]);
        let size = theirs.iter().fold(1.0_f64, |top, x| top.max(x.abs()));
        for (which, model) in [("with the adapter", adapted), ("merged", merged)] {
            let got = logits(&model, &documents()[0]);
            for (got, want) in got[got.len() - theirs.len()..].iter().zip(&theirs) {
                close(&format!("{name} {which}"), *got, *want, 0.0, 2e-5 * size);
            }
        }
        println!("{name}: merged in transformers {:.1e} apart", want["merged"].as_f64().unwrap());
        // A run goes on with it, and one that asks for plain LoRA does not.
        let mut fresh = model(&config(&case), recipe(), (DType::F32, FRESH, 1.0));
        file.copy_into(&mut fresh, dir.path()).unwrap();
        assert_eq!(logits(&fresh, &documents()[0]), {
            let trained = model(&config(&case), recipe(), (DType::F32, TRAINED, 1.1));
            logits(&trained, &documents()[0])
        });
        fresh.loras_mut().for_each(|lora| lora.dora = None);
        let error = file.copy_into(&mut fresh, dir.path()).unwrap_err().to_string();
        assert!(error.contains("is DoRA: set `lora.use_dora = true`"), "{error}");
    }
}

#[test]
fn what_peft_saved_says_what_peft_says() {
    let want = numbers(&oracle("dora.json")["peft"]);
    let folder = oracles().join("dora_peft");
    let file = peft::load(&folder).unwrap();
    file.fits(&base(), &folder).unwrap();
    let dir = tempfile::tempdir().unwrap();
    model_folder(&base().to_json().unwrap(), &dir.path().join("model"));
    let (files, mut adapted) = open(&dir.path().join("model"));
    file.attach(&mut adapted).unwrap();
    merge_into(&files, &folder, &dir.path().join("merged"));
    for (which, model) in [("with the adapter", &adapted), ("merged", &open(&dir.path().join("merged")).1)] {
        for (got, want) in logits(model, &[1, 17, 5, 63, 30]).iter().zip(&want) {
            close(which, *got, *want, 0.0, 2e-5);
        }
    }
    let again = dir.path().join("again");
    peft::save(&again, &file).unwrap();
    let read = peft::load(&again).unwrap();
    assert_eq!(read.config, file.config);
    assert!(read.magnitudes.keys().eq(file.tensors.keys()));
}
