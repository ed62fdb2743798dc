//! `setaccio report`: the page that shows a finished build, a run or a chain.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use setaccio_base::run_lock;
use setaccio_curate::report::page;
use setaccio_dataset::folder::LEDGER;

use super::{train, verify::CHAIN};
use crate::{
    inputs::installed_lists,
    output::Output,
    style::{GOOD, counted, megabytes},
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
    let there = |name: &str| out.join(name).is_file();
    let written = if there(LEDGER) || !(there(CHAIN) || there(run_lock::NAME)) {
        page::write(out, &installed_lists(), &progress)?
    } else if there(CHAIN) {
        train::chain_page(out)?
    } else {
        train::run_page(out)?
    };
    progress.clear();
    args.output.give("report", &written, |written| {
        let (size, rows) = (megabytes(written.bytes), counted(written.rows as u64, "row"));
        say!("{GOOD}written:{GOOD:#} {} ({size}, {rows} to look at)", written.file.display());
    })?;
    if args.open { open(&written.file) } else { Ok(()) }
}

/// Give a file to what the person's desktop opens pages with.
fn open(file: &Path) -> Result<()> {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let by_hand = || format!("cannot open a browser; open {} in one", file.display());
    // What it says is of no use to a person, and this terminal is ours.
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$1\" </dev/null >/dev/null 2>&1", program]).arg(file);
    let ended = command.status().with_context(by_hand)?;
    if !ended.success() {
        bail!("{}: {program} failed ({ended})", by_hand());
    }
    Ok(())
}
