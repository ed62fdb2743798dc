//! The dataset card: front matter that the Hub understands, then prose, all from the ledger and the lock.

use std::path::Path;

use setaccio_base::atomic;
use setaccio_dataset::{
    folder::{self, CARD, LEDGER, RECIPE_LOCK, WATERFALL},
    ledger::Ledger,
    lock::RecipeLock,
};

use crate::error::{Error, Result};

mod front;
mod prose;
mod waterfall;

pub use waterfall::{Step, edits, steps};

/// Write the card and its picture into a folder.
pub fn write(folder: &Path, ledger: &Ledger, lock: &RecipeLock) -> Result<()> {
    let put = |(name, text): (&str, String)| Ok(atomic::write(&folder.join(name), text.as_bytes())?);
    files(ledger, lock).into_iter().try_for_each(put)
}

/// The picture and the card, by name.
pub fn files(ledger: &Ledger, lock: &RecipeLock) -> [(&'static str, String); 2] {
    [(WATERFALL, waterfall::draw(&steps(ledger))), (CARD, compose(ledger, lock))]
}

/// Write the card of a finished build again.
///
/// # Errors
/// There is no build, its ledger or lock was changed, or the file system refuses.
pub fn rewrite(out: &Path) -> Result<()> {
    let (ledger, lock) = sound(out)?;
    write(out, &ledger, &lock)
}

/// The ledger and the lock of a finished build, which say the same.
///
/// # Errors
/// There is no build, or its ledger or lock was changed.
pub fn sound(out: &Path) -> Result<(Ledger, RecipeLock)> {
    let (ledger, lock) = folder::read(out)?;
    if let Some(fault) = ledger.faults().into_iter().next() {
        let message = format!("does not add up ({fault}); build the folder again");
        return Err(Error::damaged(out.join(LEDGER), message));
    }
    if lock.digest() != lock.fingerprint {
        return Err(Error::damaged(out.join(RECIPE_LOCK), "was changed after the build; build the folder again"));
    }
    Ok((ledger, lock))
}

/// The card's text.
pub fn compose(ledger: &Ledger, lock: &RecipeLock) -> String {
    format!("{}{}", front::matter(ledger, lock), prose::body(ledger, lock, &steps(ledger)))
}

#[cfg(test)]
mod tests;
