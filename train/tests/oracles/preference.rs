//! Preference losses, slopes and metrics beside TRL's own: tests/oracles/train/preference.py.

use std::collections::BTreeMap;

use candle_core::DType;
use serde_json::Value;
use setaccio_train::{
    loss::{Answer, Denominators, Pair, PreferenceSums, UnpairedAnswer, pairs, unpaired},
    model::{context::Mode, layer::Layer, llama::Llama},
    recipe::{Preference, PreferenceLoss},
};

use crate::formula::{TRAINED, attach, batch, close, elements, model, numbers, oracle, recipe};

fn preference(case: &Value) -> Preference {
    let read: Preference = serde_json::from_value(case["preference"].clone()).unwrap();
    read.check().unwrap();
    read
}

fn name(case: &Value) -> &str {
    case["name"].as_str().unwrap()
}

/// Every metric that TRL has is there, and is the same.
fn compare(name: &str, sums: &PreferenceSums, loss: f64, metrics: &Value, absolute: f64) {
    close(&format!("{name}: loss"), sums.loss(), loss, 1e-6, 1e-6);
    let got: BTreeMap<_, _> = sums.metrics().into_iter().collect();
    for (metric, want) in metrics.as_object().unwrap() {
        let got = got.get(metric.as_str()).unwrap_or_else(|| panic!("{name}: no {metric} among {got:?}"));
        close(&format!("{name}: {metric}"), *got, want.as_f64().unwrap(), 1e-6, absolute);
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of tokens")]
fn answer(value: &[f64]) -> Answer {
    Answer { logp: value[0], tokens: value[1] as u64 }
}

/// What the means of a whole step are over, if these rows are the step.
pub fn of(loss: PreferenceLoss, rows: &[Pair]) -> Denominators {
    let nll = |p: &Pair| if loss == PreferenceLoss::Orpo { p.text.tokens } else { p.chosen.tokens };
    Denominators { rows: rows.len() as u64, tokens: rows.iter().map(nll).sum() }
}

#[test]
fn losses_slopes_and_metrics_equal_trl() {
    let oracle = oracle("preference.json");
    let cases = oracle["losses"].as_array().unwrap();
    assert_eq!(cases.len(), 25);
    for case in cases {
        let (name, p) = (name(case), preference(case));
        let loss = case["loss"].as_f64().unwrap();
        let (sums, slopes) = if p.loss == PreferenceLoss::Kto {
            let row = |row: &Value| UnpairedAnswer {
                answer: answer(&numbers(&row.as_array().unwrap()[..2].into())),
                reference: row[2].as_f64().unwrap(),
                desirable: row[3].as_bool().unwrap(),
            };
            let rows: Vec<_> = case["judged"].as_array().unwrap().iter().map(row).collect();
            unpaired(&p, &rows, case["kl"].as_f64().unwrap(), Denominators { rows: rows.len() as u64, tokens: 0 })
        } else {
            let row = |row: &Value| {
                let [chosen, rejected, text] = ["chosen", "rejected", "text"].map(|key| answer(&numbers(&row[key])));
                let reference = numbers(&row["reference"]).try_into().unwrap();
                Pair { chosen, rejected, reference, text }
            };
            let rows: Vec<_> = case["pairs"].as_array().unwrap().iter().map(row).collect();
            let (sums, slopes) = pairs(&p, &rows, of(p.loss, &rows));
            (sums, slopes.iter().flat_map(|s| [s.chosen, s.rejected, s.text]).collect())
        };
        compare(name, &sums, loss, &case["metrics"], 1e-6);
        let want = numbers(&case["slopes"]);
        assert_eq!(slopes.len(), want.len());
        for (i, (got, want)) in slopes.into_iter().zip(want).enumerate() {
            close(&format!("{name}: slope {i}"), got, want, 1e-6, 1e-9);
        }
    }
}

/// A prompt with an answer, as a model sees it.
#[derive(Clone, Copy, Default)]
pub struct Scored {
    /// The answer.
    pub answer: Answer,
    /// Both, but for the first token.
    pub text: Answer,
    /// Sum over the answer's tokens of the mean over the vocabulary of the logits.
    pub logits: f64,
}

/// Score `answer` after `prompt`, both together cut to `longest` tokens, if that is not 0.
pub fn score(model: &Llama, prompt: &[u32], answer: &[u32], longest: usize) -> Scored {
    let mut ids = [prompt, answer].concat();
    ids.truncate(if longest == 0 { ids.len() } else { longest });
    let hidden = model.hidden_states(&batch(std::slice::from_ref(&ids), 1), Mode::Eval).unwrap();
    let logits = elements(&model.head.logits(&hidden).unwrap());
    let vocabulary = logits.len() / ids.len();
    let mut scored = Scored::default();
    for (t, (row, next)) in logits.chunks(vocabulary).zip(&ids[1..]).enumerate() {
        let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let logp = row[*next as usize] - top - row.iter().map(|x| (x - top).exp()).sum::<f64>().ln();
        let add = |to: &mut Answer| *to = Answer { logp: to.logp + logp, tokens: to.tokens + 1 };
        add(&mut scored.text);
        if t + 1 >= prompt.len() {
            add(&mut scored.answer);
            scored.logits += row.iter().sum::<f64>() / vocabulary as f64;
        }
    }
    scored
}

/// Prompt, chosen and rejected answer.
pub type Row = [Vec<u32>; 3];

/// PreferenceSums of one micro-batch of pairs.
pub fn judge_pairs(
    p: &Preference,
    model: &Llama,
    reference: Option<&Llama>,
    rows: &[Row],
    longest: usize,
) -> PreferenceSums {
    let mut logits = [(0.0, 0); 2];
    let mut pair = |[prompt, chosen, rejected]: &Row| {
        let scored = [chosen, rejected].map(|answer| score(model, prompt, answer, longest));
        for (sum, s) in logits.iter_mut().zip(&scored) {
            *sum = (sum.0 + s.logits, sum.1 + s.answer.tokens);
        }
        let under = |answer| reference.map_or(0.0, |model| score(model, prompt, answer, longest).answer.logp);
        Pair {
            chosen: scored[0].answer,
            rejected: scored[1].answer,
            reference: [under(chosen), under(rejected)],
            text: scored[0].text,
        }
    };
    let rows: Vec<Pair> = rows.iter().map(&mut pair).collect();
    let (sums, _) = pairs(p, &rows, of(p.loss, &rows));
    PreferenceSums { logits: logits.map(|l| l.0), logit_tokens: logits.map(|l| l.1), ..sums }
}

/// PreferenceSums of one micro-batch of judged answers: the chosen of rows 0, 2 .., the rejected of the others.
pub fn judge_answers(p: &Preference, model: &Llama, reference: &Llama, rows: &[Row], longest: usize) -> PreferenceSums {
    let answer = |i: usize| &rows[i][1 + i % 2];
    let mut logits = [(0.0, 0); 2];
    let (mut kl, mut list) = (0.0, Vec::new());
    for (i, [prompt, ..]) in rows.iter().enumerate() {
        let other = answer((i + rows.len() - 1) % rows.len());
        let both = [model, reference].map(|m| score(m, prompt, other, longest).answer.logp);
        kl += (both[0] - both[1]) / rows.len() as f64;
        let scored = score(model, prompt, answer(i), longest);
        logits[i % 2] = (logits[i % 2].0 + scored.logits, logits[i % 2].1 + scored.answer.tokens);
        let reference = score(reference, prompt, answer(i), longest).answer.logp;
        list.push(UnpairedAnswer { answer: scored.answer, reference, desirable: i % 2 == 0 });
    }
    let (sums, _) = unpaired(p, &list, kl, Denominators { rows: rows.len() as u64, tokens: 0 });
    PreferenceSums { logits: logits.map(|l| l.0), logit_tokens: logits.map(|l| l.1), ..sums }
}

/// A row of the oracle.
pub fn row(value: &Value) -> Row {
    let ids = |v: &Value| v.as_array().unwrap().iter().map(|id| u32::try_from(id.as_u64().unwrap()).unwrap()).collect();
    ["prompt", "chosen", "rejected"].map(|key| ids(&value[key]))
}

/// The formula model as TRL's trainers saw it: masked prompts, cut sequences, a reference that is the bare base or, for
/// an adapter that is continued, its copy.
#[test]
fn whole_models_equal_trl() {
    let oracle = oracle("preference.json");
    let rows: Vec<Row> = oracle["rows"].as_array().unwrap().iter().map(row).collect();
    let adapted = |moved: f64| {
        let mut model = model("plain", DType::F64);
        attach(&mut model, &recipe(), TRAINED);
        for lora in model.layers.iter_mut().flat_map(Layer::linears_mut).filter_map(|l| l.lora.as_mut()) {
            lora.b.value = (&lora.b.value + moved).unwrap();
        }
        model
    };
    let (base, start, moved) = (model("plain", DType::F64), adapted(0.0), adapted(oracle["moved"].as_f64().unwrap()));
    for case in oracle["models"].as_array().unwrap() {
        let p = preference(case);
        let longest = usize::try_from(case["max_length"].as_u64().unwrap()).unwrap();
        let (model, reference) = if case["continued"].as_bool().unwrap() { (&moved, &start) } else { (&start, &base) };
        let sums = if p.loss == PreferenceLoss::Kto {
            judge_answers(&p, model, reference, &rows, longest)
        } else {
            judge_pairs(&p, model, p.loss.needs_reference().then_some(reference), &rows, longest)
        };
        // TRL's head gives f32 whatever the model is in. Log-probabilities between 32 and 64 nats lie 3.8e-6 apart there,
        // and rewards are differences of these.
        compare(name(case), &sums, case["loss"].as_f64().unwrap(), &case["metrics"], 4e-6);
    }
}
