//! Every family beside transformers, PyTorch's autograd and TRL: tests/oracles/train/families.py.

use std::path::Path;

use candle_core::DType;
use serde_json::Value;
use setaccio_train::{
    generate::generate,
    inference::sampling::Sampling,
    kernels::RowLoss,
    loss::TokenSums,
    model::{
        config::Config,
        context::{Mode, Pass},
        llama::{Llama, Training},
        load::{self, LoadOptions, Trainable},
    },
    random::{bits, key},
    recipe::Lora,
    trainer::Trainer,
};

use crate::{
    formula::{FRESH, Formula, TRAINED, attach, batch, close, documents, elements, numbers, oracle, recipe, train_sum},
    logits::logits,
    sft,
};

pub fn variants() -> serde_json::Map<String, Value> {
    oracle("families.json")["variants"].as_object().unwrap().clone()
}

pub fn config(variant: &Value) -> Config {
    Config::from_json(Path::new("config.json"), variant["config"].as_object().unwrap()).unwrap()
}

fn model(variant: &Value, dtype: DType, trainable: Trainable) -> Llama {
    let options = LoadOptions { dtype, trainable, ..LoadOptions::default() };
    load::model(&config(variant), &Formula, &options, &|_| true).unwrap()
}

fn last(all: &[f64], vocab: usize) -> &[f64] {
    &all[all.len() - vocab..]
}

#[test]
fn logits_and_what_is_written_equal_transformers() {
    for (name, want) in variants() {
        let model = model(&want, DType::F32, Trainable::Nothing);
        let vocab = config(&want).vocab_size;
        let mut worst = 0.0_f64;
        for (i, ids) in documents().iter().enumerate() {
            let got = logits(&model, ids);
            let theirs = numbers(&want["logits"][i]);
            let size = theirs.iter().fold(1.0_f64, |top, x| top.max(x.abs()));
            for (got, want) in last(&got, vocab).iter().zip(&theirs) {
                close(&format!("{name}, document {i}"), *got, *want, 0.0, 1e-5 * size);
                worst = worst.max((got - want).abs() / size);
            }
            let losses = model.evaluate(&batch(std::slice::from_ref(ids), 1)).unwrap();
            close(&name, losses.nll / losses.targets as f64, want["nll"][i].as_f64().unwrap(), 1e-6, 0.0);
        }
        let written = generate(&model, &documents()[0], (&[], 8), &Sampling::default(), &mut |_| true).unwrap();
        let greedy: Vec<u32> = serde_json::from_value(want["greedy"].clone()).unwrap();
        assert_eq!(written, greedy, "{name}");
        println!("{name}: logits are at most {worst:.1e} of the largest apart");
    }
}

/// What neighbours say changes nothing, whatever windows and lengths decide.
#[test]
fn packed_documents_do_not_see_each_other() {
    for (name, want) in variants() {
        let model = model(&want, DType::F32, Trainable::Nothing);
        let [one, two] = documents();
        let together = model.target_losses(&batch(&[one.clone(), two.clone()], 1), Mode::Eval).unwrap();
        let nll = |rows: &[RowLoss]| TokenSums::of(rows).nll / rows.len() as f64;
        let (first, second) = together.split_at(one.len() - 1);
        for (got, want) in [(first, &want["nll"][0]), (second, &want["nll"][1])] {
            close(&name, nll(got), want.as_f64().unwrap(), 1e-6, 0.0);
        }
    }
}

