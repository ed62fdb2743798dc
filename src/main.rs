//! `setaccio`: from raw public data to a published fine-tuned adapter.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod build;
mod card;
mod docs;
mod fetch;
mod inputs;
mod lists;
mod pin;
mod plan;
mod preview;
mod progress;
mod pull;
mod push;
mod reference;
mod rules;
mod schemas;
mod style;
mod train;
mod verify;

#[derive(Parser)]
#[command(name = "setaccio", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Pin(pin::Args),
    Pull(pull::Args),
    Build(build::Args),
    Plan(plan::Args),
    Preview(preview::Args),
    Verify(verify::Args),
    Card(card::Args),
    Push(push::Args),
    Train(train::Args),
    TrainAll(train::AllArgs),
    Generate(train::GenerateArgs),
    Merge(train::MergeArgs),
    Export(train::ExportArgs),
    Lists(lists::Args),
    Rules(rules::Args),
    Schemas(schemas::Args),
    #[command(hide = true)]
    Docs(docs::Args),
}

/// Exit code of a run that Ctrl-C ended, as shells have it.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Pin(args) => pin::run(&args),
        Command::Pull(args) => pull::run(&args),
        Command::Build(args) => build::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Preview(args) => preview::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Card(args) => card::run(&args),
        Command::Push(args) => push::run(&args),
        Command::Train(args) => train::run(&args),
        Command::TrainAll(args) => train::all(&args),
        Command::Generate(args) => train::generate(&args),
        Command::Merge(args) => train::merge(&args),
        Command::Export(args) => train::export(&args),
        Command::Lists(args) => lists::run(&args),
        Command::Rules(args) => rules::run(&args),
        Command::Schemas(args) => schemas::run(&args),
        Command::Docs(args) => docs::run(&args),
    };
    let Err(error) = done else { return ExitCode::SUCCESS };
    // A reader that has seen enough (`| head`) is no failure.
    if error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS;
    }
    anstream::eprintln!("{}error:{:#} {error:#}", style::BAD, style::BAD);
    let stopped = matches!(error.downcast_ref(), Some(setaccio_curate::Error::Interrupted))
        || matches!(error.downcast_ref(), Some(setaccio_hub::Error::Interrupted))
        || train::interrupted(&error);
    if stopped { ExitCode::from(INTERRUPTED) } else { ExitCode::FAILURE }
}
