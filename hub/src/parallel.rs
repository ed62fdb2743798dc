//! Several requests at a time.

use std::{
    ops::ControlFlow,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use setaccio_base::{
    parallel::{each_number, thread_pool},
    progress::Progress,
};

use crate::error::{Error, Result};

/// Do `work` for every number below `n`, on `threads` threads; the results keep the order of the numbers. The first that
/// fails stops the others at their next safe point; of several failures the one of the lowest number is returned.
pub fn try_parallel<T: Send>(
    n: usize,
    threads: usize,
    progress: &dyn Progress,
    work: impl Fn(usize, &dyn Progress) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let stop = StopOnFailure { progress, failed: AtomicBool::new(false) };
    let done: Mutex<Vec<(usize, Result<T>)>> = Mutex::default();
    each_number(&thread_pool(threads.clamp(1, n.max(1)))?, n, |i| {
        if stop.cancelled() {
            return ControlFlow::Break(());
        }
        let result = work(i, &stop);
        stop.failed.fetch_or(result.is_err(), Ordering::Relaxed);
        done.lock().unwrap_or_else(PoisonError::into_inner).push((i, result));
        ControlFlow::Continue(())
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(i, _)| *i);
    // Those that were merely stopped have nothing to say while another has.
    if let Some(at) = done.iter().position(|(_, r)| matches!(r, Err(e) if !matches!(e, Error::Interrupted))) {
        return done.swap_remove(at).1.map(|_| Vec::new());
    }
    let whole = done.len() == n;
    let results = done.into_iter().map(|(_, r)| r).collect::<Result<Vec<T>>>()?;
    if whole { Ok(results) } else { Err(Error::Interrupted) }
}

/// The caller's progress, which also says stop once one of the calls has failed.
struct StopOnFailure<'a> {
    progress: &'a dyn Progress,
    failed: AtomicBool,
}

impl Progress for StopOnFailure<'_> {
    fn cancelled(&self) -> bool {
        self.progress.cancelled() || self.failed.load(Ordering::Relaxed)
    }

    fn bytes(&self, bytes: u64) {
        self.progress.bytes(bytes);
    }

    fn note(&self, sentence: &str) {
        self.progress.note(sentence);
    }

    fn warn(&self, sentence: &str) {
        self.progress.warn(sentence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_their_order_and_the_first_failure_is_told() {
        let squares = try_parallel(50, 4, &(), |i, _| Ok(i * i)).unwrap_or_default();
        assert_eq!(squares, (0..50).map(|i| i * i).collect::<Vec<_>>());
        let work = |i: usize, progress: &dyn Progress| match i {
            3 => Err(Error::Invalid("three".into())),
            _ if progress.cancelled() => Err(Error::Interrupted),
            _ => Ok(i),
        };
        assert!(matches!(try_parallel(50, 4, &(), work), Err(Error::Invalid(e)) if e == "three"));
        assert!(try_parallel(0, 4, &(), |_, _| Ok(())).is_ok());
    }
}
