//! Calls of crates that read other people's files: some of what a damaged file says of itself makes them panic.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook},
    sync::atomic::{AtomicUsize, Ordering},
};

/// What is said of a file whose reader panics.
pub const CONTRADICTION: &str = "what it holds contradicts what it says of it";

thread_local! {
    /// How many calls this thread is in whose panics are caught here.
    static CAUGHT: Cell<u32> = const { Cell::new(0) };
}

/// How many calls there are whose panics are caught on whatever thread.
static ELSEWHERE: AtomicUsize = AtomicUsize::new(0);

/// What `call` gives, or `contradiction` if it panics.
pub fn unwound<T, E>(call: impl FnOnce() -> Result<T, E>, contradiction: impl FnOnce(String) -> E) -> Result<T, E> {
    CAUGHT.set(CAUGHT.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(call));
    CAUGHT.set(CAUGHT.get() - 1);
    result.unwrap_or_else(|_| Err(contradiction(CONTRADICTION.to_owned())))
}

/// The same of a crate that works on threads of its own, whose panics it passes on to the caller.
pub fn unwound_on_all_threads<T, E>(
    call: impl FnOnce() -> Result<T, E>,
    contradiction: impl FnOnce(String) -> E,
) -> Result<T, E> {
    ELSEWHERE.fetch_add(1, Ordering::SeqCst);
    let result = unwound(call, contradiction);
    ELSEWHERE.fetch_sub(1, Ordering::SeqCst);
    result
}

/// Say nothing of panics that [`unwound`] makes errors of: these are told as such. Of others the hook that is there tells.
pub fn keep_quiet() {
    let tell = take_hook();
    set_hook(Box::new(move |info| {
        if CAUGHT.get() == 0 && ELSEWHERE.load(Ordering::SeqCst) == 0 {
            tell(info);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error() {
        let read =
            |bytes: &[u8]| unwound(|| bytes.first().ok_or_else(|| "empty".to_owned()).map(|b| 6 / *b), |said| said);
        assert_eq!([&[2][..], &[], &[0]].map(read), [Ok(3), Err("empty".into()), Err(CONTRADICTION.into())]);
    }

    #[test]
    fn a_panic_is_told_unless_it_is_caught_here() {
        let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let (before, keep) = (take_hook(), told.clone());
        set_hook(Box::new(move |info| {
            // Other tests of this process may panic meanwhile.
            let said = info.payload().downcast_ref::<&str>().copied().unwrap_or_default();
            if said.starts_with("here: ") {
                keep.lock().unwrap_or_else(|e| panic!("{e}")).push(said.to_owned());
            }
        }));
        keep_quiet();
        let _ = unwound(|| -> Result<(), String> { panic!("here: caught") }, |said| said);
        let _ = catch_unwind(|| panic!("here: told"));
        set_hook(before);
        assert_eq!(*told.lock().unwrap_or_else(|e| panic!("{e}")), ["here: told"]);
    }
}
