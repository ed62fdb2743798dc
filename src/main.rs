//! `setaccio`: from raw public data to a published fine-tuned adapter.

use std::process::ExitCode;

use clap::Parser;

mod commands;
mod excerpt;
mod fetch;
mod inputs;
mod jobs;
mod output;
mod progress;
mod reference;
mod style;

#[derive(Parser)]
#[command(name = "setaccio", version, about, after_help = EXIT_CODES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: commands::Command,
}

const EXIT_CODES: &str = "\
Exit codes:
    0  done
    1  not done: what failed, and what to do about it, is on stderr
    2  the command line cannot be understood
  130  stopped by Ctrl-C or SIGTERM: the same command goes on from there (`train` with --resume)";

/// Exit code of a run that Ctrl-C ended, as shells have it.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    // The list that build.rs writes.
    setaccio_base::bundle::install(include!(concat!(env!("OUT_DIR"), "/bundle.rs")));
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
