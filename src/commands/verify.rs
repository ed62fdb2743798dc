//! `setaccio verify`: is this folder still what was written into it?

use std::path::PathBuf;

use anyhow::{Result, bail};
use serde::Serialize;
use setaccio_base::shown::one_line;
use setaccio_curate::{report::verify, source::Names, stored::StoredBuild};

use crate::{
    kind::Kind,
    output::Output,
    stores,
    style::{BAD, FAINT, GOOD, count, counted},
};

mod made;

/// Check every hash and count of a finished build, and every hash of a training run or a chain
#[derive(clap::Args)]
pub struct Args {
    /// Folder of a finished build, run or chain, or the place in an object store that a build was put at
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    foreign: Vec<String>,
    inputs: Inputs,
}

/// How the lock of a build knows its inputs, which are elsewhere and are not looked at.
#[derive(Serialize)]
struct Inputs {
    /// By the SHA-256 of all their bytes.
    sha256: usize,
    /// By what a store calls this version of them; nobody has hashed all of them.
    etag: usize,
}

pub fn run(args: &Args) -> Result<()> {
    let out = &args.out;
    let not_stopped = || false;
    let mut others = Vec::new();
    let (found, again) = if let Some(address) = stores::address(out) {
        let build = StoredBuild::open(address)?;
        let report = verify::verify_on(&build, verify::Scope::Whole, &not_stopped)?;
        others = build.others;
        (made::Made::of_build(report), "build it again, with `--force`")
    } else {
        match Kind::of(out)? {
            Kind::Build => {
                let report = verify::verify(out, verify::Scope::Whole, &not_stopped)?;
                (made::Made::of_build(report), "build the folder again, with `--force`")
            }
            Kind::Chain => {
                let found = made::chain(out, &not_stopped)?;
                (found, "put back what was changed, or remove it and run `setaccio train-all` again")
            }
            Kind::Run => (made::run(out, &not_stopped)?, "put back what was changed, or train again, with `--force`"),
        }
    };
    let made::Made { files, rows, checks, faults, foreign, inputs: [sha256, etag] } = found;
    let inputs = Inputs { sha256, etag };
    let (out, whole) = (out.display().to_string(), faults.is_empty());
    let faults = faults.iter().map(ToString::to_string).collect();
    let verified = Verified { out, whole, files, rows, checks, faults, foreign, inputs };
    args.output.give("verify", &verified, |verified| {
        for fault in &verified.faults {
            say!("{BAD}wrong:{BAD:#} {}", one_line(fault));
        }
        if !verified.foreign.is_empty() {
            let (count, names) =
                (counted(verified.foreign.len() as u64, "name"), verified.foreign.iter().collect::<Names>());
            say!("{FAINT}{count} in the folder that it did not write: {}{FAINT:#}", one_line(&names.to_string()));
        }
        for other in &others {
            say!("{FAINT}{other} is a build that does not count: one that was cut short, or that is being put there{FAINT:#}");
        }
        let Inputs { sha256, etag } = verified.inputs;
        if etag > 0 {
            let all = counted((sha256 + etag) as u64, "input");
            say!(
                "{FAINT}known by an ETag, which is what a store calls a version of an object: {} of {all}; nobody has hashed all of \
                 its bytes{FAINT:#}",
                count(etag as u64)
            );
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
        bail!("{} of {} checks failed; {again}", verified.faults.len(), verified.checks);
    }
    Ok(())
}
