//! `setaccio`: from raw public data to a published fine-tuned adapter.

use std::{
    any::Any,
    panic::{catch_unwind, resume_unwind, set_hook, take_hook},
    process::ExitCode,
};

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

/// What `println!` panics with where stdout cannot be written, as on a full disk.
const UNPRINTED: &str = "failed printing to stdout: ";

/// Why stdout could not be written, if that is what a panic says.
fn unprinted(panic: &(dyn Any + Send)) -> Option<&str> {
    panic.downcast_ref::<String>()?.strip_prefix(UNPRINTED)
}

fn main() -> ExitCode {
    let tell = take_hook();
    set_hook(Box::new(move |info| {
        if unprinted(info.payload()).is_none() {
            tell(info);
        }
    }));
    // The list that build.rs writes.
    setaccio_base::bundle::install(include!(concat!(env!("OUT_DIR"), "/bundle.rs")));
    let error = match catch_unwind(|| Cli::parse().command.run()) {
        Ok(Ok(())) => return ExitCode::SUCCESS,
        Ok(Err(error)) => error,
        Err(panic) => match unprinted(&*panic) {
            Some(why) => anyhow::anyhow!("cannot write to stdout: {why}"),
            None => resume_unwind(panic),
        },
    };
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
