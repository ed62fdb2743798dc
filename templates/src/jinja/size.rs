//! How large a value may grow.

use super::failure::{Failure, Result};

/// No string, list or tuple that a template makes is longer.
const LONGEST: usize = 1 << 26;

/// That so many bytes or items may be made at once.
pub fn fits(length: usize) -> Result<usize> {
    if length > LONGEST {
        return Err(Failure::new(format!("a text or list of {length} bytes or items is too long")));
    }
    Ok(length)
}
