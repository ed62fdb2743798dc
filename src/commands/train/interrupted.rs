//! Whether a command of the trainer ended because it was asked to.

use setaccio_train::Error;

/// Whether a run ended because it was asked to.
pub fn interrupted(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Error::Interrupted | Error::Stopped))
}
