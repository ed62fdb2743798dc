//! A stage of the last pass: pieces of work by number, shown to whoever follows it.

use rayon::ThreadPool;
use setaccio_base::{parallel::ordered_map, progress::Progress};

use crate::error::{Error, Result};

/// One stage: `make` each of `n` pieces on the pool, `consume` them in order, and show it.
pub fn each<T: Send>(
    stage: &'static str,
    n: usize,
    pool: &ThreadPool,
    progress: &dyn Progress,
    make: impl Fn(usize) -> Result<T> + Sync,
    consume: impl FnMut(T) -> Result<()> + Send,
) -> Result<()> {
    progress.stage(stage, n as u64);
    let make =
        |i| if progress.cancelled() { Err(Error::Interrupted) } else { make(i).inspect(|_| progress.advance(1, "")) };
    ordered_map(pool, n, make, consume)
}
