//! Every gradient of A and B beside PyTorch's autograd and beside finite differences, both in f64.

use candle_core::DType;
use serde_json::Value;
use setaccio_train::{
    data::Batch,
    kernels,
    model::{
        context::Pass,
        llama::{Llama, Training},
    },
    random::{bits, key},
    recipe::Lora,
};

use crate::formula::{TRAINED, attach, batch, close, documents, elements, model, numbers, oracle, recipe, train_sum};

fn training(neftune_alpha: f64, recompute: usize) -> Training {
    let pass = Pass { seed: 42, step: 0, micro: 0 };
    Training { pass, recompute, neftune_alpha }
}

fn ready(case: &Value, dtype: DType) -> (Llama, Batch, f64) {
    let recipe =
        Lora { rslora: case["rslora"].as_bool().unwrap(), dropout: case["dropout"].as_f64().unwrap(), ..recipe() };
    let mut model = model(case["variant"].as_str().unwrap(), dtype);
    attach(&mut model, &recipe, TRAINED);
    (model, batch(&documents(), 3), case["neftune"].as_f64().unwrap())
}

/// Loss and gradients of every case of the oracle, to `tolerance` of each tensor's norm.
fn compare(dtype: DType, tolerance: f64) {
    let oracle = oracle("gradients.json");
    for (name, case) in oracle["cases"].as_object().unwrap() {
        let (model, batch, neftune) = ready(case, dtype);
        assert_eq!(numbers(&oracle["ids"]), batch.ids.iter().map(|i| f64::from(*i)).collect::<Vec<_>>());
        let targets = batch.targets();
        let losses = train_sum(&model, &batch, &training(neftune, 1), 1.0 / targets as f64);
        close(name, losses.nll / targets as f64, case["loss"].as_f64().unwrap(), tolerance, 0.0);
        let mut total = 0.0;
        for param in model.params() {
            let got = elements(&param.grad);
            let norm = got.iter().map(|g| g * g).sum::<f64>().sqrt();
            total += norm * norm;
            let want = numbers(&case["gradients"][&param.name]);
            assert_eq!(want.len(), 8, "{name}: {} is in the oracle", param.name);
            let what = format!("{name}: {}", param.name);
            close(&what, norm, want[0], tolerance, 0.0);
            close(&what, got.iter().sum(), want[1], 0.0, tolerance * norm * (got.len() as f64).sqrt());
            for (j, want) in want[2..].iter().enumerate() {
                let at = usize::try_from(bits(key(4, &param.name), j as u64) % got.len() as u64).unwrap();
                close(&what, got[at], *want, tolerance, tolerance * norm);
            }
        }
        close(name, total.sqrt(), case["grad_norm"].as_f64().unwrap(), tolerance, 0.0);
    }
}

#[test]
fn equal_autograd_in_f64() {
    // The angles of the rotary embedding are rounded to f32 here, as models were trained with; the oracle's are not.
    compare(DType::F64, 1e-6);
}

#[test]
fn equal_autograd_in_f32() {
    compare(DType::F32, 2e-5);
}

#[test]
fn equal_finite_differences() {
    for case in ["plain", "qwen2-dropout", "plain-neftune"] {
        let case = &oracle("gradients.json")["cases"][case];
        let (model, batch, neftune) = ready(case, DType::F64);
        let targets = batch.targets();
        let loss = || train_sum(&model, &batch, &training(neftune, 0), 1.0 / targets as f64).nll / targets as f64;
        loss();
        let params = model.params();
        let gradients: Vec<Vec<f64>> = params.iter().map(|p| elements(&p.grad)).collect();
        for (param, gradient) in params.iter().zip(gradients) {
            let at = usize::try_from(bits(key(5, &param.name), 0) % gradient.len() as u64).unwrap();
            let (step, mut change) = (1e-5, vec![0.0_f64; gradient.len()]);
            change[at] = step;
            let change = candle_core::Tensor::from_vec(change, param.value.shape(), &candle_core::Device::Cpu).unwrap();
            kernels::add_(&param.value, &change, 1.0).unwrap();
            let above = loss();
            kernels::add_(&param.value, &change, -2.0).unwrap();
            let below = loss();
            kernels::add_(&param.value, &change, 1.0).unwrap();
            let slope = (above - below) / (2.0 * step);
            close(&param.name, gradient[at], slope, 1e-6, 1e-9);
        }
    }
}

#[test]
fn recomputation_changes_no_bit() {
    let case = &oracle("gradients.json")["cases"]["plain-dropout"];
    let gradients = [0, 1, 2].map(|recompute| {
        let (model, batch, _) = ready(case, DType::F32);
        let losses = train_sum(&model, &batch, &training(5.0, recompute), 1.0 / batch.targets() as f64);
        let bits = |x: f64| x.to_bits();
        let all: Vec<u64> = model.params().iter().flat_map(|p| elements(&p.grad)).map(bits).collect();
        (losses.nll.to_bits(), all)
    });
    assert!(gradients[0] == gradients[1] && gradients[1] == gradients[2]);
}

#[test]
fn threads_change_no_bit() {
    let case = &oracle("gradients.json")["cases"]["plain-dropout"];
    let gradients = [1, 2, 3].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let (model, batch, _) = ready(case, DType::F32);
            train_sum(&model, &batch, &training(0.0, 0), 1.0 / batch.targets() as f64);
            model.params().iter().flat_map(|p| elements(&p.grad)).map(f64::to_bits).collect::<Vec<_>>()
        })
    });
    assert!(gradients[0] == gradients[1] && gradients[1] == gradients[2]);
}
