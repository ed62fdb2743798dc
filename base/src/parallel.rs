//! Work shared out by number: any number of threads, one order of results.

use std::{
    any::Any,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

use crate::error::{Error, Result};

/// A pool of `jobs` threads.
pub fn thread_pool(jobs: usize) -> Result<ThreadPool> {
    builder(jobs).build().map_err(refused(jobs))
}

/// Use `jobs` threads for whatever names no pool.
pub fn use_threads(jobs: usize) -> Result<()> {
    builder(jobs).build_global().map_err(refused(jobs))
}

/// Let this thread be one of those that whatever it shares out from here on is done by, as many as there are. No other is woken up for each
/// piece of work, and all that is allocated between pieces comes from one thread: the C library keeps what each thread has freed for itself.
/// In a thread that is one of a pool nothing changes.
pub fn take_part() {
    if rayon::current_thread_index().is_none() {
        let pool = builder(rayon::current_num_threads()).use_current_thread().build();
        // Its other threads sleep for as long as nothing is shared out; without a pool all goes on as it did.
        drop(pool.map(std::mem::forget));
    }
}

fn builder(jobs: usize) -> ThreadPoolBuilder {
    ThreadPoolBuilder::new().num_threads(jobs).thread_name(|i| format!("worker-{i}"))
}

fn refused(jobs: usize) -> impl FnOnce(ThreadPoolBuildError) -> Error {
    move |error| Error::Threads { jobs, reason: error.to_string() }
}

/// Run `work(0..n)` on the pool, lower numbers first, until one breaks off.
pub fn each_number(pool: &ThreadPool, n: usize, work: impl Fn(usize) -> ControlFlow<()> + Sync) {
    let next = AtomicUsize::new(0);
    pool.broadcast(|_| {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= n {
                return;
            }
            if work(i).is_break() {
                // For the other threads.
                next.store(n, Ordering::Relaxed);
                return;
            }
        }
    });
}

/// Run `map(0..n)` on the pool and hand the results to `consume` in order of number.
/// No more results than threads are held at once. The first error stops everything, and so does a panic.
///
/// # Errors
/// The first that `map` or `consume` gives; of several at once, the one with the lowest number. A panic of either is
/// [`Error::Panic`].
pub fn ordered_map<T: Send, E: From<Error> + Send>(
    pool: &ThreadPool,
    n: usize,
    map: impl Fn(usize) -> std::result::Result<T, E> + Sync,
    consume: impl FnMut(T) -> std::result::Result<(), E> + Send,
) -> std::result::Result<(), E> {
    struct State<C, E> {
        turn: usize,
        consume: C,
        failed: Option<(usize, E)>,
    }
    let state = Mutex::new(State { turn: 0, consume, failed: None });
    let moved = Condvar::new();
    // Panics are caught before they reach the lock, so a poisoned one has nothing broken behind it.
    let lock = || -> MutexGuard<'_, State<_, E>> { state.lock().unwrap_or_else(PoisonError::into_inner) };
    let fail = |i: usize, error: E| {
        let mut state = lock();
        if state.failed.as_ref().is_none_or(|(first, _)| i < *first) {
            state.failed = Some((i, error));
        }
        moved.notify_all();
        ControlFlow::Break(())
    };
    each_number(pool, n, |i| {
        let mapped = match caught(|| map(i)) {
            Ok(mapped) => mapped,
            Err(error) => return fail(i, error),
        };
        let mut state = lock();
        while state.turn != i && state.failed.is_none() {
            state = moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.failed.is_some() {
            return ControlFlow::Break(());
        }
        if let Err(error) = caught(|| (state.consume)(mapped)) {
            drop(state);
            return fail(i, error);
        }
        state.turn += 1;
        moved.notify_all();
        ControlFlow::Continue(())
    });
    let failed = lock().failed.take();
    failed.map_or(Ok(()), |(_, error)| Err(error))
}

/// A panic as an error: left alone, it would leave the other threads waiting for its turn.
fn caught<T, E: From<Error>>(work: impl FnOnce() -> std::result::Result<T, E>) -> std::result::Result<T, E> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(Error::Panic(message(panic.as_ref())).into()))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a worker panicked").to_owned()
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn other(message: String) -> Error {
        Error::damaged("test", message)
    }

    #[test]
    fn results_come_in_order_for_any_number_of_threads() -> Result<()> {
        for jobs in [1, 2, 5] {
            let mut seen = Vec::new();
            ordered_map(
                &thread_pool(jobs)?,
                100,
                |i| {
                    std::thread::sleep(std::time::Duration::from_micros((i as u64 * 7919) % 300));
                    Ok::<_, Error>(i)
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
    fn threads_that_the_system_refuses_are_an_error_that_says_what_to_do() {
        let starts = |left: &mut u32, thread: rayon::ThreadBuilder| {
            *left = left.checked_sub(1).ok_or(io::Error::other("no more"))?;
            std::thread::spawn(|| thread.run());
            Ok(())
        };
        for mut left in [0, 2] {
            let built = builder(3).spawn_handler(|thread| starts(&mut left, thread)).build().map_err(refused(3));
            let said = built.err().map(|e| e.to_string());
            assert_eq!(said.as_deref(), Some("cannot start 3 threads: no more; give a smaller --jobs"));
        }
    }

    #[test]
    fn a_thread_that_takes_part_does_its_own_work() {
        std::thread::scope(|threads| {
            let work = || {
                let here = || std::thread::current().id();
                let elsewhere = rayon::scope(|_| here());
                take_part();
                take_part();
                (elsewhere == here(), rayon::scope(|_| here()) == here(), rayon::current_num_threads())
            };
            let all = rayon::current_num_threads();
            assert_eq!(threads.spawn(work).join().ok(), Some((false, true, all)));
        });
    }

    #[test]
    fn an_error_stops_the_others_and_comes_out() -> Result<()> {
        let map = |i| if i == 7 { Err(other(format!("number {i}"))) } else { Ok(i) };
        let error = ordered_map(&thread_pool(3)?, 50, map, |_| Ok(())).err().map(|e| e.to_string());
        assert_eq!(error.as_deref(), Some("test: number 7"));
        Ok(())
    }

    #[test]
    fn a_panic_ends_the_work_instead_of_hanging_it() -> Result<()> {
        for jobs in [1, 3] {
            let pool = thread_pool(jobs)?;
            let mapped = ordered_map(&pool, 50, |i| if i == 7 { panic!("number {i}") } else { Ok(i) }, |_| Ok(()));
            let consumed = ordered_map(&pool, 50, Ok, |i| if i == 7 { panic!("number {i}") } else { Ok(()) });
            for ended in [mapped, consumed] {
                assert!(matches!(&ended, Err(Error::Panic(message)) if message == "number 7"), "{ended:?}");
            }
        }
        Ok(())
    }
}
