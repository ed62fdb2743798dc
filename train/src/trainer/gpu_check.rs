//! Whole steps of training of small models: a GPU in bf16 beside the CPU in f32, with heads of 64 and of 128, adapters and
//! every weight, an MLP or experts, texts and pairs of answers that share their question.

use std::path::Path;

use candle_core::{DType, Device, Tensor};

use super::{StepError, StepOutcome, Trainer};
use crate::{
    data::{
        Batch, Example, MicroBatch,
        micro::{PairBatch, Question},
    },
    error::{Error, Result},
    kernels::gpu_check::Gpu,
    model::{
        config::Config,
        load::{self, LoadOptions, Source, Trainable},
    },
    random::{bits, key, uniform_vec},
    recipe::{Method, Recipe, Task},
};

/// What loss and gradient norm may differ by: bf16 has three digits, and errors of many numbers cancel out.
const ALLOWED: f64 = 0.01;
const STEPS: usize = 2;
const VOCAB: u64 = 300;

struct Case {
    name: &'static str,
    /// `model_type`, query heads, key heads, their width.
    model: (&'static str, usize, usize, usize),
    recipe: &'static str,
}

const CASES: [Case; 4] = [
    Case {
        name: "adapter, heads of 64",
        model: ("llama", 4, 2, 64),
        recipe: "task = 'sft'\n[model]\npath = 'none'\nquantization = 'nf4'\n[lora]\nr = 8\nalpha = 16\ndropout = 0.1\n",
    },
    Case {
        name: "pairs, heads of 128",
        model: ("llama", 4, 1, 128),
        recipe: "task = 'preference'\n[preference]\nloss = 'dpo'\nbeta = 0.1\n[model]\npath = 'none'\nquantization = 'nf4'\n\
                 [lora]\nr = 8\nalpha = 16\ndropout = 0.0\n",
    },
    Case {
        name: "every weight, heads of 64",
        model: ("qwen2", 3, 1, 64),
        recipe: "task = 'sft'\nmethod = 'full'\n[model]\npath = 'none'\n",
    },
    Case {
        name: "experts, heads of 64",
        model: ("mixtral", 3, 1, 64),
        recipe: "task = 'sft'\n[model]\npath = 'none'\nquantization = 'nf4'\n[lora]\nr = 8\nalpha = 16\n",
    },
];

/// Tensors drawn by their names, in bf16 as files have them; norms about 1.
struct Drawn(u64);

impl Source for Drawn {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let (middle, scale) = if name.ends_with("norm.weight") { (1.0, 0.3) } else { (0.0, 0.1) };
        let mut values = uniform_vec(key(self.0, name), shape.iter().product(), scale);
        for value in &mut values {
            *value += middle;
        }
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(DType::BF16)?)
    }
}

fn config(case: &Case) -> Result<Config> {
    let (family, heads, keys, width) = case.model;
    let json = serde_json::json!({
        "model_type": family, "vocab_size": VOCAB, "hidden_size": 192, "intermediate_size": 320, "num_hidden_layers": 2,
        "num_attention_heads": heads, "num_key_value_heads": keys, "head_dim": width, "rms_norm_eps": 1e-5,
        "rope_theta": 10_000.0, "max_position_embeddings": 512, "tie_word_embeddings": false,
    });
    let map = json.as_object().cloned().unwrap_or_default();
    Config::from_json(Path::new(case.name), &map)
}

fn recipe(case: &Case) -> Result<Recipe> {
    let text = format!(
        "name = 'step'\n{}[data]\ntrain = ['none']\n[train]\nlearning_rate = 1e-3\nschedule = 'constant'\n",
        case.recipe
    );
    toml::from_str(&text).map_err(|error| Error::Other(error.to_string()))
}

fn batch(seed: u64, task: Task) -> MicroBatch {
    let stream = key(seed, "ids");
    let mut drawn = 0;
    let mut ids = |n: u64| -> Vec<u32> {
        drawn += n;
        (drawn - n..drawn).map(|i| u32::try_from(bits(stream, i) % VOCAB).unwrap_or(0)).collect()
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

fn steps(gpu: &Gpu, case: &Case, device: &Device, again: usize) -> Result<Vec<StepOutcome>> {
    let (config, recipe) = (config(case)?, recipe(case)?);
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
    let model = load::model(&config, &Drawn(gpu.seed), &options, &|_| true)?;
    let mut trainer = Trainer::new(model, &recipe, 100, again)?;
    let micros = [batch(gpu.seed, recipe.task)];
    let step = |_| {
        trainer.step(&micros, &|| false).map_err(|fault| match fault {
            StepError::Error(error) => error,
            StepError::Diverged(what) => Error::Other(format!("{what} is not finite")),
        })
    };
    (0..STEPS).map(step).collect()
}

pub fn step(gpu: &Gpu) -> Result<()> {
    for case in &CASES {
        let want = steps(gpu, case, &Device::Cpu, 0)?;
        let got = steps(gpu, case, gpu.device(), 0)?;
        for (i, (got, want)) in got.iter().zip(&want).enumerate() {
            let shape = &format!("{}, step {}", case.name, i + 1);
            gpu.say("step loss", shape, (got.loss() / want.loss() - 1.0).abs(), ALLOWED);
            gpu.say("step gradient norm", shape, (got.grad_norm / want.grad_norm - 1.0).abs(), ALLOWED);
        }
        // Layers computed again are computed alike: the same numbers to the bit.
        let again = steps(gpu, case, gpu.device(), 2)?;
        let bits = |all: &[StepOutcome]| -> Vec<_> {
            all.iter().map(|o| (o.loss().to_bits(), o.grad_norm.to_bits())).collect()
        };
        gpu.same("step twice, recomputed", case.name, &bits(&again), &bits(&got));
    }
    Ok(())
}
