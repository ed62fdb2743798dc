//! `setaccio lists`: put word lists where recipes find them.

use std::path::PathBuf;

use anyhow::Result;
use setaccio_filters::lists;

use crate::{
    inputs,
    style::{GOOD, NAME},
};

/// Install the LDNOOBW word lists from a folder
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Install lists from PATH: the LDNOOBW repository (files `it`, `en`), or the unpacked npm package naughty-words (it.json, en.json)
    Install {
        /// Folder or single list
        path: PathBuf,
        /// Where to [default: SETACCIO_LISTS, or ~/.local/share/setaccio/lists]
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
    },
}

pub fn run(args: &Args) -> Result<()> {
    let Command::Install { path, to } = &args.command;
    let to = to.clone().unwrap_or_else(inputs::installed_lists);
    for list in lists::install(path, &to)? {
        say!("{GOOD}installed{GOOD:#} {} ({} entries); recipes name it", list.path.display(), list.entries);
        say!("  {NAME}{{ name = \"{}\", sha256 = \"{}\" }}{NAME:#}", list.list.name, list.list.sha256);
    }
    Ok(())
}
