//! `setaccio generate`: let a model write, with or without an adapter, to see what was learned.

use std::{
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use setaccio_base::{progress::Progress as _, row::Message};
use setaccio_templates::Clock;
use setaccio_train::{
    askable::Askable,
    generate::{chat_ids, generate, raw_ids, tokens_left},
    inference::sampling::Sampling,
    recipe,
    tokenizer::Tokens,
};

use crate::{
    jobs::Jobs,
    progress::Bar,
    style::{FAINT, NAME},
    terminal,
};

/// Let a model answer a prompt, with or without an adapter
#[derive(clap::Args)]
pub struct Args {
    /// A run of `setaccio train` or a chain, for instance runs/tiny, says which base and adapter, or model; or a model
    #[arg(value_name = "RUN", required_unless_present = "model")]
    run: Option<PathBuf>,
    /// The base model: a Hugging Face folder or a GGUF file [default: the run's]
    #[arg(long, value_name = "PATH")]
    model: Option<PathBuf>,
    /// An adapter in PEFT's format [default: the run's]
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,
    /// What to answer
    #[arg(long, value_name = "TEXT")]
    prompt: String,
    /// A system prompt before it
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    system: Option<String>,
    /// Write on from the prompt as it is, without the chat template
    #[arg(long)]
    raw: bool,
    /// At most N new tokens
    #[arg(long, value_name = "N", default_value_t = 256)]
    max_tokens: usize,
    /// How freely tokens are chosen; 0 takes the most probable one each time
    #[arg(long, value_name = "T", default_value_t = 0.0, value_parser = number::<0, 100>)]
    temperature: f64,
    /// Choose among the most probable tokens that together have this probability
    #[arg(long, value_name = "P", default_value_t = 1.0, value_parser = number::<0, 1>)]
    top_p: f64,
    /// Choose among the K most probable tokens; 0: all
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: usize,
    /// Choose among tokens at least P times as probable as the most probable one
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = number::<0, 1>)]
    min_p: f64,
    /// Make what stands in prompt or answer already less probable by R; 1 changes nothing
    #[arg(long, value_name = "R", default_value_t = 1.0, value_parser = number::<1, 100>)]
    repetition_penalty: f64,
    /// Decides the choices where the temperature is above 0
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,
    /// What the chat template takes for today [default: today, in UTC]
    #[arg(long, value_name = "DATE", conflicts_with = "raw", value_parser = date)]
    date: Option<Clock>,
    /// What computes; `auto` is the GPU if there is one and this build has the feature `cuda`
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = device())]
    device: recipe::Device,
    #[command(flatten)]
    jobs: Jobs,
}

fn number<const LOW: i32, const HIGH: i32>(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(n) if (f64::from(LOW)..=f64::from(HIGH)).contains(&n) => Ok(n),
        _ => Err(format!("a number from {LOW} to {HIGH}")),
    }
}

pub fn date(text: &str) -> Result<Clock, String> {
    Clock::date(text).ok_or_else(|| "a date is written as 2026-01-31".to_owned())
}

pub fn device() -> impl TypedValueParser<Value = recipe::Device> {
    PossibleValuesParser::new(["auto", "cpu", "cuda"]).map(|name| match name.as_str() {
        "cpu" => recipe::Device::Cpu,
        "cuda" => recipe::Device::Cuda,
        _ => recipe::Device::Auto,
    })
}

pub fn run(args: &Args) -> Result<()> {
    args.jobs.apply()?;
    let asked = asked(args)?;
    let name = asked.adapter.as_ref().unwrap_or(&asked.model).display();
    let opened = asked.open()?;
    let tokens = &opened.tokens;
    let prompt = prompt(args, (tokens, opened.vocab))?;
    let left = tokens_left(opened.files.config(), prompt.len())?;

    let progress = Bar::new();
    let model = opened.load(args.device, &progress);
    progress.clear();
    let model = model?;
    let max_tokens = args.max_tokens.min(left);
    let Args { temperature, top_p, top_k, min_p, repetition_penalty, seed, .. } = *args;
    let sampling = Sampling { temperature, top_p, top_k, min_p, repetition_penalty, seed, ..Sampling::default() };
    let (mut written, mut answer) = (Vec::new(), terminal::Growing::default());
    let began = std::time::Instant::now();
    let mut broken = None;
    generate(&model, &prompt, (&tokens.eos_ids, max_tokens), &sampling, &mut |id| {
        written.push(id);
        if let Err(error) = answer.show(&tokens.decode(&written).unwrap_or_default()) {
            broken = Some(error);
            return false;
        }
        !progress.cancelled()
    })?;
    if let Some(error) = broken {
        return Err(error.into());
    }
    terminal::write("\n")?;
    if progress.cancelled() {
        return Err(setaccio_train::Error::Stopped.into());
    }
    #[allow(clippy::cast_precision_loss, reason = "shown to one digit")]
    let speed = written.len() as f64 / began.elapsed().as_secs_f64().max(1e-3);
    if written.len() == left && left < args.max_tokens {
        progress.warn("this is as far as the model's positions go");
    }
    tell!("{NAME}{name}{NAME:#}  {FAINT}{} tokens, {speed:.1} tokens/s{FAINT:#}", written.len());
    Ok(())
}

/// What is asked: what the run made, or the parts of it that were named instead.
fn asked(args: &Args) -> Result<Askable> {
    let run = args.run.as_deref().map(Askable::last).transpose()?;
    let model = args.model.as_ref().or(run.as_ref().map(|run| &run.model));
    let adapter = args.adapter.as_ref().or(run.as_ref().and_then(|run| run.adapter.as_ref()));
    match (model, adapter, &run) {
        (_, _, Some(run)) if args.model.is_none() && args.adapter.is_none() => Ok(run.clone()),
        (Some(model), Some(adapter), _) => Ok(Askable::adapter(adapter, model, adapter)),
        (Some(model), None, _) => Ok(Askable::model(model)),
        _ => bail!("name a run, or a model with --model"),
    }
}

/// Ids of the prompt.
fn prompt(args: &Args, tokens: (&Tokens, usize)) -> setaccio_train::Result<Vec<u32>> {
    if args.raw {
        return raw_ids(tokens, &args.prompt);
    }
    let system = args.system.iter().map(|text| Message::new("system", text));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let clock = args.date.unwrap_or_else(|| Clock::unix(i64::try_from(now).unwrap_or(0)));
    chat_ids(tokens, &system.chain([Message::new("user", &args.prompt)]).collect::<Vec<_>>(), Some(clock))
}
