//! The progress of a run on the bar that the other commands have.

use setaccio_base::progress;
use setaccio_curate::build::Watch as _;
use setaccio_train::Error;

use crate::progress::Progress;

pub struct Watching<'a>(pub &'a Progress);

impl progress::Progress for Watching<'_> {
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }

    fn stage(&self, name: &'static str, total: u64) {
        self.0.stage(name, usize::try_from(total).unwrap_or(usize::MAX));
    }

    fn advance(&self, pieces: u64, note: &str) {
        self.0.advance(pieces, Some(note));
    }

    fn warn(&self, sentence: &str) {
        self.0.warn(sentence);
    }
}

/// Whether a run ended because it was asked to.
pub fn interrupted(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(Error::Interrupted | Error::Stopped | Error::Curate(setaccio_curate::Error::Interrupted))
    )
}
