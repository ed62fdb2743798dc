//! Training upon weights in NF4 and from PiSSA's start: neither changes what is computed elsewhere.

use candle_core::DType;
use setaccio_train::{
    formats::peft::{self, AdapterConfig, AdapterFile, Beside, Except, Targets},
    model::{
        context::{Mode, Pass},
        layer::Layer,
        llama::{Llama, Training},
        load::{self, LoadOptions, Trainable},
        weight::Weight,
    },
    recipe::{Init, LINEARS, Lora, Quantization},
    trainer::Trainer,
};

use crate::{
    formula::{Formula, TRAINED, attach, batch, close, config, documents, elements, model, recipe, train_sum},
    sft,
};

/// A variant with its linear layers in NF4.
pub fn in_nf4(variant: &str, dtype: DType, double_quant: bool) -> Llama {
    let options = LoadOptions { quantization: Quantization::Nf4, double_quant, dtype, ..LoadOptions::default() };
    let model = load::model(&config(variant), &Formula, &options, &|_| true).unwrap();
    assert!(model.layers.iter().flat_map(Layer::linears).all(|l| matches!(l.weight, Weight::Nf4(_))));
    model
}

fn logits(model: &Llama) -> Vec<f64> {
    elements(&model.head.logits(&model.hidden_states(&batch(&documents(), 1), Mode::Eval).unwrap()).unwrap())
}

/// The largest difference.
fn apart(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn nf4_trains_as_its_dequantised_weights_do() {
    for (variant, double_quant) in [("plain", true), ("plain", false), ("qwen2", true), ("mixtral", true)] {
        let mut packed = in_nf4(variant, DType::F32, double_quant);
        let mut dense = packed.clone();
        for linear in dense.layers.iter_mut().flat_map(Layer::linears_mut) {
            linear.weight = Weight::Dense(linear.weight.dense(DType::F32).unwrap().into());
        }
        let mut whole = model(variant, DType::F32);
        let recipe = Lora { dropout: 0.2, ..recipe() };
        let [packed, dense, whole] = [&mut packed, &mut dense, &mut whole].map(|model| {
            attach(model, &recipe, TRAINED);
            let batch = batch(&documents(), 3);
            let pass = Pass { seed: 42, step: 0, micro: 0 };
            let scale = 1.0 / batch.targets() as f64;
            let losses = train_sum(model, &batch, &Training { pass, recompute: 1, neftune_alpha: 0.0 }, scale);
            let gradients: Vec<Vec<f64>> = model.params().iter().map(|p| elements(&p.grad)).collect();
            assert_eq!(gradients.len(), if variant == "mixtral" { 2 * 2 * (4 + 3 * 3) } else { 28 });
            assert!(gradients.iter().all(|g| g.iter().any(|x| *x != 0.0)), "{variant}: every gradient is alive");
            (losses.nll, gradients.concat())
        });
        let bits = |(nll, gradients): &(f64, Vec<f64>)| {
            (nll.to_bits(), gradients.iter().map(|g| g.to_bits()).collect::<Vec<_>>())
        };
        assert!(bits(&packed) == bits(&dense), "{variant}: not the same bits");
        assert!(apart(&packed.1, &whole.1) > 1e-4, "{variant}: quantising did something");
    }
}

#[test]
fn pissa_starts_from_the_model_as_it_was_and_ends_as_plain_lora() {
    for rslora in [false, true] {
        let base = model("plain", DType::F32);
        let recipe = Lora { init: Init::Pissa, rslora, ..recipe() };
        let options = LoadOptions { trainable: Trainable::Adapter(recipe.clone(), 7), ..LoadOptions::default() };
        let model = load::model(&config("plain"), &Formula, &options, &|_| true).unwrap();
        let (start, before) = (model.adapters().unwrap(), logits(&base));
        let moved = apart(&logits(&model), &before);
        println!("rsLoRA {rslora}: PiSSA's start moves logits by {moved:e}");
        assert!(moved < 1e-5, "{moved:e}");

        let mut trainer = Trainer::new(model, &sft::recipe(), 50, 0).unwrap();
        (0..50).for_each(|k| assert!(trainer.step(&sft::batches(k, 4, 1), &|| false).unwrap().loss().is_finite()));
        let trained = logits(&trainer.model);
        assert!(apart(&trained, &before) > 0.1, "it has learned: {:e}", apart(&trained, &before));
        let adapter = AdapterFile {
            config: AdapterConfig {
                base: "formula".into(),
                revision: None,
                r: recipe.r,
                alpha: recipe.alpha,
                dropout: 0.0,
                rslora,
                targets: Targets::Names(LINEARS.map(str::to_owned).to_vec()),
                except: Except::default(),
                rank_pattern: Vec::new(),
                alpha_pattern: Vec::new(),
                beside: Beside::default(),
            },
            tensors: trainer.model.adapters().unwrap(),
            saved: std::collections::BTreeMap::new(),
            magnitudes: std::collections::BTreeMap::new(),
        };
        // As a file, so that its ranks are checked too.
        let dir = tempfile::tempdir().unwrap();
        peft::save(dir.path(), &adapter.without_start(&start).unwrap()).unwrap();
        let mut with_plain = base.clone();
        peft::load(dir.path()).unwrap().attach(&mut with_plain).unwrap();
        let residual = apart(&logits(&with_plain), &trained);
        println!("rsLoRA {rslora}: as plain LoRA upon the whole base, logits are {residual:e} away");
        close("plain LoRA", residual, 0.0, 0.0, 1e-4);
        // Without the conversion it would not do.
        adapter.attach(&mut with_plain).unwrap();
        assert!(apart(&logits(&with_plain), &trained) > 0.1);
    }
}
