//! Whole steps of training of small models: a GPU in bf16 beside the CPU in f32, with heads of 64 and of 128, adapters and
//! every weight, an MLP or experts, texts and pairs of answers that share their question, and what only some families have.

use candle_core::{DType, Device};

use super::{StepError, StepOutcome, Trainer};
use crate::{
    data::{
        Batch, Example, MicroBatch,
        micro::{PairBatch, Question},
    },
    error::{Error, Result},
    kernels::gpu_check::Gpu,
    model::{
        drawn::{Drawn, GEMMA, GRANITE, PHI, Small, VOCAB},
        load::{self, LoadOptions, Trainable},
    },
    random::{bits, key},
    recipe::{Method, Recipe, Task},
};

/// What loss and gradient norm may differ by: bf16 has three digits, and errors of many numbers cancel out.
const ALLOWED: f64 = 0.01;
const STEPS: usize = 2;

struct Case {
    name: &'static str,
    model: Small,
    recipe: &'static str,
    /// More of `[train]`.
    train: &'static str,
}

/// Of a Llama or a relative that says nothing else: query heads, key heads, their width.
const fn plain(family: &'static str, heads: [usize; 3]) -> Small {
    Small { family, heads, more: "{}" }
}

const CASES: [Case; 8] = [
    Case {
        name: "adapter, heads of 64",
        model: plain("llama", [4, 2, 64]),
        recipe: "task = 'sft'\n[model]\npath = 'none'\nquantization = 'nf4'\n[lora]\nr = 8\nalpha = 16\ndropout = 0.1\n",
        train: "",
    },
    Case {
        name: "pairs, heads of 128",
        model: plain("llama", [4, 1, 128]),
        recipe: "task = 'preference'\n[preference]\nloss = 'dpo'\nbeta = 0.1\n[model]\npath = 'none'\nquantization = 'nf4'\n\
                 [lora]\nr = 8\nalpha = 16\ndropout = 0.0\n",
        train: "",
    },
    Case {
        name: "every weight, heads of 64",
        model: plain("qwen2", [3, 1, 64]),
        recipe: "task = 'sft'\nmethod = 'full'\n[model]\npath = 'none'\n",
        train: "",
    },
    Case {
        name: "experts, heads of 64",
        model: plain("mixtral", [3, 1, 64]),
        recipe: "task = 'sft'\n[model]\npath = 'none'\nquantization = 'nf4'\n[lora]\nr = 8\nalpha = 16\n",
        train: "",
    },
    Case {
        name: "windows, caps, scaled embeddings",
        model: GEMMA,
        recipe: "task = 'sft'\n[model]\npath = 'none'\n[lora]\nr = 8\nalpha = 16\ndropout = 0.0\n",
        train: "",
    },
    Case {
        name: "scaled residuals",
        model: GRANITE,
        recipe: "task = 'sft'\nmethod = 'full'\n[model]\npath = 'none'\n",
        train: "",
    },
    Case {
        name: "one matrix for q, k and v",
        model: PHI,
        recipe: "task = 'sft'\n[model]\npath = 'none'\nquantization = 'nf4'\n[lora]\nr = 8\nalpha = 16\ndropout = 0.1\n",
        train: "",
    },
    Case {
        // Of this rank every half is large enough for moments in 8 bits.
        name: "adapter in bf16, moments in 8 bits",
        model: plain("llama", [4, 2, 64]),
        recipe: "task = 'sft'\n[model]\npath = 'none'\n[lora]\nr = 32\nalpha = 32\ndropout = 0.0\ndtype = 'bf16'\n",
        train: "optimizer = 'adamw_8bit'\n",
    },
];

fn recipe(case: &Case) -> Result<Recipe> {
    let text = format!(
        "name = 'step'\n{}[data]\ntrain = ['none']\n[train]\nlearning_rate = 1e-3\nschedule = 'constant'\n{}",
        case.recipe, case.train
    );
    toml::from_str(&text).map_err(|error| Error::Other(error.to_string()))
}

