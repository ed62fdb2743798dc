//! Texts on a GPU in bf16 beside the CPU in f32: what a prompt's tokens have for log-probabilities, and tokens that are written
//! one by one over the KV cache beside the same tokens read as a prompt.

use std::sync::{Arc, mpsc};

use candle_core::{DType, Device};

use super::{
    engine::{Engine, Limits},
    request::{Event, Request, Scored, Task, Writing},
};
use crate::{
    error::{Error, Result},
    kernels::gpu_check::Gpu,
    model::{
        drawn::{Drawn, GEMMA, PHI, Small, VOCAB},
        load::{self, LoadOptions},
    },
    random::{bits, key},
};

/// What log-probabilities, which are about 6, may differ by on average: bf16 has three digits.
const ALLOWED: f64 = 0.05;
/// Tokens that are written.
const MORE: usize = 12;
const LLAMA: Small = Small { family: "llama", heads: [4, 2, 64], more: "{}" };

/// What came of a request: the prompt's tokens and the new ones.
#[derive(Default)]
struct Answer {
    prompt: Vec<Scored>,
    tokens: Vec<Scored>,
}

fn engine(small: &Small, seed: u64, device: &Device) -> Result<Engine> {
    let dtype = if device.is_cpu() { DType::F32 } else { DType::BF16 };
    let options = LoadOptions { dtype, device: device.clone(), ..LoadOptions::default() };
    let model = load::model(&small.config()?, &Drawn(seed), &options, &|_| true)?;
    Engine::new(vec![Arc::new(model)], 512, Limits { rows: 400, texts: 4, keep_prompts: true })
}

/// The answers to prompts beside each other: log-probabilities of all their tokens, and `more` new ones.
fn answers(engine: &mut Engine, prompts: &[Vec<u32>], more: usize) -> Result<Vec<Answer>> {
    let mut told = Vec::new();
    for prompt in prompts {
        let (sender, receiver) = mpsc::channel();
        told.push(receiver);
        let task = Writing { max_tokens: more, logprobs: Some(0), prompt_logprobs: Some(0), ..Writing::default() };
        let (prompt, task) = (prompt.clone(), Task::Write(task));
        let answer = Box::new(move |event: Event| sender.send(event).is_ok());
        engine.submit(Request { model: 0, prompt, task, answer });
    }
    while !engine.idle() {
        engine.step()?;
    }
    let mut all = Vec::new();
    for told in told {
        let mut answer = Answer::default();
        for event in told.try_iter() {
            match event {
                Event::Prompt(scores) => answer.prompt = scores,
                Event::Token(token) => answer.tokens.push(token),
                Event::Failed(why) => return Err(Error::Other(why)),
                _ => {}
            }
        }
        all.push(answer);
    }
    Ok(all)
}

/// The mean difference of log-probabilities; of other tokens, or of another number of them, it is no number.
#[allow(clippy::cast_precision_loss, reason = "few tokens")]
fn apart(got: &[Scored], want: &[Scored]) -> f64 {
    if got.is_empty() || got.len() != want.len() || got.iter().zip(want).any(|(g, w)| g.id != w.id) {
        return f64::NAN;
    }
    let differences = got.iter().zip(want).map(|(g, w)| f64::from((g.logprob - w.logprob).abs()));
    differences.sum::<f64>() / got.len() as f64
}

pub fn generation(gpu: &Gpu) -> Result<()> {
    for small in [&LLAMA, &GEMMA, &PHI] {
        let drawn = |name: &str, n: u64| -> Vec<u32> {
            let stream = key(gpu.seed, name);
            (0..n).map(|i| u32::try_from(bits(stream, i) % u64::from(VOCAB)).unwrap_or(0)).collect()
        };
        // Two that begin alike, and a short one.
        let first = drawn("first", 70);
        let prompts = [first.clone(), [&first[..40], &drawn("second", 21)[..]].concat(), drawn("third", 3)];
        let (mut here, mut there) = (engine(small, gpu.seed, &Device::Cpu)?, engine(small, gpu.seed, gpu.device())?);
        let (want, got) = (answers(&mut here, &prompts, 0)?, answers(&mut there, &prompts, MORE)?);
        let mut whole = Vec::new();
        for ((prompt, got), want) in prompts.iter().zip(&got).zip(&want) {
            let shape = &format!("{}, {} tokens", small.family, prompt.len());
            gpu.say("generation read", shape, apart(&got.prompt, &want.prompt), ALLOWED);
            whole.push([&prompt[..], &got.tokens.iter().map(|token| token.id).collect::<Vec<_>>()].concat());
        }
        // The same tokens as prompts. Those of the first begin with what the cache has kept.
        for ((prompt, written), read) in prompts.iter().zip(&got).zip(answers(&mut there, &whole, 0)?) {
            let shape = &format!("{}, {MORE} after {}", small.family, prompt.len());
            let end = read.prompt.get(prompt.len() - 1..).unwrap_or_default();
            gpu.say("generation written", shape, apart(&written.tokens, end), ALLOWED);
        }
    }
    Ok(())
}
