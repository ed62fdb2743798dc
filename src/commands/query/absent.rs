//! The command of queries where their engine was left out: it says how to bring it in.

use anyhow::{Result, bail};

pub use crate::commands::anything::Anything as Args;

pub fn run(_: &Args) -> Result<()> {
    bail!(
        "this build answers no queries; `setaccio query` needs the feature `query`:\n  \
         cargo run --release --features query -- query ...          alone\n  \
         cargo run --release --features train,query -- query ...    with the trainer"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_to_bring_the_engine_in() {
        let said = run(&Args::default()).unwrap_err().to_string();
        assert!(said.contains("--features query"), "{said}");
    }
}
