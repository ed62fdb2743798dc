//! The trainer's commands where the trainer was left out: they say how to bring it in.

use std::path::Path;

use anyhow::{Error, Result, bail};
use setaccio_base::page::Written;

pub use crate::commands::anything::Anything as Args;
use crate::output::Output;

pub fn run(_: &Args) -> Result<()> {
    missing("train")
}

pub fn all(_: &Args) -> Result<()> {
    missing("train-all")
}

pub fn audit(_: &Args) -> Result<()> {
    missing("audit")
}

pub fn eval(_: &Args) -> Result<()> {
    missing("eval")
}

pub fn generate(_: &Args) -> Result<()> {
    missing("generate")
}

pub fn merge(_: &Args) -> Result<()> {
    missing("merge")
}

pub fn export(_: &Args) -> Result<()> {
    missing("export")
}

/// A task cannot be checked without what evaluates it.
pub fn task(_: &Path) -> Result<()> {
    missing("pin TASK")
}

pub fn run_page(folder: &Path) -> Result<Written> {
    missing(&format!("report {}", folder.display()))
}

pub fn chain_page(folder: &Path) -> Result<Written> {
    run_page(folder)
}

pub fn compare_runs(a: &Path, b: &Path, _: Output) -> Result<()> {
    missing(&format!("compare {} {}", a.display(), b.display()))
}

pub fn compare_chains(a: &Path, b: &Path, output: Output) -> Result<()> {
    compare_runs(a, b, output)
}

/// Nothing here can be interrupted.
pub fn interrupted(_: &Error) -> bool {
    false
}

fn missing<T>(command: &str) -> Result<T> {
    bail!(
        "this build curates only; `setaccio {command}` needs the trainer:\n  \
         cargo run --release --features train -- {command} ...      on a CPU\n  \
         cargo run --release --features cuda -- {command} ...       on an NVIDIA GPU, with a CUDA toolkit to compile"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_says_how_to_get_the_trainer() {
        let commands = [
            ("train", run as fn(&Args) -> _),
            ("train-all", all),
            ("audit", audit),
            ("eval", eval),
            ("generate", generate),
            ("merge", merge),
            ("export", export),
        ];
        for (name, command) in commands {
            let said = command(&Args::default()).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(
                said.contains(&format!("--features train -- {name}")) && said.contains("--features cuda"),
                "{said}"
            );
        }
    }
}
