//! One file a command: its arguments, what it shows, and the calls that do the work.

use anyhow::Result;
use clap::Subcommand;
use setaccio_base::progress::Progress as _;

use crate::progress::Bar;

mod anything;
mod browse;
mod build;
mod card;
mod compare;
mod completions;
mod docs;
mod init;
mod lists;
mod man;
mod pin;
mod plan;
mod preview;
mod pull;
mod push;
mod query;
mod recipes;
mod report;
mod review;
mod rules;
mod schemas;
mod serve;
mod status;
mod submit;
mod train;
mod verify;
mod why;

/// Whether a signal stopped what failed with this error.
pub fn stopped(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(setaccio_base::Error::Interrupted))
        || matches!(error.downcast_ref(), Some(setaccio_curate::Error::Interrupted))
        || matches!(error.downcast_ref(), Some(setaccio_hub::Error::Interrupted))
        || train::interrupted(error)
}

/// What a part did counts, and its error comes first, whether `setaccio status` can be told of it or not.
fn tell_status(told: setaccio_curate::Result<()>, progress: &Bar) {
    if let Err(why) = told {
        progress.warn(&format!("`setaccio status` cannot be told of this part: {why}"));
    }
}

/// What `setaccio` can be told to do.
#[derive(Subcommand)]
pub enum Command {
    Init(init::Args),
    Pin(pin::Args),
    Pull(pull::Args),
    Build(build::Args),
    Submit(Box<submit::Args>),
    Status(status::Args),
    Plan(plan::Args),
    Preview(preview::Args),
    Verify(verify::Args),
    Why(why::Args),
    Report(report::Args),
    #[cfg_attr(not(feature = "browse"), doc = "Walk through the rows of a build (this build has no browser)")]
    Browse(browse::Args),
    Compare(compare::Args),
    Review(review::Args),
    #[cfg_attr(not(feature = "query"), doc = "Ask a build or a run in SQL (this build has no engine for it)")]
    Query(query::Args),
    Card(card::Args),
    Push(push::Args),
    #[cfg_attr(not(feature = "train"), doc = "Fine-tune a model on built data (this build has no trainer)")]
    Train(train::Args),
    #[cfg_attr(not(feature = "train"), doc = "Make a model in stages (this build has no trainer)")]
    TrainAll(train::AllArgs),
    #[cfg_attr(not(feature = "train"), doc = "Let a model write (this build has no trainer)")]
    Generate(train::GenerateArgs),
    #[cfg_attr(not(feature = "train"), doc = "Score a model by tasks (this build has no trainer)")]
    Eval(train::EvalArgs),
    #[cfg_attr(not(feature = "train"), doc = "Measure a model for bias and refusals (this build has no trainer)")]
    Audit(train::AuditArgs),
    #[cfg_attr(not(feature = "serve"), doc = "Answer over HTTP (this build has no server)")]
    Serve(serve::Args),
    #[cfg_attr(not(feature = "train"), doc = "Add an adapter to its base (this build has no trainer)")]
    Merge(train::MergeArgs),
    #[cfg_attr(not(feature = "train"), doc = "Write a model for other programs (this build has no trainer)")]
    Export(train::ExportArgs),
    Recipes(recipes::Args),
    Lists(lists::Args),
    Rules(rules::Args),
    Schemas(schemas::Args),
    Completions(completions::Args),
    Man(man::Args),
    #[command(hide = true)]
    Docs(docs::Args),
}

impl Command {
    /// Do it.
    pub fn run(&self) -> Result<()> {
        match self {
            Self::Init(args) => init::run(args),
            Self::Pin(args) => pin::run(args),
            Self::Pull(args) => pull::run(args),
            Self::Build(args) => build::run(args),
            Self::Submit(args) => submit::run(args),
            Self::Status(args) => status::run(args),
            Self::Plan(args) => plan::run(args),
            Self::Preview(args) => preview::run(args),
            Self::Verify(args) => verify::run(args),
            Self::Why(args) => why::run(args),
            Self::Report(args) => report::run(args),
            Self::Browse(args) => browse::run(args),
            Self::Compare(args) => compare::run(args),
            Self::Review(args) => review::run(args),
            Self::Query(args) => query::run(args),
            Self::Card(args) => card::run(args),
            Self::Push(args) => push::run(args),
            Self::Train(args) => train::run(args),
            Self::TrainAll(args) => train::all(args),
            Self::Generate(args) => train::generate(args),
            Self::Eval(args) => train::eval(args),
            Self::Audit(args) => train::audit(args),
            Self::Serve(args) => serve::run(args),
            Self::Merge(args) => train::merge(args),
            Self::Export(args) => train::export(args),
            Self::Recipes(args) => recipes::run(args),
            Self::Lists(args) => lists::run(args),
            Self::Rules(args) => rules::run(args),
            Self::Schemas(args) => schemas::run(args),
            Self::Completions(args) => completions::run(args),
            Self::Man(args) => man::run(args),
            Self::Docs(args) => docs::run(args),
        }
    }
}
