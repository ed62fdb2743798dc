//! `setaccio completions`: what a shell needs to complete the command line.

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::terminal;

/// Print the completions of a shell, for instance into ~/.local/share/bash-completion/completions/setaccio
#[derive(clap::Args)]
pub struct Args {
    /// The shell
    shell: Shell,
}

pub fn run(args: &Args) -> Result<()> {
    let mut script = Vec::new();
    generate(args.shell, &mut crate::Cli::command(), "setaccio", &mut script);
    Ok(terminal::exact(&script)?)
}
