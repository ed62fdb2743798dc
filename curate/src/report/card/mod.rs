//! The dataset card: front matter that the Hub understands, then prose, all from the ledger and the lock.

use std::path::Path;

use setaccio_filters::screen::Tally;

use crate::{
    error::{Error, Result},
    folder::write_whole,
    plan::lock::RecipeLock,
};
use setaccio_dataset::ledger::{Ledger, STAGES};

mod front;
mod license;
mod prose;
mod waterfall;

pub use front::quoted;
pub use license::strictest;

/// Write the card and its picture into a folder.
///
/// # Errors
/// The file system refuses.
pub fn write(folder: &Path, ledger: &Ledger, lock: &RecipeLock) -> Result<()> {
    files(ledger, lock).into_iter().try_for_each(|(name, text)| write_whole(&folder.join(name), text.as_bytes()))
}

/// The picture and the card, by name.
pub fn files(ledger: &Ledger, lock: &RecipeLock) -> [(&'static str, String); 2] {
    [("waterfall.svg", waterfall::draw(&steps(ledger))), ("README.md", compose(ledger, lock))]
}

/// Write the card of a finished build again.
///
/// # Errors
/// There is no build, its ledger or lock was changed, or the file system refuses.
pub fn rewrite(folder: &Path) -> Result<()> {
    let (ledger, lock) = setaccio_dataset::folder::read(folder)?;
    if let Some(fault) = ledger.faults().into_iter().next() {
        let message = format!("does not add up ({fault}); build the folder again");
        return Err(Error::Damaged { path: folder.join("ledger.json"), message });
    }
    if lock.digest() != lock.fingerprint {
        let message = "was changed after the build; build the folder again".into();
        return Err(Error::Damaged { path: folder.join(crate::plan::lock::NAME), message });
    }
    write(folder, &ledger, &lock)
}

/// The card's text.
pub fn compose(ledger: &Ledger, lock: &RecipeLock) -> String {
    format!("{}{}", front::matter(ledger, lock), prose::body(ledger, lock, &steps(ledger)))
}

/// One step of the waterfall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Stage, or rule within it.
    pub name: String,
    /// Whether it is a rule rather than a whole stage.
    pub rule: bool,
    /// Rows before it.
    pub rows_in: u64,
    /// Rows it dropped.
    pub dropped: u64,
    /// What it edited, for people.
    pub edits: String,
}

/// The way of the rows through stages and rules. Stages whose only rule is their own are one step.
fn steps(ledger: &Ledger) -> Vec<Step> {
    let mut steps = Vec::new();
    for name in STAGES.iter().filter(|s| **s != "split") {
        let Some(stage) = ledger.stage(name) else { continue };
        let mut left = stage.flow.rows_in;
        let inner = stage.rules.len() > 1 || stage.rules.iter().any(|r| r.rule != *name && r.rule != "bad_row");
        if !inner {
            let dropped = stage.flow.rows_in - stage.flow.rows_out;
            steps.push(Step { name: (*name).into(), rule: false, rows_in: left, dropped, edits: String::new() });
            continue;
        }
        for rule in &stage.rules {
            let (name, dropped) = (rule.rule.clone(), rule.tally.dropped);
            steps.push(Step { name, rule: true, rows_in: left, dropped, edits: edits(&rule.tally) });
            left -= dropped;
        }
    }
    steps
}

/// What a step changed without dropping a row, for people; empty if nothing.
pub fn edits(tally: &Tally) -> String {
    let edits = [
        (tally.lines_dropped, "lines dropped"),
        (tally.lines_edited, "lines edited"),
        (tally.rows_edited, "rows edited"),
    ];
    let told = edits.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", grouped(*n)));
    told.collect::<Vec<_>>().join(", ")
}

/// 1234567 as 1,234,567.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let head = digits.len() % 3;
    let mut parts = vec![&digits[..head]];
    parts.extend((head..digits.len()).step_by(3).map(|i| &digits[i..i + 3]));
    parts.retain(|p| !p.is_empty());
    parts.join(",")
}

/// `part` of `whole` in percent.
#[allow(clippy::cast_precision_loss, reason = "shown to one decimal")]
pub fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 }
}

#[cfg(test)]
mod tests;
