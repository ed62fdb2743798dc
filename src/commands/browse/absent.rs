//! The browser's command where the browser was left out: it says how to bring it in.

use anyhow::{Result, bail};

pub use crate::commands::anything::Anything as Args;

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
        let said = run(&Args::default()).unwrap_err().to_string();
        assert!(said.contains("--features browse"), "{said}");
    }
}
