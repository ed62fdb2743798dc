//! The pages of `setaccio report` that show runs and chains.

use std::path::Path;

use anyhow::Result;
use setaccio_base::page::Written;
use setaccio_train::{chain, report};

/// Of the run in `folder`.
pub fn run_page(folder: &Path) -> Result<Written> {
    Ok(report::page::write(folder)?)
}

/// Of the chain in `folder`, and of its runs.
pub fn chain_page(folder: &Path) -> Result<Written> {
    Ok(chain::page::write(folder)?)
}
