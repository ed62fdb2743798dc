//! The progress of a run on the bar that the other commands have.

use setaccio_base::progress::Progress;
use setaccio_train::{Error, session::Watch};

use crate::progress::Bar;

pub struct Watching<'a>(pub &'a Bar);

impl Watch for Watching<'_> {
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }

    fn stage(&self, name: &'static str, of: u64) {
        self.0.stage(name, of);
    }

    fn done(&self, more: u64, note: &str) {
        self.0.advance(more, note);
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
