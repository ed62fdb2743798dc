//! Optimisers and schedules beside PyTorch, bitsandbytes and transformers (tests/oracles/train/adamw.py).

use candle_core::{DType, Device, Tensor};
use serde_json::{Value, from_value};
use setaccio_base::{run_lock::Leg, sha256::hex_digest};
use setaccio_train::{
    optim::{
        Optimizer, Param,
        clip::{self, Norm},
        schedule::Rate,
    },
    random::{child, key, uniform_vec},
    recipe::Train,
};

use crate::formula::{close, numbers, oracle};

const STEPS: u32 = 50;
const LR: f64 = 1e-3;

fn bytes(tensor: &Tensor) -> Vec<u8> {
    match tensor.dtype() {
        DType::U8 => tensor.to_vec1().unwrap(),
        _ => tensor.to_vec1::<f32>().unwrap().iter().flat_map(|x| x.to_le_bytes()).collect(),
    }
}

/// The twin of `gradient` in the script.
#[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "an exponent below 12")]
fn gradient(name: &str, step: u32, n: usize) -> Vec<f32> {
    let moving = uniform_vec(child(key(5, &format!("gradient/{name}")), u64::from(step)), n, 1.0);
    let still = uniform_vec(key(5, &format!("drift/{name}")), n, 1.0);
    (0..n)
        .map(|i| if i % 10 == 3 { 0.0 } else { (moving[i] + still[i]) * 2.0_f32.powi(-((i / 64 % 12) as i32)) })
        .collect()
}

fn run(case: &Value) -> f64 {
    let text = |key: &str| case[key].as_str().unwrap();
    let (name, dtype) = (text("name"), if text("dtype") == "bfloat16" { DType::BF16 } else { DType::F32 });
    let n = usize::try_from(case["n"].as_u64().unwrap()).unwrap();
    let train = Train {
        optimizer: from_value(case["optimizer"].clone()).unwrap(),
        weight_decay: case["weight_decay"].as_f64().unwrap(),
        ..Train::default()
    };
    let mut optimizer = Optimizer::new(&train);
    let value = Tensor::from_vec(uniform_vec(key(5, &format!("value/{name}")), n, 0.5), n, &Device::Cpu).unwrap();
    let mut param = Param {
        name: "p".into(),
        value: value.to_dtype(dtype).unwrap(),
        grad: value.clone(),
        lr_scale: 1.0,
        decays: true,
    };
    let (mut shown, mut worst) = (case["shown"].as_array().unwrap().iter(), 0.0_f64);
    let mut next = shown.next();
    for step in 1..=STEPS {
        let mut g = gradient(name, step, n);
        if name.contains("not finite") {
            let bad = [(3, 5, f32::NAN), (4, 700, f32::INFINITY), (4, 4500, -f32::INFINITY), (30, 5, f32::INFINITY)];
            bad.iter().filter(|b| b.0 == step).for_each(|b| g[b.1] = b.2);
        }
        // Gradients of bf16 parameters are bf16 in PyTorch.
        param.grad = Tensor::new(g, &Device::Cpu).unwrap().to_dtype(dtype).unwrap().to_dtype(DType::F32).unwrap();
        let lr = LR * f64::from(STEPS - step + 1) / f64::from(STEPS);
        optimizer.step([&param], lr, case["grad_scale"].as_f64().unwrap()).unwrap();
        let Some(want) = next.filter(|s| s["step"] == step) else { continue };
        next = shown.next();
        let state = optimizer.state().unwrap();
        let moments: Vec<String> = state[1..].iter().map(|(_, t)| hex_digest(&bytes(t))).collect();
        assert_eq!(
            moments,
            from_value::<Vec<String>>(want["moments"].clone()).unwrap(),
            "{name}: moments of step {step}"
        );
        let values: Vec<f32> = param.value.to_dtype(DType::F32).unwrap().to_vec1().unwrap();
        for (i, want) in (0..n).step_by(n / 16).zip(numbers(&want["values"])) {
            let got = f64::from(values[i]);
            // Values are below 0.6, where neighbours in f32 are 6e-8 apart: PyTorch's square root may be off by one
            // unit, which now and then shows in the last digit of a value. In bf16 none does.
            worst = worst.max((got - want).abs());
            close(
                &format!("{name}: value {i} of step {step}"),
                got,
                want,
                0.0,
                if dtype == DType::F32 { 1e-7 } else { 0.0 },
            );
        }
        let sum: f64 = values.iter().map(|x| f64::from(*x)).sum();
        close(&format!("{name}: sum of step {step}"), sum, want["sum"].as_f64().unwrap(), 0.0, 1e-8 * n as f64);
    }
    assert!(next.is_none());
    worst
}

