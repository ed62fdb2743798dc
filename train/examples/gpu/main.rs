//! `just gpu-check` and `just gpu-bench`, in one program that can be carried to a machine with a GPU and nothing else:
//! kernels are inside as machine code and PTX, weights are made there.
//!
//!     gpu check [--seed N] [--only CASE,...]
//!     gpu bench [--shape llama3-8b|tiny] [--device cuda|cpu] [--runs NAME,...] [--steps N] [--parts N] [--json FILE]
//!         [--card h100|h200] [--profile]
//!
//! With `--steps 0` it says what it expects of that card and measures nothing. With `--profile` a profiler is told to watch
//! one step more of each run (`ncu --profile-from-start off`).

mod bench;
#[cfg(feature = "cuda")]
mod check;
mod model;
mod runs;
mod table;

use std::{collections::BTreeMap, process::ExitCode};

use setaccio_train::{Error, Result};

const USAGE: &str = "gpu check [--seed N] [--only CASE,...]\n\
    gpu bench [--shape llama3-8b|tiny] [--device cuda|cpu] [--runs NAME,...] [--steps N] [--parts N] [--json FILE]\n    \
    [--card h100|h200] [--profile]";

/// Options without a value.
const SWITCHES: [&str; 1] = ["profile"];

/// `--name value` pairs, and switches, each of them known.
struct Options(BTreeMap<String, String>);

impl Options {
    fn read(mut args: impl Iterator<Item = String>, known: &[&str]) -> Result<Self> {
        let mut options = BTreeMap::new();
        while let Some(arg) = args.next() {
            let name = arg.strip_prefix("--").filter(|name| known.contains(name));
            let Some(name) = name else { return Err(Error::Other(format!("unknown option {arg}; {USAGE}"))) };
            if SWITCHES.contains(&name) {
                options.insert(name.to_owned(), String::new());
                continue;
            }
            let Some(value) = args.next() else { return Err(Error::Other(format!("{arg} needs a value"))) };
            options.insert(name.to_owned(), value);
        }
        Ok(Self(options))
    }

    fn text(&self, name: &str, default: &str) -> String {
        self.0.get(name).map_or(default, String::as_str).to_owned()
    }

    fn number(&self, name: &str, default: u64) -> Result<u64> {
        match self.0.get(name) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| Error::Other(format!("--{name} is a number, not `{text}`"))),
        }
    }

    /// Names divided by commas; none at all stands for all.
    fn names(&self, name: &str) -> Vec<String> {
        self.text(name, "").split(',').map(str::trim).filter(|n| !n.is_empty()).map(str::to_owned).collect()
    }
}

fn run() -> Result<bool> {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        #[cfg(feature = "cuda")]
        Some("check") => check::check(&Options::read(args, &["seed", "only"])?),
        #[cfg(not(feature = "cuda"))]
        Some("check") => {
            Err(Error::Other("this program was built without `--features cuda`: it has no kernels".into()))
        }
        Some("bench") => bench::bench(&Options::read(
            args,
            &["shape", "device", "runs", "steps", "parts", "json", "card", "profile"],
        )?)
        .map(|()| true),
        _ => Err(Error::Other(USAGE.into())),
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
