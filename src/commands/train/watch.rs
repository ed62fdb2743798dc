//! The progress of a run on the bar that the other commands have.

use setaccio_curate::build::Watch as _;
use setaccio_train::{Error, session::Watch};

use crate::progress::Progress;

pub struct Watching<'a>(pub &'a Progress);

impl Watch for Watching<'_> {
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }

    fn stage(&self, name: &'static str, of: u64) {
        self.0.stage(name, usize::try_from(of).unwrap_or(usize::MAX));
    }

    fn done(&self, more: u64, note: &str) {
        self.0.advance(more, Some(note));
    }

    fn warn(&self, message: &str) {
        self.0.warn(message);
    }
}

/// Whether a run ended because it was asked to.
pub fn interrupted(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(Error::Interrupted | Error::Stopped | Error::Curate(setaccio_curate::Error::Interrupted))
    )
}
