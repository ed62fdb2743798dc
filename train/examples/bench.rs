//! One side of `just bench-train`: steps of LoRA training on random tokens, timed.
use std::time::Instant;

use candle_core::{Device, Tensor};
use setaccio_train::{
    Result,
    data::{Batch, Example},
    lora,
    model::{
        config::Config,
        llama::Training,
        load::{self, Hold, Source},
        pass::Pass,
    },
    random::{bits, key, uniform_vec},
    recipe::Lora,
};

struct Random;
impl Source for Random {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let n = shape.iter().product();
        Ok(Tensor::from_vec(uniform_vec(key(0, name), n, 0.05), shape, &Device::Cpu)?)
    }
}

fn status(field: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find(|l| l.starts_with(field)).unwrap_or_default().to_owned();
    line.split_whitespace().nth(1).and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

fn main() -> Result<()> {
    let args: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let (batch, length, recompute) = (args[0], args[1], args[2]);
    let json = serde_json::json!({
        "model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536,
        "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "rms_norm_eps": 1e-5,
        "max_position_embeddings": 2048, "rope_theta": 100000.0, "tie_word_embeddings": true,
    });
    let config = Config::from_json(std::path::Path::new("config.json"), json.as_object().unwrap())?;
    println!("start rss {:.0} MiB", status("VmRSS"));
    let mut model = load::model(&config, &Random, &Hold::plain(), &|_| true)?;
    let dropout = std::env::var("DROPOUT").ok().and_then(|d| d.parse().ok()).unwrap_or(0.0);
    lora::attach(&mut model, &Lora { dropout, ..Lora::default() }, 1)?;
    println!("loaded rss {:.0} MiB, weights {:.0} MiB", status("VmRSS"), model.bytes() as f64 / 1048576.0);
    let mut data = Batch::default();
    for row in 0..batch {
        let ids: Vec<u32> =
            (0..length).map(|i| (bits(key(1, "ids"), (row * length + i) as u64) % 49152) as u32).collect();
        data.push(&Example { trained: vec![true; length], ids }, row as u32);
    }
    for step in 0..4 {
        let began = Instant::now();
        let pass = Pass { seed: 1, step, micro: 0 };
        let losses = model
            .train(&data, &Training { pass, scale: 1.0 / data.targets() as f64, recompute, neftune_alpha: 0.0 })?;
        for p in model.params() {
            p.grad.zero_set()?;
        }
        let s = began.elapsed().as_secs_f64();
        println!(
            "step {step}: {:.3} s, {:.0} tok/s, nll {:.4}, rss {:.0} peak {:.0} MiB",
            s,
            data.tokens() as f64 / s,
            losses.nll / losses.targets as f64,
            status("VmRSS"),
            status("VmHWM")
        );
    }
    Ok(())
}