#[test]
fn fifty_steps_are_those_of_pytorch_and_bitsandbytes() {
    let oracle = oracle("adamw.json");
    for case in oracle["cases"].as_array().unwrap() {
        println!("{}: values within {:.1e}", case["name"], run(case));
    }
}

/// The settings of a case that a learning rate goes by.
fn scheduled(case: &Value) -> Train {
    Train {
        learning_rate: 2e-4,
        schedule: from_value(case["schedule"].clone()).unwrap(),
        warmup_steps: case["warmup_steps"].as_u64().unwrap(),
        warmup_ratio: case["warmup_ratio"].as_f64().unwrap(),
        ..Train::default()
    }
}

#[test]
fn learning_rates_are_those_of_transformers() {
    for case in oracle("adamw.json")["schedules"].as_array().unwrap() {
        let train = scheduled(case);
        let rate = Rate::new(&train, case["total"].as_u64().unwrap());
        for (step, want) in (0..).zip(numbers(&case["rates"])) {
            close(&format!("{case}: step {step}"), rate.at(step), want, 1e-14, 1e-20);
        }
    }
}

/// A run that goes on to another length. The rate of the first step after it is part of the state that PyTorch's optimiser
/// keeps, so there it is still that of the length before; here it is the new one from the first step on.
#[test]
fn learning_rates_of_another_length_are_those_of_transformers() {
    for case in oracle("adamw.json")["resumed"].as_array().unwrap() {
        let train = scheduled(case);
        let mut legs: Vec<Leg> = from_value::<Vec<(u64, u64)>>(case["legs"].clone())
            .unwrap()
            .into_iter()
            .map(|(until, steps)| Leg { until, steps })
            .collect();
        let total = legs.pop().unwrap().steps;
        let rate = Rate::new(&train, total).after(&legs);
        for (step, want) in (0..).zip(numbers(&case["rates"])) {
            if let Some(leg) = legs.iter().find(|leg| leg.until == step) {
                close(&format!("{case}: step {step}"), Rate::new(&train, leg.steps).at(step), want, 1e-14, 1e-20);
            } else {
                close(&format!("{case}: step {step}"), rate.at(step), want, 1e-14, 1e-20);
            }
        }
    }
}

#[test]
fn clipping_is_that_of_pytorch() {
    for case in oracle("adamw.json")["clip"].as_array().unwrap() {
        let number = |key: &str| case[key].as_f64().unwrap();
        #[allow(clippy::cast_possible_truncation, reason = "an f32 written in decimal")]
        let params = [(0, 1000), (1, 70_000)].map(|(i, n)| {
            let grad = uniform_vec(key(6, &format!("clip/{i}")), n, number("scale") as f32);
            let grad = Tensor::new(grad, &Device::Cpu).unwrap();
            Param { name: i.to_string(), value: grad.clone(), grad, lr_scale: 1.0, decays: true }
        });
        let Norm::Finite(norm) = clip::norm(&params).unwrap() else { panic!("{case}") };
        // PyTorch sums squares in f32.
        close("norm", norm, number("norm"), 1e-6, 0.0);
        close("factor", clip::scale(norm, number("max")), number("factor"), 1e-6, 0.0);
    }
}
