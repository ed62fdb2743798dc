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

pub fn run(_: &Args) -> Result<()> {
    missing("train")
}

pub fn generate(_: &GenerateArgs) -> Result<()> {
    missing("generate")
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
