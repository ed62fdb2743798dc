//! The trainer's commands where the trainer was left out: they say how to bring it in.

use anyhow::{Error, Result, bail};

/// Fine-tune a model on built data (this build has no trainer)
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _rest: Vec<String>,
}

/// Let a model write (this build has no trainer)
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct GenerateArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _rest: Vec<String>,
}

/// Add an adapter to its base (this build has no trainer)
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct MergeArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _rest: Vec<String>,
}

/// Write a model for other programs (this build has no trainer)
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct ExportArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _rest: Vec<String>,
}

/// Make a model in stages (this build has no trainer)
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct AllArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _rest: Vec<String>,
}

pub fn all(_: &AllArgs) -> Result<()> {
    missing("train-all")
}

pub fn run(_: &Args) -> Result<()> {
    missing("train")
}

pub fn generate(_: &GenerateArgs) -> Result<()> {
    missing("generate")
}

pub fn merge(_: &MergeArgs) -> Result<()> {
    missing("merge")
}

pub fn export(_: &ExportArgs) -> Result<()> {
    missing("export")
}

/// Nothing here can be interrupted.
pub fn interrupted(_: &Error) -> bool {
    false
}

fn missing(command: &str) -> Result<()> {
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
        let said = [
            run(&Args { _rest: Vec::new() }).err().map(|e| e.to_string()),
            generate(&GenerateArgs { _rest: Vec::new() }).err().map(|e| e.to_string()),
            merge(&MergeArgs { _rest: Vec::new() }).err().map(|e| e.to_string()),
            export(&ExportArgs { _rest: Vec::new() }).err().map(|e| e.to_string()),
        ];
        for (command, said) in ["train", "generate", "merge", "export"].iter().zip(said) {
            let said = said.unwrap_or_default();
            assert!(
                said.contains(&format!("--features train -- {command}")) && said.contains("--features cuda"),
                "{said}"
            );
        }
    }
}
