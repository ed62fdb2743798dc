//! `setaccio browse`: the rows of a build, in a terminal.

use std::path::PathBuf;

use anyhow::Result;

use crate::browse;

/// Walk through the rows of a build in the terminal: those that were kept, and those that each rule dropped
#[derive(clap::Args)]
pub struct Args {
    /// Folder of a finished build
    out: PathBuf,
}

pub fn run(args: &Args) -> Result<()> {
    browse::run(&args.out)
}
