//! `setaccio serve`: a model and adapters behind OpenAI's HTTP API.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::ValueEnum;
use setaccio_base::progress::Progress as _;
use setaccio_serve::server::{Options, bind, serve};
use setaccio_train::{inference::request::Pooling, models, recipe};

use crate::{
    commands::train::device,
    jobs::Jobs,
    progress::Bar,
    signals,
    style::{BAD, FAINT, NAME},
};

/// The environment's name for the key.
const KEY: &str = "SETACCIO_API_KEY";

/// Answer over HTTP as OpenAI does: chat, completions, log-probabilities, embeddings
///
/// A base model and each adapter are models of their own, so that one server answers before and after training. With
/// SETACCIO_API_KEY in the environment requests have to show that key.
#[derive(clap::Args)]
pub struct Args {
    /// A Hugging Face folder, a GGUF file, a run of `setaccio train` or a chain: then its base is served beside what was made of it
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// An adapter in PEFT's format, or a run: a model of its own beside its base; as often as there are adapters
    #[arg(long, value_name = "DIR")]
    adapter: Vec<PathBuf>,
    /// Serve what a run or a chain made alone; where every weight was trained, that takes half of the memory
    #[arg(long)]
    without_base: bool,
    /// The address to listen at; other machines reach 0.0.0.0
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: IpAddr,
    /// The port; 0 takes one that is free
    #[arg(long, value_name = "PORT", default_value_t = 8000)]
    port: u16,
    /// MiB of the KV cache, of which prompts that were read keep what texts do not need
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
    kv_cache: u32,
    /// Answers that are written beside each other
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    parallel: u16,
    /// Requests that may wait beside these; the next is told to come back (429)
    #[arg(long, value_name = "N", default_value_t = 1024)]
    queue: u16,
    /// At most N new tokens an answer, whatever is asked for
    #[arg(long, value_name = "N", default_value_t = 4096)]
    max_tokens: u32,
    /// What the vector of a text is made of
    #[arg(long, value_enum, default_value_t)]
    pooling: PoolingArg,
    /// Score token ids behind a BOS where they do not begin with one, as transformers does
    #[arg(long)]
    score_with_bos: bool,
    /// Answer /tokenizer_info; lm-evaluation-harness then leaves BOS out unless --score-with-bos is given, too
    #[arg(long)]
    tokenizer_info: bool,
    /// An origin whose pages may ask, for instance https://chat.example; `*` for all; as often as there are some
    #[arg(long, value_name = "ORIGIN")]
    cors: Vec<String>,
    /// Seconds that answers may take that are being written when the server is to end
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    drain: u32,
    /// What computes; `auto` is the GPU if there is one and this build has the feature `cuda`
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = device())]
    device: recipe::Device,
    #[command(flatten)]
    jobs: Jobs,
}

/// What the vector of a text is made of.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum PoolingArg {
    /// The mean of all tokens' hidden states
    #[default]
    Mean,
    /// The last token's
    Last,
}

pub fn run(args: &Args) -> Result<()> {
    args.jobs.apply()?;
    let address = SocketAddr::new(args.host, args.port);
    // A port that is taken is said before a model is loaded.
    let listener =
        bind(address).with_context(|| format!("cannot listen at {address}; give another --port or --host"))?;
    let address = listener.local_addr()?;
    let progress = Bar::new();
    let loaded = models::open(&args.model, &args.adapter, !args.without_base)
        .and_then(|opened| opened.load(args.device, &progress));
    progress.clear();
    let loaded = loaded?;
    let key = std::env::var(KEY).ok().filter(|key| !key.is_empty());
    if !args.host.is_loopback() && key.is_none() {
        progress.warn(&format!("whoever reaches {address} can ask: there is no key in {KEY}"));
    }
    tell!("{NAME}http://{address}/v1{NAME:#}");
    for served in &loaded.served {
        let parent = served.parent.as_ref().map_or_else(String::new, |parent| format!("  made of {parent}"));
        tell!("  {}{FAINT}{parent}{FAINT:#}", served.id);
    }
    let options = Options {
        cache_bytes: args.kv_cache as usize * (1 << 20),
        texts: args.parallel.into(),
        queue: args.queue.into(),
        max_tokens: args.max_tokens as usize,
        pooling: match args.pooling {
            PoolingArg::Mean => Pooling::Mean,
            PoolingArg::Last => Pooling::Last,
        },
        score_with_bos: args.score_with_bos,
        tokenizer_info: args.tokenizer_info,
        cors: args.cors.clone(),
        key,
        local: args.host.is_loopback(),
        drain: Duration::from_secs(args.drain.into()),
    };
    signals::stop_cleanly();
    let cut = serve(listener, loaded, &options, signals::came)?;
    if cut > 0 {
        tell!("{BAD}cut:{BAD:#} {cut} answers were not done after {} seconds", args.drain);
    }
    Ok(())
}
