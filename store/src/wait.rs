//! Waiting for what a store answers, on the thread that asks.

use std::{sync::OnceLock, time::Duration};

use setaccio_base::objects::{Result, StoreError, Why};
use tokio::runtime::{Builder, Runtime};

/// How often somebody who waits looks whether to stop.
const LOOK: Duration = Duration::from_millis(100);

/// Whether the program was told to stop.
pub type Stopped = fn() -> bool;

/// The runtime that requests are made on. One thread goes from one to the other; each waits for its server on a thread of its own.
fn runtime() -> std::io::Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("store").enable_time().build()?;
    Ok(RUNTIME.get_or_init(|| runtime))
}

/// Waits for stores, until the program is told to stop.
#[derive(Clone, Copy)]
pub struct Waiter(pub Stopped);

impl Waiter {
    /// What `future`, which asks for something at `address`, gives.
    ///
    /// # Errors
    /// What it says; or the program is told to stop before, or the system gives no thread.
    pub fn wait<T>(self, address: &str, future: impl Future<Output = Result<T>>) -> Result<T> {
        let refused = |e| StoreError::new(address, Why::Refused, format!("the system gives no thread for it: {e}"));
        let runtime = runtime().map_err(refused)?;
        let done = runtime.block_on(async {
            tokio::pin!(future);
            let mut look = tokio::time::interval(LOOK);
            loop {
                tokio::select! {
                    biased;
                    done = &mut future => return Some(done),
                    _ = look.tick() => if (self.0)() { return None },
                }
            }
        });
        done.unwrap_or_else(|| Err(StoreError::new(address, Why::Interrupted, "interrupted")))
    }
}