fn batch(seed: u64, task: Task) -> MicroBatch {
    let stream = key(seed, "ids");
    let mut drawn = 0;
    let mut ids = |n: u64| -> Vec<u32> {
        drawn += n;
        (drawn - n..drawn).map(|i| u32::try_from(bits(stream, i) % u64::from(VOCAB)).unwrap_or(0)).collect()
    };
    if task == Task::Preference {
        let mut answer = |question: &[u32], n| {
            let ids = [question, &ids(n)].concat();
            Example { trained: (0..ids.len()).map(|i| i >= question.len()).collect(), ids }
        };
        let questions = [answer(&[], 37).ids, answer(&[], 5).ids];
        let rows = [
            (0, answer(&questions[0], 30), answer(&questions[0], 20)),
            (1, answer(&questions[1], 1), answer(&questions[1], 66)),
        ];
        return MicroBatch::Pairs(PairBatch::new(&rows, Question::Given));
    }
    let mut batch = Batch::default();
    for (row, length) in (0..).zip([70, 33, 5]) {
        let ids = ids(length);
        batch.push(&Example { trained: (0..ids.len()).map(|i| i % 5 != 2).collect(), ids }, row);
    }
    MicroBatch::Texts(batch)
}

/// What a checkpoint holds of one trainer is put into another, by way of main memory.
fn put_back(from: &Trainer, mut to: Trainer, device: &Device) -> Result<Trainer> {
    for (own, kept) in to.params.iter().zip(&from.params) {
        own.put(&kept.value.to_device(&Device::Cpu)?)?;
    }
    let state = from.optimizer.state()?.into_iter().map(|(name, t)| Ok((name, t.to_device(&Device::Cpu)?)));
    to.optimizer.load_state(state, device)?;
    Ok(to)
}

/// With `again` layers computed again; if `resumed`, by another trainer from the second step on.
fn steps(gpu: &Gpu, case: &Case, device: &Device, (again, resumed): (usize, bool)) -> Result<Vec<StepOutcome>> {
    let (config, recipe) = (case.model.config()?, recipe(case)?);
    let trainable = match recipe.method {
        Method::Lora => Trainable::Adapter(recipe.lora.clone(), recipe.seed),
        Method::Full => Trainable::Weights,
    };
    let options = LoadOptions {
        quantization: recipe.model.quantization,
        double_quant: true,
        dtype: if device.is_cpu() { DType::F32 } else { DType::BF16 },
        device: device.clone(),
        trainable,
        ..LoadOptions::default()
    };
    let fresh = || {
        let model = load::model(&config, &Drawn(gpu.seed), &options, &|_| true)?;
        Trainer::new(model, &recipe, 100, again)
    };
    let mut trainer = fresh()?;
    let micros = [batch(gpu.seed, recipe.task)];
    let step = |i| {
        if resumed && i == 1 {
            trainer = put_back(&trainer, fresh()?, device)?;
        }
        trainer.step(&micros, &|| false).map_err(|fault| match fault {
            StepError::Error(error) => error,
            StepError::Diverged(what) => Error::Other(format!("{what} is not finite")),
        })
    };
    (0..STEPS).map(step).collect()
}

pub fn step(gpu: &Gpu) -> Result<()> {
    for case in &CASES {
        let want = steps(gpu, case, &Device::Cpu, (0, false))?;
        let got = steps(gpu, case, gpu.device(), (0, false))?;
        for (i, (got, want)) in got.iter().zip(&want).enumerate() {
            let shape = &format!("{}, step {}", case.name, i + 1);
            gpu.say("step loss", shape, (got.loss() / want.loss() - 1.0).abs(), ALLOWED);
            gpu.say("step gradient norm", shape, (got.grad_norm / want.grad_norm - 1.0).abs(), ALLOWED);
        }
        // Layers computed again are computed alike, and what is resumed goes on: the same numbers to the bit.
        let again = steps(gpu, case, gpu.device(), (2, false))?;
        let resumed = steps(gpu, case, gpu.device(), (0, true))?;
        let bits = |all: &[StepOutcome]| -> Vec<_> {
            all.iter().map(|o| (o.loss().to_bits(), o.grad_norm.to_bits())).collect()
        };
        gpu.same("step twice, recomputed", case.name, &bits(&again), &bits(&got));
        gpu.same("step twice, resumed", case.name, &bits(&resumed), &bits(&got));
    }
    Ok(())
}
