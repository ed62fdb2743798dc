//! What rendering one row may take: steps, depth, and how large a value grows. A template that asks for more is refused with
//! the limit that it met, and so every template comes to an end, whoever wrote it.
//!
//! Steps and depth are counted for the thread that renders, so that whatever goes through a value can count its own work.

use std::cell::Cell;

use setaccio_base::numbers::grouped;

use super::failure::{Failure, Result};

/// Steps of one rendering. A step is a part of an expression, an item of a list that is made or compared, or 64 bytes of a
/// text. A conversation takes some thousands.
const STEPS: u64 = 20_000_000;

/// Steps beside these for each pair of turns: a few published templates look back over all turns at each.
const STEPS_A_PAIR: u64 = 32;

/// Turns beyond which a row has no more steps.
const TURNS: u64 = 4096;

/// How deep blocks, expressions, calls and filters may lie in one another: as deep as the stack of a worker's thread
/// (2 MiB) holds twice, without optimisation.
const DEPTH: usize = 350;

/// Bytes of a text, above what the largest row has that a build reads.
const LONGEST: usize = 1 << 26;

/// Items of a list.
pub const MOST: usize = 1 << 20;

/// Bytes of a template's source. Published ones have up to 60,000.
const LONGEST_SOURCE: usize = 1 << 20;

/// Digits behind the point, which the standard library writes.
const DIGITS: usize = 60_000;

thread_local! {
    static STEPS_OF_ROW: Cell<u64> = const { Cell::new(STEPS) };
    static LEFT: Cell<u64> = const { Cell::new(STEPS) };
    static LEVEL: Cell<usize> = const { Cell::new(0) };
}

/// A rendering, for as long as it is kept.
pub struct Rendering {
    before: (u64, u64, usize),
}

impl Rendering {
    /// Of a row that has so many turns.
    pub fn begin(turns: usize) -> Self {
        let turns = (turns as u64).min(TURNS);
        let steps = STEPS + STEPS_A_PAIR * turns * turns;
        Self { before: (STEPS_OF_ROW.replace(steps), LEFT.replace(steps), LEVEL.replace(0)) }
    }
}

impl Drop for Rendering {
    fn drop(&mut self) {
        let (steps, left, level) = self.before;
        STEPS_OF_ROW.set(steps);
        LEFT.set(left);
        LEVEL.set(level);
    }
}

/// Take so many steps.
///
/// # Errors
/// There are not so many left.
pub fn spend(steps: usize) -> Result<()> {
    if spend_all(steps) {
        return Ok(());
    }
    Err(Failure::new(format!(
        "the template needs more than {} steps, the most for a row of so many turns, or does not come to an end",
        grouped(STEPS_OF_ROW.get())
    )))
}

/// [`spend`] where nothing can fail: whether there were so many. From then on every [`spend`] fails.
pub fn spend_all(steps: usize) -> bool {
    let left = LEFT.get().checked_sub(u64::try_from(steps).unwrap_or(u64::MAX)).filter(|left| *left > 0);
    LEFT.set(left.unwrap_or(0));
    left.is_some()
}

/// The steps of going through a text.
pub fn read(text: &str) -> Result<()> {
    spend(text.len() / 64)
}

/// The same, letter by letter.
pub fn spell(text: &str) -> Result<()> {
    spend(text.len() / 16)
}

/// What `run` gives, one level down.
pub fn deeper<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    spend(1)?;
    let level = LEVEL.get();
    if level >= DEPTH {
        return Err(Failure::new(format!("the template calls itself too deeply: more than {DEPTH} levels")));
    }
    LEVEL.set(level + 1);
    let result = run();
    LEVEL.set(level);
    result
}

/// That a text of so many bytes may be made.
pub fn fits(bytes: usize) -> Result<usize> {
    if bytes > LONGEST {
        return Err(Failure::new(format!("a text is too long: more than {} MiB", LONGEST >> 20)));
    }
    Ok(bytes)
}

/// That a list of so many items may be made, and its steps.
pub fn items(count: usize) -> Result<usize> {
    if count > MOST {
        return Err(Failure::new(format!("a list is too long: more than {} items", grouped(MOST as u64))));
    }
    spend(count)?;
    Ok(count)
}

/// That a list of so many items may have another one, and its step.
pub fn another(count: usize) -> Result<()> {
    if count < MOST { spend(1) } else { items(count + 1).map(drop) }
}

/// That a number may have so many digits behind its point.
pub fn digits(count: usize) -> Result<usize> {
    if count > DIGITS {
        return Err(Failure::new(format!("a number is too long: more than {} digits", grouped(DIGITS as u64))));
    }
    Ok(count)
}

/// That a template may have this source.
pub fn source(text: &str) -> Result<()> {
    if text.len() > LONGEST_SOURCE {
        return Err(Failure::new(format!("the template is too long: more than {} MiB", LONGEST_SOURCE >> 20)));
    }
    Ok(())
}
