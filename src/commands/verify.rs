//! `setaccio verify`: is this folder still what the build made of it?

use std::path::PathBuf;

use anyhow::{Result, bail};
use setaccio_curate::report::verify;

use crate::style::{BAD, GOOD};

/// Check every hash and count of a finished build
#[derive(clap::Args)]
pub struct Args {
    /// Folder of a finished build
    out: PathBuf,
}

pub fn run(args: &Args) -> Result<()> {
    let report = verify::verify(&args.out)?;
    for fault in &report.faults {
        anstream::println!("{BAD}wrong:{BAD:#} {fault}");
    }
    if !report.faults.is_empty() {
        bail!("{} of {} checks failed; build the folder again", report.faults.len(), report.checks);
    }
    anstream::println!("{GOOD}whole:{GOOD:#} {} files, {} rows, {} checks", report.files, report.rows, report.checks);
    Ok(())
}
