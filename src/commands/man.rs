//! `setaccio man`: the manual pages, from the same declarations as --help.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::CommandFactory;

use crate::{style::GOOD, terminal};

/// Print the manual page, or write one of every command
#[derive(clap::Args)]
pub struct Args {
    /// Folder to write all pages into, for instance ~/.local/share/man/man1
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<()> {
    let command = crate::Cli::command();
    let Some(out) = &args.out else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        return Ok(terminal::exact(&page)?);
    };
    let shown = out.display();
    std::fs::create_dir_all(out).with_context(|| format!("cannot create {shown}"))?;
    clap_mangen::generate_to(command, out).with_context(|| format!("cannot write into {shown}"))?;
    say!("{GOOD}written:{GOOD:#} {shown}; `man setaccio-build` shows one if man looks there");
    Ok(())
}
