//! The server's command where the server was left out: it says how to bring it in.

use anyhow::{Result, bail};

pub use crate::commands::anything::Anything as Args;

pub fn run(_: &Args) -> Result<()> {
    bail!(
        "this build has no server; `setaccio serve` needs the feature `serve`:\n  \
         cargo run --release --features serve -- serve ...          on a CPU\n  \
         cargo run --release --features serve,cuda -- serve ...     on an NVIDIA GPU, with a CUDA toolkit to compile"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_to_bring_the_server_in() {
        let said = run(&Args::default()).unwrap_err().to_string();
        assert!(said.contains("--features serve"), "{said}");
    }
}
