//! Whether a command of the trainer ended because it was asked to.

use setaccio_train::Error;

/// Whether a run ended because it was asked to.
pub fn interrupted(error: &anyhow::Error) -> bool {
    let evaluated = |error: &setaccio_eval::Error| error.interrupted();
    matches!(error.downcast_ref(), Some(Error::Interrupted | Error::Stopped))
        || error.downcast_ref().is_some_and(evaluated)
}
