//! The retry rule: which failures are tried again, how often, and after which wait.

use std::time::{Duration, Instant};

use setaccio_base::progress::Progress;

use crate::error::{Error, Result};

/// Attempts before giving up, when none of them makes progress.
const MAX_ATTEMPTS: u32 = 6;
/// The longest backoff, where the Hub asks for no wait of its own.
const MAX_BACKOFF: Duration = Duration::from_secs(8);
/// The longest `Retry-After` that is sat through.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(5);
/// From this wait on, a person is told what is being waited for.
const WORTH_A_NOTE: Duration = Duration::from_secs(2);

/// What one attempt gives.
pub type Attempt<T> = std::result::Result<T, RetryableError>;

/// Why one attempt failed, and whether another makes sense.
#[derive(Debug)]
pub struct RetryableError {
    /// What is said if it was the last attempt.
    pub error: Error,
    /// Whether to try again.
    pub retry: bool,
    /// How long the Hub asks to wait.
    pub retry_after: Option<Duration>,
    /// Whether the attempt made progress: then the attempts before it count no more.
    pub progressed: bool,
}

/// An error is permanent unless it is said to be transient.
impl From<Error> for RetryableError {
    fn from(error: Error) -> Self {
        Self { error, retry: false, retry_after: None, progressed: false }
    }
}

impl RetryableError {
    /// Another attempt may succeed.
    pub fn transient(error: Error) -> Self {
        Self { retry: true, ..error.into() }
    }
}

/// Repeat `attempt` until it succeeds, fails for good, or has failed [`MAX_ATTEMPTS`] times in a row without
/// progress. The wait is `first_wait` at first and doubles with each failure, unless the Hub names one.
pub fn with_retry<T>(
    first_wait: Duration,
    progress: &dyn Progress,
    mut attempt: impl FnMut() -> Attempt<T>,
) -> Result<T> {
    let mut failed = 0;
    loop {
        if progress.cancelled() {
            return Err(Error::Interrupted);
        }
        let failure = match attempt() {
            Ok(value) => return Ok(value),
            Err(failure) => failure,
        };
        failed = if failure.progressed { 1 } else { failed + 1 };
        let too_long = failure.retry_after.is_some_and(|wait| wait > MAX_RETRY_AFTER);
        if !failure.retry || failed >= MAX_ATTEMPTS || too_long {
            return Err(failure.error);
        }
        let backoff = (first_wait * 2_u32.pow(failed - 1)).min(MAX_BACKOFF);
        // A wait of nothing is no reason to ask without a pause.
        let wait = failure.retry_after.filter(|wait| !wait.is_zero()).unwrap_or(backoff);
        if wait >= WORTH_A_NOTE {
            progress.note(&format!("waiting {} s: {}", wait.as_secs(), failure.error));
        }
        sleep(wait, progress)?;
    }
}

/// Sleep, and wake up for Ctrl-C.
fn sleep(wait: Duration, progress: &dyn Progress) -> Result<()> {
    let until = Instant::now() + wait;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        if progress.cancelled() {
            return Err(Error::Interrupted);
        }
        std::thread::sleep(left.min(Duration::from_millis(100)));
    }
    Ok(())
}
