//! The browser's command where the browser was left out: it says how to bring it in.

use anyhow::{Result, bail};

/// Whatever is asked of it.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _rest: Vec<String>,
}

pub fn run(_: &Args) -> Result<()> {
    bail!(
        "this build has no browser; `setaccio browse` needs the feature `browse`, which is there unless a build leaves out what it has by \
         default:\n  cargo run --release --features browse -- browse ..."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_to_bring_the_browser_in() {
        let said = run(&Args { _rest: Vec::new() }).unwrap_err().to_string();
        assert!(said.contains("--features browse"), "{said}");
    }
}
