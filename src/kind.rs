//! What a folder holds that commands are given: a build, a run or a chain.

use std::path::Path;

use anyhow::{Result, bail};
use setaccio_base::run_lock;
use setaccio_dataset::folder::{LEDGER, absent};

/// There in the folder of a chain.
pub const CHAIN: &str = "chain.lock.toml";

/// What a folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A build.
    Build,
    /// A run.
    Run,
    /// A chain.
    Chain,
}

impl Kind {
    /// Of this folder.
    ///
    /// # Errors
    /// It is not there, or holds none of them.
    pub fn of(folder: &Path) -> Result<Self> {
        let there = |name: &str| folder.join(name).is_file();
        match () {
            () if there(LEDGER) => Ok(Self::Build),
            () if there(CHAIN) => Ok(Self::Chain),
            () if there(run_lock::NAME) => Ok(Self::Run),
            () if folder.exists() => bail!(
                "{}: holds no build, no run and no chain: there is no {LEDGER}, no {} and no {CHAIN} in it; name the folder that \
                 `setaccio build`, `train` or `train-all` wrote",
                folder.display(),
                run_lock::NAME
            ),
            () => Err(absent(folder).into()),
        }
    }

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Run => "run",
            Self::Chain => "chain",
        }
    }
}