/// Every gradient of a loss over both documents beside the oracle's samples, each to `tolerance` of its norm.
pub fn compare(name: &str, model: &Llama, loss: &Value, gradients: &Value, tolerance: f64) {
    let batch = batch(&documents(), 3);
    let targets = batch.targets() as f64;
    let pass = Pass { seed: 42, step: 0, micro: 0 };
    let losses = train_sum(model, &batch, &Training { pass, recompute: 1, neftune_alpha: 0.0 }, 1.0 / targets);
    close(name, losses.nll / targets, loss.as_f64().unwrap(), tolerance, 0.0);
    let params = model.params();
    assert_eq!(params.len(), gradients.as_object().unwrap().len(), "{name}");
    let mut worst = 0.0_f64;
    for param in params {
        let (got, want) = (elements(&param.grad), numbers(&gradients[&param.name]));
        let norm = got.iter().map(|g| g * g).sum::<f64>().sqrt();
        let what = format!("{name}: {}", param.name);
        close(&what, norm, want[0], tolerance, 1e-12);
        close(&what, got.iter().sum(), want[1], 0.0, tolerance * want[0] * (got.len() as f64).sqrt() + 1e-12);
        for (j, want) in want[2..].iter().enumerate() {
            let at = usize::try_from(bits(key(4, &param.name), j as u64) % got.len() as u64).unwrap();
            close(&what, got[at], *want, tolerance, tolerance * norm + 1e-12);
            worst = worst.max((got[at] - want).abs() / norm.max(1e-9));
        }
    }
    println!("{name}: gradients are at most {worst:.1e} of their norm apart");
}

/// Rotary angles are rounded to f32 here, as models were trained with; the oracle's are not.
pub const ANGLES: f64 = 3e-6;

#[test]
fn gradients_of_adapters_equal_autograd() {
    for (name, want) in variants() {
        let mut model = model(&want, DType::F64, Trainable::Nothing);
        attach(&mut model, &recipe(), TRAINED);
        compare(&name, &model, &want["lora_loss"], &want["lora"], ANGLES);
    }
}

#[test]
fn gradients_of_weights_equal_autograd() {
    for (name, want) in variants() {
        let model = model(&want, DType::F64, Trainable::Weights);
        compare(&name, &model, &want["loss"], &want["whole"], ANGLES);
    }
}

#[test]
fn first_losses_equal_trl() {
    for (name, want) in variants() {
        // transformers keeps the frequencies of the longest row so far, ours goes by each row.
        assert_eq!(want["sft"].is_null(), name == "dynamic", "{name}");
        if want["sft"].is_null() {
            continue;
        }
        let mut model = model(&want, DType::F32, Trainable::Nothing);
        attach(&mut model, &Lora { r: 8, alpha: 16.0, ..Lora::default() }, FRESH);
        let mut trainer = Trainer::new(model, &sft::recipe(), 50, 0).unwrap();
        let [losses, norms] = ["loss", "grad_norm"].map(|field| numbers(&want["sft"][field]));
        assert_eq!(losses.len(), 5);
        let mut worst = 0.0_f64;
        for (step, (loss, norm)) in (0..).zip(losses.iter().zip(&norms)) {
            let taken = trainer.step(&sft::batches(step, 1, 8), &|| false).unwrap();
            close(&format!("{name}, step {step}"), taken.loss(), *loss, 1e-6, 0.0);
            close(&format!("{name}, step {step}: norm"), taken.grad_norm, *norm, 1e-4, 0.0);
            worst = worst.max((taken.loss() / loss - 1.0).abs());
        }
        println!("{name}: the first five losses are at most {worst:.1e} of themselves apart");
    }
}

#[test]
fn what_transformers_saves_is_written_back() {
    for (name, want) in variants() {
        let read = config(&want);
        let json = read.to_json().unwrap();
        let again = Config::from_json(Path::new("config.json"), json.as_object().unwrap()).unwrap();
        assert_eq!(again, Config { dtype: again.dtype, ..read }, "{name}");
    }
}

/// The recipe's seven names mean all layers of a block, whatever they are called.
#[test]
fn all_targets_are_all_linear_layers() {
    for (name, want) in variants() {
        let block = config(&want).targets();
        assert_eq!(Lora::default().targets_in(&block).unwrap(), block, "{name}");
    }
}
