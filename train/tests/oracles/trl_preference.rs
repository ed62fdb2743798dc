//! Preference training beside TRL's trainers on the model of the recipe `tiny`: tests/oracles/train/trl_preference.py.

use candle_core::{DType, Device, Tensor};
use serde_json::Value;
use setaccio_train::{
    Result,
    artifacts::tiny::Tiny,
    data::{
        Batch, Example, MicroBatch,
        micro::{PairBatch, Question, UnpairedBatch},
    },
    formats::model_files::ModelFiles,
    loss::PreferenceSums,
    model::{
        config::Config,
        llama::Llama,
        load::{self, LoadOptions, Source, Trainable},
    },
    random::{bits, child, key, normal_vec},
    recipe::{Lora, Method, Preference, PreferenceLoss, Recipe, Task},
    trainer::Trainer,
};

use crate::{
    formula::{FRESH, attach, close, elements, numbers, oracle, tiny},
    preference::{self, Row},
    sft,
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
    match run.split('_').next().unwrap() {
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
    attach(&mut model, &Lora { r: 8, alpha: 16.0, ..Lora::default() }, FRESH);
    model
}

/// The model of `tiny` with a head of its own.
struct Untied(ModelFiles);

impl Source for Untied {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        if name != "lm_head.weight" {
            return self.0.tensor(name, shape);
        }
        let values = normal_vec(key(42, name), shape.iter().product(), 0.02);
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
    }
}

/// The model of a run before the first step, and what trains it. What is trained whole beside the adapter, or in its place, is
/// said behind the name of the loss.
fn begin(run: &str) -> (Llama, Recipe) {
    let mut recipe = sft::recipe();
    (recipe.task, recipe.preference) = (Task::Preference, Some(settings(run)));
    recipe.train.learning_rate = 5e-3;
    let Some((_, how)) = run.split_once('_') else { return (start(), recipe) };
    recipe.train.learning_rate = 1e-3;
    let trainable = if how == "full" {
        recipe.method = Method::Full;
        Trainable::Weights
    } else {
        recipe.lora.modules_to_save = ["embed_tokens", "lm_head", "norm"].map(String::from).to_vec();
        Trainable::Adapter(recipe.lora.clone(), 0)
    };
    let folder = tempfile::tempdir().unwrap();
    Tiny::new(512, 42).make(folder.path()).unwrap();
    let files = ModelFiles::open(folder.path()).unwrap();
    let config = Config { tie_word_embeddings: false, ..files.config().clone() };
    let options = LoadOptions { trainable, ..LoadOptions::default() };
    let mut model = load::model(&config, &Untied(files), &options, &|_| true).unwrap();
    if how == "saved" {
        attach(&mut model, &recipe.lora, FRESH);
    }
    (model, recipe)
}

const RUNS: [&str; 8] = ["dpo", "orpo", "kto", "simpo", "dpo_saved", "kto_saved", "dpo_full", "kto_full"];

