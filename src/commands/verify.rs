//! `setaccio verify`: is this folder still what the build made of it?

use std::path::PathBuf;

use anyhow::{Result, bail};
use serde::Serialize;
use setaccio_base::shown::one_line;
use setaccio_curate::report::verify;

use crate::{
    output::Output,
    style::{BAD, GOOD, counted},
};

/// Check every hash and count of a finished build
#[derive(clap::Args)]
pub struct Args {
    /// Folder of a finished build
    out: PathBuf,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Verified {
    out: String,
    whole: bool,
    files: usize,
    rows: u64,
    checks: usize,
    faults: Vec<String>,
}

pub fn run(args: &Args) -> Result<()> {
    let shown = args.out.display();
    let verify::Report { files, rows, checks, faults } = verify::verify(&args.out, verify::Scope::Whole, &|| false)?;
    let verified = Verified { out: shown.to_string(), whole: faults.is_empty(), files, rows, checks, faults };
    args.output.give("verify", &verified, |verified| {
        for fault in &verified.faults {
            say!("{BAD}wrong:{BAD:#} {}", one_line(fault));
        }
        if verified.whole {
            let [files, rows, checks] = [
                counted(verified.files as u64, "file"),
                counted(verified.rows, "row"),
                counted(verified.checks as u64, "check"),
            ];
            say!("{GOOD}whole:{GOOD:#} {files}, {rows}, {checks}");
        }
    })?;
    if !verified.whole {
        bail!("{} of {} checks failed; build the folder again, with `--force`", verified.faults.len(), verified.checks);
    }
    Ok(())
}
