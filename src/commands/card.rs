//! `setaccio card`: write the card of a finished build again, from its ledger and lock, or show it with what a person thought of rows.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use setaccio_base::lock_file::Mode;
use setaccio_curate::{
    folder::OutputFolder,
    report::{card, review::Review},
};

use crate::{kind::Kind, style::GOOD};

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
    let kind = Kind::of(&args.out)?;
    ensure!(
        kind == Kind::Build,
        "{} holds a {}, and only builds have a ledger to write a card from; a {} has its card from `setaccio {}`",
        args.out.display(),
        kind.name(),
        kind.name(),
        if kind == Kind::Run { "train" } else { "train-all" }
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
