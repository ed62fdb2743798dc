//! `setaccio export`: a model or an adapter for other programs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use setaccio_base::suggest;
use setaccio_train::{
    export::{self, Exported, Quant},
    model::files::ModelFiles,
    tokenizer::Tokens,
};

use super::{plan::gib, run::threads, watch::Watching};
use crate::{
    progress::Bar,
    style::{GOOD, NAME},
};

const FORMATS: [&str; 3] = ["gguf", "gguf-lora", "bnb-4bit"];

/// Write a model for llama.cpp, candle or bitsandbytes, or an adapter for llama.cpp
#[derive(clap::Args)]
pub struct Args {
    /// A model: a Hugging Face folder or a GGUF file; for gguf-lora an adapter's folder
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// What to write: gguf, gguf-lora (an adapter), or bnb-4bit (a folder)
    #[arg(long, value_name = "FORMAT")]
    to: String,
    /// What the matrices of a GGUF are packed in: f32, f16, bf16, q8_0, q4_0, q4_k or q6_k
    /// [default: f16; f32 for gguf-lora]
    #[arg(long, value_name = "TYPE", verbatim_doc_comment)]
    quant: Option<String>,
    /// The file to write; for bnb-4bit the folder
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// With gguf-lora: the base that the adapter was trained upon
    #[arg(long = "model", value_name = "PATH")]
    base: Option<PathBuf>,
    /// With gguf-lora: the base is the adapter's, whatever it is called
    #[arg(long)]
    same_base: bool,
    /// Replace what is there
    #[arg(long)]
    force: bool,
    /// Threads; the bytes do not depend on them [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
}

pub fn run(args: &Args) -> Result<()> {
    threads(args.jobs)?;
    let to = args.to.as_str();
    if !FORMATS.contains(&to) {
        bail!("--to `{to}` is not known{}; it is one of {}", suggest::nearest(to, FORMATS), FORMATS.join(", "));
    }
    if to != "gguf-lora" && (args.base.is_some() || args.same_base) {
        bail!("--model and --same-base go with --to gguf-lora, where they are about the adapter's base");
    }
    let quant = args.quant.as_deref().map(Quant::parse).transpose()?;
    let place = (args.out.as_path(), args.force);
    let progress = Bar::new()?;
    let watch = Watching(&progress);
    let done = match to {
        "gguf" => {
            let (files, tokens) = (ModelFiles::open(&args.model)?, Tokens::open(&args.model)?);
            export::gguf((&files, &tokens), place, quant.unwrap_or(Quant::F16), &watch)
        }
        "gguf-lora" => {
            let base = args.base.as_deref().context("--to gguf-lora needs the adapter's base: --model PATH")?;
            let base = ModelFiles::open(base)?;
            export::gguf_lora((&args.model, &base), place, (quant.unwrap_or(Quant::F32), args.same_base), &watch)
        }
        _ => {
            if let Some(quant) = quant {
                bail!("--quant {} goes with gguf; bnb-4bit is always NF4 with double quantisation", quant.name());
            }
            let files = ModelFiles::open(&args.model)?;
            let tokens = has_tokenizer(&args.model).then(|| Tokens::open(&args.model)).transpose()?;
            export::four_bit((&files, tokens.as_ref()), place, &watch)
        }
    };
    progress.clear();
    told(&done?, &args.out);
    Ok(())
}

fn has_tokenizer(model: &Path) -> bool {
    model.is_file() || model.join("tokenizer.json").is_file()
}

fn told(done: &Exported, out: &Path) {
    let kinds: Vec<String> = done.kinds.iter().map(|(kind, n)| format!("{n} in {kind}")).collect();
    let size = gib(usize::try_from(done.bytes).unwrap_or(usize::MAX));
    anstream::println!("{GOOD}exported:{GOOD:#} {size}; tensors: {}", kinds.join(", "));
    anstream::println!("{NAME}{}{NAME:#}", out.display());
}
