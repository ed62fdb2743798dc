//! Calls of crates that read other people's files: some of what a damaged file says of itself makes them panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What is said of a file whose reader panics.
pub const CONTRADICTION: &str = "what it holds contradicts what it says of it";

/// What `call` gives, or `contradiction` if it panics.
pub fn unwound<T, E>(call: impl FnOnce() -> Result<T, E>, contradiction: impl FnOnce(String) -> E) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| Err(contradiction(CONTRADICTION.to_owned())))
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
}
