//! Preference training beside TRL's trainers on the model of the recipe `tiny`: tests/oracles/train/trl_preference.py.

use candle_core::DType;
use serde_json::Value;
use setaccio_train::{
    loss::Sums,
    model::llama::Llama,
    random::{bits, child, key},
    recipe::{Lora, Preference, PreferenceLoss},
};

use crate::{
    formula::{attach, close, numbers, oracle, tiny},
    preference::{self, Row},
};

const BATCH: u64 = 4;

/// Pair `r` of the oracle's data.
pub fn pair(r: u64) -> Row {
    let stream = |name: &str| key(3, &format!("preference/{name}"));
    let ids = |name: &str, shortest: u64, lengths: u64, first: u64, tokens: u64| -> Vec<u32> {
        let length = shortest + bits(stream(&format!("{name}/length")), r) % lengths;
        let id = |i| u32::try_from(first + bits(child(stream(name), r), i) % tokens).unwrap();
        (0..length).map(id).collect()
    };
    let ended = |mut answer: Vec<u32>| {
        answer.pop();
        answer.push(2);
        answer
    };
    [ids("prompt", 4, 9, 8, 500), ended(ids("chosen", 3, 10, 8, 40)), ended(ids("rejected", 3, 10, 28, 40))]
}

/// The rows of a step.
pub fn step(k: u64) -> Vec<Row> {
    (k * BATCH..(k + 1) * BATCH).map(pair).collect()
}

/// What each run was trained with.
pub fn settings(run: &str) -> Preference {
    let base = Preference::default();
    match run {
        "dpo" => base,
        "orpo" => Preference { loss: PreferenceLoss::Orpo, ..base },
        "kto" => Preference {
            loss: PreferenceLoss::Kto,
            desirable_weight: Some(1.25),
            undesirable_weight: Some(0.75),
            ..base
        },
        "simpo" => Preference { loss: PreferenceLoss::Simpo, ..base },
        other => panic!("no run {other}"),
    }
}

/// The model before the first step: B is zero.
pub fn start() -> Llama {
    let mut model = tiny(DType::F32);
    attach(&mut model, &Lora { r: 8, alpha: 16.0, ..Lora::default() }, true);
    model
}

/// Loss and metrics of step `k`, to a relative and an absolute tolerance.
pub fn compare(what: &str, sums: &Sums, run: &Value, k: usize, tolerance: [f64; 2]) {
    let mut got = sums.metrics();
    got.push(("loss", sums.loss()));
    for (metric, got) in got {
        // ORPO and CPO in TRL average logits over prompts and padding too, and write 0 for an NLL without weight.
        let unlike = metric == "nll_loss" && numbers(&run[metric]).iter().all(|x| *x == 0.0);
        if unlike || metric.starts_with("logits/") && run[metric].is_null() {
            continue;
        }
        close(&format!("{what}: {metric}"), got, numbers(&run[metric])[k], tolerance[0], tolerance[1]);
    }
}

#[test]
fn rows_are_those_of_the_oracle() {
    let oracle = oracle("trl_preference.json");
    for (r, want) in (0..).zip(oracle["rows"].as_array().unwrap()) {
        assert_eq!(pair(r), preference::row(want));
    }
    let totals = (0..200).map(pair).fold([0.0; 3], |sums, row| [0, 1, 2].map(|i| sums[i] + row[i].len() as f64));
    assert_eq!(totals.to_vec(), numbers(&oracle["tokens"]));
}

/// The first step is taken with learning rate 0, so that two steps see the model as it starts.
#[test]
fn first_steps_equal_trl() {
    let (oracle, model) = (oracle("trl_preference.json"), start());
    for run in ["dpo", "orpo", "kto", "simpo"] {
        let (want, p) = (&oracle["runs"][run], settings(run));
        close(run, p.beta(), want["beta"].as_f64().unwrap(), 0.0, 0.0);
        for k in 0..2 {
            let rows = step(k);
            let sums = if p.loss == PreferenceLoss::Kto {
                preference::judge_answers(&p, &model, &model, &rows, 0)
            } else {
                preference::judge_pairs(&p, &model, p.loss.needs_reference().then_some(&model), &rows, 0)
            };
            compare(&format!("{run}, step {k}"), &sums, want, usize::try_from(k).unwrap(), [1e-5; 2]);
        }
    }
    // Each run went somewhere in its 50 steps: a trainer that stood still would not pass.
    let fell = |run: &Value| {
        let loss = numbers(&run["loss"]);
        loss[40..].iter().sum::<f64>() < loss[..10].iter().sum::<f64>()
    };
    assert!(oracle["runs"].as_object().unwrap().values().all(fell));
}
