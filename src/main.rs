//! `setaccio`: from raw public data to a published fine-tuned adapter.

use std::{
    any::Any,
    backtrace::{Backtrace, BacktraceStatus},
    panic::{catch_unwind, resume_unwind, set_hook},
    process::ExitCode,
};

use clap::{CommandFactory, FromArgMatches, Parser, builder::Styles};
use setaccio_base::shown::shown;

#[macro_use]
mod terminal;

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

/// Why stdout could not be written, if that is what a panic says.
fn unprinted(panic: &(dyn Any + Send)) -> Option<&str> {
    panic.downcast_ref::<String>()?.strip_prefix(terminal::UNPRINTED)
}

/// The command line. What is said of arguments that cannot be understood shows what a terminal would obey in them.
fn arguments() -> Cli {
    if std::env::args_os().all(|argument| shown(&argument.to_string_lossy()) == argument.to_string_lossy()) {
        return Cli::parse();
    }
    // Without clap's own colours all that looks like one is of an argument.
    let parsed = Cli::command().styles(Styles::plain()).try_get_matches().and_then(|m| Cli::from_arg_matches(&m));
    parsed.unwrap_or_else(|error| {
        if !error.use_stderr() {
            error.exit();
        }
        tell!("{}", error.render().ansi().to_string().trim_end());
        std::process::exit(error.exit_code())
    })
}

fn main() -> ExitCode {
    set_hook(Box::new(move |info| {
        if unprinted(info.payload()).is_none() {
            let trace = Backtrace::capture();
            let trace = if trace.status() == BacktraceStatus::Captured { format!("\n{trace}") } else { String::new() };
            tell!("{info}{trace}");
        }
    }));
    setaccio_base::unwound::keep_quiet();
    // The list that build.rs writes.
    setaccio_base::bundle::install(include!(concat!(env!("OUT_DIR"), "/bundle.rs")));
    let error = match catch_unwind(|| arguments().command.run()) {
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
    tell!("{}error:{:#} {error:#}", style::BAD, style::BAD);
    let stopped = matches!(error.downcast_ref(), Some(setaccio_curate::Error::Interrupted))
        || matches!(error.downcast_ref(), Some(setaccio_hub::Error::Interrupted))
        || commands::interrupted(&error);
    if stopped { ExitCode::from(INTERRUPTED) } else { ExitCode::FAILURE }
}
