//! `setaccio export`: a model or an adapter for other programs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{
    ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use setaccio_base::{progress::Progress as _, shell};
use setaccio_train::{
    artifacts::{
        destination::Destination,
        export::{self, ExportReport, GgufOptions, LoraOptions, Quant},
        finished_run::FinishedRun,
        merge::{self, Options},
    },
    formats::model_files::ModelFiles,
    recipe::Method,
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
    /// A run of `setaccio train`, merged first if it is not yet; or a model: a Hugging Face folder or a GGUF file; for gguf-lora
    /// an adapter's folder
    #[arg(value_name = "RUN|MODEL")]
    model: PathBuf,
    /// What to write
    #[arg(long, value_name = "FORMAT", default_value = "gguf")]
    to: Format,
    /// What the matrices of a GGUF are packed in [default: f16; f32 for gguf-lora]
    #[arg(long, value_name = "TYPE", ignore_case = true, value_parser = quant())]
    quant: Option<Quant>,
    /// The file to write; for bnb-4bit the folder [default: of a run RUN/export/NAME-TYPE.gguf, RUN/export/NAME-bnb-4bit]
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// With gguf-lora: the base that the adapter was trained upon [default: the run's]
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
    let progress = Bar::new();
    let run = FinishedRun::is_in(&args.model).then(|| FinishedRun::open(&args.model)).transpose()?;
    let quant = args.quant.unwrap_or(if args.to == Format::GgufLora { Quant::F32 } else { Quant::F16 });
    let out = match (&args.out, &run) {
        (Some(out), _) => out.clone(),
        (None, Some(run)) => run.exports.join(name(args.to, quant, &run.name)),
        (None, None) => bail!("say what to write with --out: a file, or a folder for bnb-4bit"),
    };
    let destination = Destination { path: &out, force: args.force };
    let done = match args.to {
        Format::Gguf => {
            let model = model(args, run.as_ref(), &progress)?;
            let (files, tokens) = (ModelFiles::open(&model)?, Tokens::open(&model)?);
            export::gguf((&files, &tokens), destination, GgufOptions { quant, check: !args.no_check }, &progress)
        }
        Format::GgufLora => {
            let (adapter, base) = match &run {
                Some(run) if run.method == Method::Full => {
                    bail!(
                        "{} trained every weight, so it has no adapter: --to gguf writes its model",
                        args.model.display()
                    )
                }
                Some(run) => (&run.made, Some(&run.base)),
                None => (&args.model, None),
            };
            let own = args.base.is_none();
            let base = args.base.as_ref().or(base).context("--to gguf-lora needs the adapter's base: --base PATH")?;
            let base = ModelFiles::open(base)?;
            if let Some(run) = run.as_ref().filter(|_| !args.same_base) {
                run.same_base(&base, &|| progress.cancelled())?;
            }
            // What the run's lock says of its base is more than a name.
            let same_base = args.same_base || (own && run.is_some());
            export::gguf_lora((adapter, &base), destination, LoraOptions { quant, same_base }, &progress)
        }
        Format::Bnb4bit => {
            if let Some(quant) = args.quant {
                bail!("--quant {} goes with gguf; bnb-4bit is always NF4 with double quantisation", quant.name());
            }
            let model = model(args, run.as_ref(), &progress)?;
            let files = ModelFiles::open(&model)?;
            let tokens = has_tokenizer(&model).then(|| Tokens::open(&model)).transpose()?;
            export::four_bit((&files, tokens.as_ref()), destination, &progress)
        }
    };
    progress.clear();
    told(&done?, &out);
    Ok(())
}

/// What is exported of a run, below its folder.
fn name(to: Format, quant: Quant, run: &str) -> String {
    match to {
        Format::Gguf => format!("{run}-{}.gguf", quant.name().to_uppercase()),
        Format::GgufLora => format!("{run}-lora-{}.gguf", quant.name().to_uppercase()),
        Format::Bnb4bit => format!("{run}-bnb-4bit"),
    }
}

/// The model to export: the one that is named, or that of a run, merged now if it was not yet.
fn model(args: &Args, run: Option<&FinishedRun>, progress: &Bar) -> Result<PathBuf> {
    let Some(run) = run else { return Ok(args.model.clone()) };
    if run.method == Method::Full {
        return Ok(run.made.clone());
    }
    let base = ModelFiles::open(&run.base)?;
    run.same_base(&base, &|| progress.cancelled())?;
    let place = &run.merged;
    if !place.exists() {
        let options = Options { same_base: true, ..Options::default() };
        let merged = merge::merge(&base, &run.made, place, &options, progress);
        progress.clear();
        let merged = merged?;
        let layers = counted(merged.modules as u64, "layer");
        let dtype = merged.dtype.as_str();
        say!("{GOOD}merged:{GOOD:#} {layers} of the adapter, written in {dtype}  {NAME}{}{NAME:#}", place.display());
    } else if !merge::is_of_adapter(place, &base, &run.made, progress)? {
        bail!(
            "{} was not merged from what this run left, or was changed since: `setaccio merge {} --force` merges it again, or \
             name a model instead of the run",
            place.display(),
            shell::word(&args.model.to_string_lossy())
        );
    }
    Ok(place.clone())
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
