//! `setaccio report`: the page that shows a finished build, a run or a chain.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Result;
use setaccio_curate::report::page;

use super::train;
use crate::{
    inputs::installed_lists,
    kind::Kind,
    output::Output,
    style::{BAD, GOOD, counted, megabytes},
};

/// Write a page that shows what was kept, what was dropped and why; of a run or a chain, how it learned
#[derive(clap::Args)]
pub struct Args {
    /// Folder of a finished build, or of a run or a chain
    out: PathBuf,
    /// Show it in a browser
    #[arg(long)]
    open: bool,
    #[command(flatten)]
    output: Output,
}

pub fn run(args: &Args) -> Result<()> {
    let progress = args.output.bar();
    let out = &args.out;
    let written = match Kind::of(out)? {
        Kind::Build => page::write(out, &installed_lists(), &progress)?,
        Kind::Chain => train::chain_page(out)?,
        Kind::Run => train::run_page(out)?,
    };
    progress.clear();
    args.output.give("report", &written, |written| {
        let (size, rows) = (megabytes(written.bytes), counted(written.rows as u64, "row"));
        say!("{GOOD}written:{GOOD:#} {} ({size}, {rows} to look at)", written.file.display());
    })?;
    // The page is there, whoever shows it.
    if let Some(why) = args.open.then(|| open(&written.file)).flatten() {
        tell!("{BAD}not opened:{BAD:#} {why}");
    }
    Ok(())
}

/// Give a file to what the person's desktop opens pages with; why that could not be done, if it could not.
fn open(file: &Path) -> Option<String> {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    // What it says is of no use to a person, and this terminal is ours.
    let opened =
        Command::new(program).arg(file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let why = match opened {
        Ok(ended) if ended.success() => return None,
        Ok(ended) => format!("{program} failed ({ended})"),
        Err(error) if error.kind() == ErrorKind::NotFound => format!("there is no {program} on this machine"),
        Err(error) => format!("cannot run {program}: {error}"),
    };
    Some(format!("{why}; open {} in a browser", file.display()))
}
