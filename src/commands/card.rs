//! `setaccio card`: write the card of a finished build again, from its ledger and lock, or show it with what a person thought of rows.

use std::path::PathBuf;

use anyhow::Result;
use setaccio_base::lock_file::Mode;
use setaccio_curate::{
    folder::OutputFolder,
    report::{card, review::Review},
};
use setaccio_dataset::folder;

use crate::style::GOOD;

/// Rewrite the dataset card from the ledger
#[derive(clap::Args)]
pub struct Args {
    /// Folder of a finished build
    out: PathBuf,
    /// Show the card with what `review` was told of rows, and write nothing: the card in the folder follows from ledger and lock alone
    #[arg(long)]
    review: bool,
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
    if args.review {
        let (ledger, lock) = card::sound(&args.out)?;
        say!("{}\n{}", card::compose(&ledger, &lock), Review::open(&args.out)?.section()?.trim_end());
        return Ok(());
    }
    let _held = OutputFolder::open(&args.out, Mode::Exclusive)?;
    card::rewrite(&args.out)?;
    say!("{GOOD}written:{GOOD:#} {}", args.out.join("README.md").display());
    Ok(())
}