/// Loss and metrics of step `k`, to a relative and an absolute tolerance.
pub fn compare(what: &str, sums: &PreferenceSums, run: &Value, k: usize, tolerance: [f64; 2]) {
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
    let oracle = oracle("trl_preference.json");
    for run in RUNS {
        let (want, p, model) = (&oracle["runs"][run], settings(run), begin(run).0);
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

/// A row's question with an answer, of which the answer is learned, or the question, too.
fn text(row: &Row, side: usize, question: Question) -> Example {
    let ids = [row[0].as_slice(), &row[side]].concat();
    Example { trained: (0..ids.len()).map(|t| question == Question::Learned || t >= row[0].len()).collect(), ids }
}

fn question(p: &Preference) -> Question {
    if p.loss == PreferenceLoss::Orpo { Question::Learned } else { Question::Given }
}

/// A step's rows as the trainer sees them.
fn micro(p: &Preference, k: u64) -> MicroBatch {
    let rows = (0_u32..).zip(step(k));
    if p.loss == PreferenceLoss::Kto {
        let one = |(i, row): (u32, Row)| (i, text(&row, 1 + i as usize % 2, Question::Given), i % 2 == 0);
        return MicroBatch::Unpaired(UnpairedBatch::new(&rows.map(one).collect::<Vec<_>>(), 1024));
    }
    let rows: Vec<_> =
        rows.map(|(i, row)| (i, text(&row, 1, Question::Given), text(&row, 2, Question::Given))).collect();
    let pairs = PairBatch::new(&rows, question(p));
    assert!(pairs.batch.shared.iter().any(|shared| *shared > 0), "questions are shared");
    MicroBatch::Pairs(pairs)
}

/// Loss, rewards, the other metrics and the gradient's norm of every step. A thousandth is asked for.
#[test]
fn fifty_steps_equal_trl() {
    let oracle = oracle("trl_preference.json");
    for run in RUNS {
        let (want, p, (model, recipe)) = (&oracle["runs"][run], settings(run), begin(run));
        let mut trainer = Trainer::new(model, &recipe, 50, 0).unwrap();
        let (mut drift, mut worst) = (0.0, [0.0_f64; 2]);
        for k in 0..50 {
            let taken = trainer.step(&[micro(&p, k)], &|| false).unwrap();
            let (what, k) = (format!("{run}, step {k}"), usize::try_from(k).unwrap());
            compare(&what, &taken.metrics.sums, want, k, [1e-3, 1e-3]);
            let [loss, norm] = ["loss", "grad_norm"].map(|name| numbers(&want[name])[k]);
            close(&format!("{what}: gradient norm"), taken.grad_norm, norm, 1e-3, 0.0);
            drift += (taken.loss() - loss) / 50.0;
            worst = [worst[0].max((taken.loss() - loss).abs()), worst[1].max((taken.grad_norm / norm - 1.0).abs())];
        }
        println!("{run}: loss within {:.1e}, gradient norm {:.1e}, mean residual {drift:.1e}", worst[0], worst[1]);
        assert!(drift.abs() < 1e-4, "{run}: mean residual {drift}");
        let learned = want["adapter"].as_object().unwrap();
        assert_eq!(learned.len(), trainer.params.len());
        for param in &trainer.params {
            let norm = elements(&param.value).iter().map(|x| x * x).sum::<f64>().sqrt();
            close(&format!("{run}: norm of {}", param.name), norm, numbers(&learned[&param.name])[0], 1e-3, 0.0);
        }
    }
}

/// A question that both answers share gives what two whole texts give, and pairs in several micro-batches what they
/// give together.
#[test]
fn sharing_and_accumulation_change_nothing() {
    for run in ["dpo", "orpo", "simpo"] {
        let p = settings(run);
        let mut recipe = sft::recipe();
        (recipe.task, recipe.preference) = (Task::Preference, Some(p.clone()));
        let MicroBatch::Pairs(shared) = micro(&p, 3) else { panic!("pairs") };
        let mut apart = PairBatch { batch: Batch::default(), ..shared.clone() };
        for (i, row) in (0_u32..).zip(step(3)) {
            apart.batch.push(&text(&row, 1, question(&p)), i);
            apart.batch.push(&text(&row, 2, Question::Given), i);
        }
        let rows =
            (0_u32..).zip(step(3)).map(|(i, row)| (i, text(&row, 1, Question::Given), text(&row, 2, Question::Given)));
        let single = rows.map(|row| MicroBatch::Pairs(PairBatch::new(&[row], question(&p)))).collect::<Vec<_>>();
        let taken = [vec![MicroBatch::Pairs(shared)], vec![MicroBatch::Pairs(apart)], single]
            .map(|step| Trainer::new(start(), &recipe, 50, 0).unwrap().step(&step, &|| false).unwrap());
        for other in &taken[1..] {
            close(run, other.loss(), taken[0].loss(), 1e-6, 0.0);
            close(run, other.grad_norm, taken[0].grad_norm, 1e-5, 0.0);
        }
    }
}
