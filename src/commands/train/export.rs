//! `setaccio export`: a model or an adapter for other programs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{
    ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use setaccio_train::{
    artifacts::{
        destination::Destination,
        export::{self, ExportReport, GgufOptions, LoraOptions, Quant},
    },
    formats::model_files::ModelFiles,
    tokenizer::Tokens,
};

use super::plan::gib;
use crate::{
    jobs::Jobs,
    progress::Bar,
    style::{GOOD, NAME, counted},
};

/// Write a model for llama.cpp, candle or bitsandbytes, or an adapter for llama.cpp
#[derive(clap::Args)]
pub struct Args {
    /// A model: a Hugging Face folder or a GGUF file; for gguf-lora an adapter's folder
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// What to write
    #[arg(long, value_name = "FORMAT")]
    to: Format,
    /// What the matrices of a GGUF are packed in [default: f16; f32 for gguf-lora]
    #[arg(long, value_name = "TYPE", ignore_case = true, value_parser = quant())]
    quant: Option<Quant>,
    /// The file to write; for bnb-4bit the folder
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// With gguf-lora: the base that the adapter was trained upon
    #[arg(long, value_name = "PATH")]
    base: Option<PathBuf>,
    /// With gguf-lora: the base is the adapter's, whatever it is called
    #[arg(long)]
    same_base: bool,
    /// With gguf: leave out the check run, which reads the file back and compares it with the model
    #[arg(long)]
    no_check: bool,
    /// Replace what is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    jobs: Jobs,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A model as one GGUF file
    Gguf,
    /// An adapter as a GGUF file
    GgufLora,
    /// A folder in bitsandbytes' 4 bits
    #[value(name = "bnb-4bit")]
    Bnb4bit,
}

fn quant() -> impl TypedValueParser<Value = Quant> {
    PossibleValuesParser::new(Quant::names()).try_map(|name| Quant::parse(&name))
}

pub fn run(args: &Args) -> Result<()> {
    args.jobs.apply()?;
    if args.to != Format::GgufLora && (args.base.is_some() || args.same_base) {
        bail!("--base and --same-base go with --to gguf-lora, where they are about the adapter's base");
    }
    if args.to != Format::Gguf && args.no_check {
        bail!("--no-check goes with --to gguf, which has a check run");
    }
    let destination = Destination { path: &args.out, force: args.force };
    let progress = Bar::new();
    let done = match args.to {
        Format::Gguf => {
            let (files, tokens) = (ModelFiles::open(&args.model)?, Tokens::open(&args.model)?);
            let options = GgufOptions { quant: args.quant.unwrap_or(Quant::F16), check: !args.no_check };
            export::gguf((&files, &tokens), destination, options, &progress)
        }
        Format::GgufLora => {
            let base = args.base.as_deref().context("--to gguf-lora needs the adapter's base: --base PATH")?;
            let base = ModelFiles::open(base)?;
            let options = LoraOptions { quant: args.quant.unwrap_or(Quant::F32), same_base: args.same_base };
            export::gguf_lora((&args.model, &base), destination, options, &progress)
        }
        Format::Bnb4bit => {
            if let Some(quant) = args.quant {
                bail!("--quant {} goes with gguf; bnb-4bit is always NF4 with double quantisation", quant.name());
            }
            let files = ModelFiles::open(&args.model)?;
            let tokens = has_tokenizer(&args.model).then(|| Tokens::open(&args.model)).transpose()?;
            export::four_bit((&files, tokens.as_ref()), destination, &progress)
        }
    };
    progress.clear();
    told(&done?, &args.out);
    Ok(())
}

fn has_tokenizer(model: &Path) -> bool {
    model.is_file() || model.join("tokenizer.json").is_file()
}

fn told(done: &ExportReport, out: &Path) {
    let kinds: Vec<String> = done.kinds.iter().map(|(kind, n)| format!("{n} in {kind}")).collect();
    let size = gib(usize::try_from(done.bytes).unwrap_or(usize::MAX));
    say!("{GOOD}exported:{GOOD:#} {size}; tensors: {}", kinds.join(", "));
    if let Some(check) = &done.check {
        say!(
            "check: read back, {} are cut into the model's tokens, and logits of {} tokens differ from the model's by at most \
             {:.2e}, of which packing explains all but {:.2e}",
            counted(check.texts as u64, "text"),
            check.tokens,
            check.largest,
            check.unexplained
        );
    }
    say!("{NAME}{}{NAME:#}", out.display());
}
