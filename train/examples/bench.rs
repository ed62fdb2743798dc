//! Our side of `just bench-train`: steps of LoRA training of a real model on random ids, all of them targets, timed as
//! `benches/peers/train_torch.py` times PyTorch. Prints one line of JSON.
//!
//!     bench MODEL [batch=4] [length=512] [steps=5] [rank=16] [dropout=0] [recompute=0] [quantization=none] [dtype=f32]
//!         [adapter=plain|dora|tables]     tables: embedding, head and norms trained whole beside the adapter

use std::{collections::BTreeMap, path::Path, time::Instant};

use candle_core::{DType, Device};
use serde_json::json;
use setaccio_train::{
    Error, Result,
    data::{Batch, Example, MicroBatch},
    device,
    formats::model_files::ModelFiles,
    memory::{self, Memory},
    model::load::{self, LoadOptions, Trainable},
    random::{bits, key},
    recipe::{Quantization, Recipe},
    trainer::{StepError, Trainer},
};

#[allow(clippy::cast_precision_loss, reason = "shown to one digit")]
fn mib(bytes: Option<usize>) -> f64 {
    (bytes.unwrap_or(0) as f64 / 1_048_576.0 * 10.0).round() / 10.0
}

fn main() -> Result<()> {
    setaccio_base::large_buffers::keep();
    setaccio_base::parallel::take_part();
    let mut args = std::env::args().skip(1);
    let model = args.next().ok_or_else(|| Error::Other("name a model: a Hugging Face folder or a GGUF file".into()))?;
    let given: BTreeMap<String, String> =
        args.filter_map(|a| a.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()))).collect();
    let number = |name: &str, default: usize| given.get(name).and_then(|v| v.parse().ok()).unwrap_or(default);
    let (batch, length, steps) = (number("batch", 4), number("length", 512), number("steps", 5));
    let recompute = number("recompute", 0);
    let dropout = given.get("dropout").map_or("0", String::as_str);
    let dtype = given.get("dtype").map_or("f32", String::as_str);
    let quantization = given.get("quantization").map_or("none", String::as_str);
    let adapter = given.get("adapter").map_or("plain", String::as_str);
    let lora = match adapter {
        "plain" => "",
        "dora" => "use_dora = true",
        "tables" => "modules_to_save = ['embed_tokens', 'lm_head', 'norm']",
        other => return Err(Error::Other(format!("adapter={other}: plain, dora or tables"))),
    };
    let recipe = format!(
        "name = 'bench'\n[model]\npath = '{model}'\nquantization = '{quantization}'\n[data]\ntrain = ['none']\n\
         [lora]\nr = {}\nalpha = 16\ndropout = {dropout}\n{lora}\n[train]\nlearning_rate = 1e-4\nschedule = 'constant'\ndtype = '{dtype}'\n",
        number("rank", 16)
    );
    let mut recipe: Recipe = toml::from_str(&recipe).map_err(|e| Error::Other(e.to_string()))?;

    let before = memory::resident();
    let files = ModelFiles::open(Path::new(&model))?;
    let config = files.config();
    if config.tie_word_embeddings {
        recipe.lora.tie();
    }
    let options = LoadOptions {
        quantization: recipe.model.quantization,
        trainable: Trainable::Adapter(recipe.lora.clone(), recipe.seed),
        products: device::products(recipe.train.dtype, &Device::Cpu)?,
        ..LoadOptions::default()
    };
    let plan = Memory::new(config, &recipe, files.dtype("model.embed_tokens.weight")?, DType::F32);
    let llama = load::model(config, &files, &options, &|_| true)?;
    let loaded = memory::resident();
    // The kernel's mark is set back, so that what unpacking a file took does not count, here as there.
    std::fs::write("/proc/self/clear_refs", "5").map_err(Error::io("write", "/proc/self/clear_refs"))?;
    let mut trainer = Trainer::new(llama, &recipe, steps as u64 + 1, recompute)?;
    let random = key(1, "bench");
    let mut rows = Batch::default();
    for row in 0..batch {
        let id = |i: usize| bits(random, (row * length + i) as u64) % config.vocab_size as u64;
        let ids = (0..length).map(|i| u32::try_from(id(i)).unwrap_or(0)).collect();
        rows.push(&Example { ids, trained: vec![true; length] }, 0);
    }
    let targets = rows.targets();
    let batches = [MicroBatch::Texts(rows)];
    let (mut seconds, mut losses) = (Vec::new(), Vec::new());
    for _ in 0..=steps {
        let began = Instant::now();
        let taken = trainer.step(&batches, &|| false).map_err(|fault| match fault {
            StepError::Error(error) => error,
            StepError::Diverged(what) => Error::Other(format!("{what} is not finite")),
        })?;
        seconds.push(began.elapsed().as_secs_f64());
        losses.push(taken.loss());
    }
    let mut timed = seconds.split_off(1);
    timed.sort_by(f64::total_cmp);
    #[allow(clippy::cast_precision_loss, reason = "small")]
    let speed = (batch * length) as f64 / timed[timed.len() / 2];
    let predicted = plan.parts(batch * length, targets, recompute).total() + before.unwrap_or(0);
    let peak = memory::peak();
    println!(
        "{}",
        json!({
            "batch": batch, "length": length, "threads": rayon::current_num_threads(), "recompute": recompute,
            "dropout": dropout, "quantization": quantization, "dtype": dtype, "adapter": adapter,
            "tokens_per_second": (speed * 10.0).round() / 10.0, "step_seconds": timed,
            "peak_rss_mib": mib(peak), "predicted_mib": mib(Some(predicted)),
            "rss_before_model_mib": mib(before), "rss_after_model_mib": mib(loaded),
            "loss_first": losses[0], "loss_last": losses[losses.len() - 1],
            "quantized": recipe.model.quantization == Quantization::Nf4,
        })
    );
    Ok(())
}
