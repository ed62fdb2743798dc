//! `setaccio merge`: an adapter and its base as one model.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{ValueEnum, builder::PossibleValuesParser};
use setaccio_base::progress::Progress as _;
use setaccio_train::{
    artifacts::{
        finished_run::FinishedRun,
        merge::{self, Options, Precision, merge},
    },
    formats::model_files::ModelFiles,
    recipe::Method,
};

use super::plan::gib;
use crate::{
    jobs::Jobs,
    progress::Bar,
    style::{FAINT, GOOD, NAME, count, counted},
};

/// Add an adapter to its base: one model, as a folder that transformers loads
#[derive(clap::Args)]
pub struct Args {
    /// A run of `setaccio train`, for instance runs/tiny: says which base and adapter
    #[arg(value_name = "RUN", required_unless_present_all = ["model", "adapter"])]
    run: Option<PathBuf>,
    /// The base model: a Hugging Face folder or a GGUF file [default: the run's]
    #[arg(long, value_name = "PATH")]
    model: Option<PathBuf>,
    /// An adapter in PEFT's format [default: the run's]
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,
    /// Folder of the merged model [default: RUN/merged]
    #[arg(long, value_name = "DIR", required_unless_present = "run")]
    out: Option<PathBuf>,
    /// Type of the merged weights [default: what the base is stored in; f32 of a run that trained every weight]
    #[arg(long, value_name = "TYPE", value_parser = PossibleValuesParser::new(merge::DTYPES.map(|(name, _)| name)))]
    dtype: Option<String>,
    /// Largest file of weights, for instance 500MB
    #[arg(long, value_name = "SIZE", default_value = "5GB", value_parser = merge::bytes)]
    shard_size: u64,
    /// The weights that the adapter is added to
    #[arg(long, value_name = "WHICH", default_value = "stored")]
    base_precision: BasePrecision,
    /// Leave out the check run, which compares the merged model with the adapter on its base
    #[arg(long)]
    no_check: bool,
    /// The base is the adapter's, whatever it is called
    #[arg(long)]
    same_base: bool,
    /// Replace the model that the folder holds
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    jobs: Jobs,
}

/// Which weights of the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum BasePrecision {
    /// As they are stored
    Stored,
    /// What training in 4 bits saw of them
    Nf4,
}

pub fn run(args: &Args) -> Result<()> {
    args.jobs.apply()?;
    let trained = args.run.as_deref().map(FinishedRun::open).transpose()?;
    let saw = trained.as_ref().map(|t| t.saw);
    let precision = match (args.base_precision, saw) {
        (BasePrecision::Stored, _) => Precision::Stored,
        (BasePrecision::Nf4, Some(saw @ Precision::Nf4 { .. })) => saw,
        (BasePrecision::Nf4, _) => Precision::Nf4 { double_quant: true },
    };
    let options = Options {
        dtype: args.dtype.as_deref().map(merge::dtype).transpose()?,
        shard_bytes: args.shard_size,
        precision,
        check: !args.no_check,
        // Of a run's own adapter the hashes of its base say more than a name.
        same_base: args.same_base || (trained.is_some() && args.adapter.is_none()),
        force: args.force,
        ..Options::default()
    };
    let own = trained.as_ref().map(|trained| trained.merged.clone());
    let out = args.out.clone().or(own).context("name a run, or the folder of the merged model with --out")?;
    if let Some(trained) = trained.as_ref().filter(|t| t.method == Method::Full) {
        return copy(args, trained, (&out, &options));
    }
    let pick = |given: &Option<PathBuf>, of: fn(&FinishedRun) -> &PathBuf| {
        given.clone().or_else(|| trained.as_ref().map(|t| of(t).clone()))
    };
    let (Some(base), Some(adapter)) = (pick(&args.model, |t| &t.base), pick(&args.adapter, |t| &t.made)) else {
        bail!("name a run, or --model and --adapter");
    };
    let files = ModelFiles::open(&base)?;
    let progress = Bar::new();
    if let Some(trained) = trained.as_ref().filter(|_| !args.same_base && args.adapter.is_none()) {
        trained.same_base(&files, &|| progress.cancelled())?;
    }
    if args.is_done(&files, Some(&adapter), (&out, &options), &progress)? {
        return Ok(());
    }
    let merged = merge(&files, &adapter, &out, &options, &progress);
    progress.clear();
    let merged = merged?;
    let size = gib(usize::try_from(merged.weights.bytes).unwrap_or(usize::MAX));
    say!(
        "{GOOD}merged:{GOOD:#} {} layers of the adapter into {size} of {}, {}",
        count(merged.modules as u64),
        merged.dtype.as_str(),
        counted(merged.weights.shards as u64, "file"),
    );
    match merged.check {
        Some(check) => say!(
            "check: logits of {} tokens differ from those with the adapter on by at most {:.2e} (of {} weights up to \
             {:.2e} is expected); the adapter itself moves them by up to {:.2e}",
            check.tokens,
            check.largest,
            merged.dtype.as_str(),
            check.explained,
            check.effect
        ),
        None => say!("not checked (--no-check)"),
    }
    if let (Precision::Stored, Some(Precision::Nf4 { .. })) = (precision, saw) {
        say!(
            "{FAINT}trained in 4 bits, merged into the weights as they are stored; --base-precision nf4 merges into \
             what training saw{FAINT:#}"
        );
    }
    say!("{NAME}{}{NAME:#}", out.display());
    Ok(())
}

impl Args {
    /// Whether the run's own place holds this very model; says so if it does.
    fn is_done(
        &self,
        base: &ModelFiles,
        adapter: Option<&Path>,
        (out, options): (&Path, &Options),
        progress: &Bar,
    ) -> Result<bool> {
        let done = self.out.is_none() && !self.force && merge::up_to_date(base, adapter, out, options, progress)?;
        if done {
            say!("{GOOD}up to date:{GOOD:#} {} holds this very model; --force merges again", out.display());
        }
        Ok(done)
    }
}

/// What was trained whole has nothing to be merged with; it may be wanted in another type.
fn copy(args: &Args, trained: &FinishedRun, (out, options): (&Path, &Options)) -> Result<()> {
    let of_adapters = args.model.is_some() || args.adapter.is_some() || args.no_check || args.same_base;
    if of_adapters || args.base_precision != BasePrecision::Stored {
        bail!(
            "this run trained every weight, so there is no adapter to add: --out, --dtype, --shard-size and --force are all \
             that goes with it"
        );
    }
    let (files, progress) = (ModelFiles::open(&trained.made)?, Bar::new());
    if args.is_done(&files, None, (out, options), &progress)? {
        return Ok(());
    }
    let merged = merge::copy(&files, out, options, &progress);
    progress.clear();
    let merged = merged?;
    let size = gib(usize::try_from(merged.weights.bytes).unwrap_or(usize::MAX));
    let name = out.display();
    say!("{GOOD}copied:{GOOD:#} {size} of {}; the run trained every weight", merged.dtype.as_str());
    say!("{NAME}{name}{NAME:#}");
    Ok(())
}
