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

mod batch_system;
#[cfg(feature = "browse")]
mod browse;
mod commands;
mod excerpt;
mod fetch;
mod inputs;
mod jobs;
mod kind;
mod layout;
mod output;
mod progress;
mod reference;
mod signals;
mod stores;
mod style;
mod submission;

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
  130  stopped by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP, 138 by SIGUSR1: the same command goes on from there (`train` with
       --resume)";

/// Why stdout could not be written, if that is what a panic says.
fn unprinted(panic: &(dyn Any + Send)) -> Option<&str> {
    panic.downcast_ref::<String>()?.strip_prefix(terminal::UNPRINTED)
}

/// The command line. What is said of arguments that cannot be understood shows what a terminal would obey in them.
fn arguments() -> Cli {
    let plain = std::env::args_os().all(|argument| shown(&argument.to_string_lossy()) == argument.to_string_lossy());
    let parsed = if plain {
        Cli::try_parse()
    } else {
        // Without clap's own colours all that looks like one is of an argument.
        Cli::command().styles(Styles::plain()).try_get_matches().and_then(|m| Cli::from_arg_matches(&m))
    };
    parsed.unwrap_or_else(|error| {
        let code = error.exit_code();
        if error.use_stderr() && !plain {
            tell!("{}", error.render().ansi().to_string().trim_end());
            std::process::exit(code);
        }
        match error.print() {
            Err(why) if !error.use_stderr() && why.kind() != std::io::ErrorKind::BrokenPipe => {
                tell!("{}error:{:#} cannot write to stdout: {why}", style::BAD, style::BAD);
                std::process::exit(1)
            }
            _ => std::process::exit(code),
        }
    })
}

/// Commands that compute with a model.
const COMPUTING: [&str; 6] = ["train", "train-all", "generate", "eval", "audit", "serve"];

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|command| COMPUTING.iter().any(|name| command == *name)) {
        setaccio_base::large_buffers::keep();
        signals::ignore_closed_pipes();
    }
    signals::watch();
    stores::install();
    set_hook(Box::new(|info| {
        terminal::give_back();
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
        Ok(Ok(())) => return if terminal::all_told() { ExitCode::SUCCESS } else { ExitCode::FAILURE },
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
    // What was read or written elsewhere says where.
    let bare = error.is::<std::io::Error>() && error.chain().count() == 1;
    let error = if bare { error.context("cannot write to stdout") } else { error };
    tell!("{}error:{:#} {error:#}", style::BAD, style::BAD);
    terminal::all_told();
    if commands::stopped(&error) { ExitCode::from(signals::exit_code()) } else { ExitCode::FAILURE }
}
