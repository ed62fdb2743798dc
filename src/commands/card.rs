//! `setaccio card`: write the card of a finished build again, from its ledger and lock.

use std::path::PathBuf;

use anyhow::Result;
use setaccio_base::lock_file::Mode;
use setaccio_curate::{folder::OutputFolder, report::card};
use setaccio_dataset::folder;

use crate::style::GOOD;

/// Rewrite the dataset card from the ledger
#[derive(clap::Args)]
pub struct Args {
    /// Folder of a finished build
    out: PathBuf,
}

pub fn run(args: &Args) -> Result<()> {
    if !args.out.exists() {
        return Err(folder::absent(&args.out).into());
    }
    anyhow::ensure!(
        args.out.join("ledger.json").exists(),
        "{} holds no ledger.json: build it first",
        args.out.display()
    );
    let _held = OutputFolder::open(&args.out, Mode::Exclusive)?;
    card::rewrite(&args.out)?;
    say!("{GOOD}written:{GOOD:#} {}", args.out.join("README.md").display());
    Ok(())
}
