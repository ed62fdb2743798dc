//! `setaccio`: from raw public data to a published fine-tuned adapter.

use std::process::ExitCode;

use clap::Parser;

mod commands;
mod fetch;
mod inputs;
mod progress;
mod style;

#[derive(Parser)]
#[command(name = "setaccio", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: commands::Command,
}

/// Exit code of a run that Ctrl-C ended, as shells have it.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let Err(error) = Cli::parse().command.run() else { return ExitCode::SUCCESS };
    // A reader that has seen enough (`| head`) is no failure.
    if error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS;
    }
    anstream::eprintln!("{}error:{:#} {error:#}", style::BAD, style::BAD);
    let stopped = matches!(error.downcast_ref(), Some(setaccio_curate::Error::Interrupted))
        || matches!(error.downcast_ref(), Some(setaccio_hub::Error::Interrupted))
        || commands::interrupted(&error);
    if stopped { ExitCode::from(INTERRUPTED) } else { ExitCode::FAILURE }
}
