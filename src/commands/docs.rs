//! `setaccio docs`: the generated pages of the book.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail};
use setaccio_base::atomic;

use crate::reference;

/// Write the reference pages of the book
#[derive(clap::Args)]
pub struct Args {
    /// The folder of the pages, docs/reference in the repository
    folder: PathBuf,
    /// Write nothing, and fail if a page there is not what would be written
    #[arg(long)]
    check: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let mut stale = Vec::new();
    for (name, text) in reference::pages()? {
        let path = args.folder.join(name);
        if args.check {
            if fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))? != text {
                stale.push(path.display().to_string());
            }
        } else {
            fs::create_dir_all(&args.folder).with_context(|| format!("create {}", args.folder.display()))?;
            atomic::write(&path, text.as_bytes())?;
        }
    }
    if !stale.is_empty() {
        bail!("{} no longer says what the program does; run `just docs-reference`", stale.join(", "));
    }
    Ok(())
}
