//! The trainer's commands where the trainer was left out: they say how to bring it in.

use anyhow::{Error, Result, bail};

/// Each command: what its help says, its arguments, which may be anything, and the function that refuses.
macro_rules! absent {
    ($($(#[$about:meta])* $args:ident, $run:ident, $command:literal;)*) => {
        $(
            $(#[$about])*
            #[derive(clap::Args)]
            #[command(disable_help_flag = true)]
            pub struct $args {
                #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
                _rest: Vec<String>,
            }

            pub fn $run(_: &$args) -> Result<()> {
                missing($command)
            }
        )*

        /// What every command says.
        #[cfg(test)]
        fn refusals() -> Vec<(&'static str, Result<()>)> {
            vec![$(($command, $run(&$args { _rest: Vec::new() }))),*]
        }
    };
}

absent! {
    /// Fine-tune a model on built data (this build has no trainer)
    Args, run, "train";
    /// Make a model in stages (this build has no trainer)
    AllArgs, all, "train-all";
    /// Let a model write (this build has no trainer)
    GenerateArgs, generate, "generate";
    /// Add an adapter to its base (this build has no trainer)
    MergeArgs, merge, "merge";
    /// Write a model for other programs (this build has no trainer)
    ExportArgs, export, "export";
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
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_says_how_to_get_the_trainer() {
        for (command, said) in refusals() {
            let said = said.err().map(|e| e.to_string()).unwrap_or_default();
            assert!(
                said.contains(&format!("--features train -- {command} ")) && said.contains("--features cuda"),
                "{said}"
            );
            assert!(crate::Cli::command().find_subcommand(command).is_some(), "there is no command {command}");
        }
    }
}
