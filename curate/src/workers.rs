//! Work shared out by number: any number of threads, one order of results.

use std::sync::{
    Condvar, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use crate::error::{Error, Result};

/// A pool of `jobs` threads.
///
/// # Errors
/// The system gives no threads.
pub fn pool(jobs: usize) -> Result<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(jobs)
        .thread_name(|i| format!("worker-{i}"))
        .build()
        .map_err(|e| Error::Render(format!("cannot start {jobs} threads: {e}; give a smaller --jobs")))
}

/// Run `make(0..n)` on the pool and hand the results to `consume` in order of number.
/// No more results than threads are held at once. The first error stops everything.
///
/// # Errors
/// The first that `make` or `consume` gives; of several at once, the one with the lowest number.
pub fn ordered<T: Send>(
    pool: &rayon::ThreadPool,
    n: usize,
    make: impl Fn(usize) -> Result<T> + Sync,
    consume: impl FnMut(T) -> Result<()> + Send,
) -> Result<()> {
    struct State<C> {
        turn: usize,
        consume: C,
        failed: Option<(usize, Error)>,
    }
    let next = AtomicUsize::new(0);
    let state = Mutex::new(State { turn: 0, consume, failed: None });
    let moved = Condvar::new();
    // A panic elsewhere ends the process through the pool; until then the state stays usable.
    let lock = || -> MutexGuard<'_, State<_>> { state.lock().unwrap_or_else(PoisonError::into_inner) };
    let fail = |i: usize, error: Error| {
        let mut state = lock();
        if state.failed.as_ref().is_none_or(|(first, _)| i < *first) {
            state.failed = Some((i, error));
        }
        moved.notify_all();
    };
    pool.broadcast(|_| {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= n || lock().failed.is_some() {
                return;
            }
            let made = match make(i) {
                Ok(made) => made,
                Err(error) => return fail(i, error),
            };
            let mut state = lock();
            while state.turn != i && state.failed.is_none() {
                state = moved.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.failed.is_some() {
                return;
            }
            if let Err(error) = (state.consume)(made) {
                drop(state);
                return fail(i, error);
            }
            state.turn += 1;
            moved.notify_all();
        }
    });
    let failed = lock().failed.take();
    failed.map_or(Ok(()), |(_, error)| Err(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_for_any_number_of_threads() -> Result<()> {
        for jobs in [1, 2, 5] {
            let mut seen = Vec::new();
            ordered(
                &pool(jobs)?,
                100,
                |i| {
                    std::thread::sleep(std::time::Duration::from_micros((i as u64 * 7919) % 300));
                    Ok(i)
                },
                |i| {
                    seen.push(i);
                    Ok(())
                },
            )?;
            assert_eq!(seen, (0..100).collect::<Vec<_>>());
        }
        Ok(())
    }

    #[test]
    fn an_error_stops_the_others_and_comes_out() -> Result<()> {
        let made = |i| if i == 7 { Err(Error::Render(format!("number {i}"))) } else { Ok(i) };
        let error = ordered(&pool(3)?, 50, made, |_| Ok(())).err().map(|e| e.to_string());
        assert_eq!(error.as_deref(), Some("number 7"));
        Ok(())
    }
}
