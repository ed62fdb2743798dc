//! Where in a text something with digits may stand: all that is looked for there begins with one look at its bytes.

use std::ops::Range;

/// Bytes that are looked at at once.
const BLOCK: usize = 32;
/// Of what begins with letters or a sign and ends with some, so many bytes before and behind the digits.
const BEFORE: usize = 24;
const BEHIND: usize = 48;

/// Stretches of a text with digits, and with runs of capitals.
#[derive(Default)]
pub struct Regions {
    /// Where digits are, or eight capitals that follow each other (letters may stand for all digits of a codice fiscale), with
    /// what may belong to them; and how many digits they are.
    found: Vec<(Range<usize>, u32)>,
}

impl Regions {
    /// Those of a text.
    pub fn of(text: &str) -> Self {
        let mut found: Vec<(Range<usize>, u32)> = Vec::new();
        for (number, block) in text.as_bytes().chunks(BLOCK).enumerate() {
            let digits: u8 = block.iter().map(|b| u8::from(b.is_ascii_digit())).sum();
            let capital = |b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit();
            // Of sixteen in a row, eight are those of one eighth.
            if digits == 0 && !block.chunks_exact(8).any(|eight| eight.iter().fold(true, |all, b| all & capital(b))) {
                continue;
            }
            let (start, end) = (number * BLOCK, number * BLOCK + block.len());
            match found.last_mut() {
                // What may belong to either would be cut.
                Some((range, sum)) if start <= range.end + BEFORE + BEHIND => {
                    range.end = end;
                    *sum += u32::from(digits);
                }
                _ => found.push((start..end, u32::from(digits))),
            }
        }
        for (range, _) in &mut found {
            range.start = text.floor_char_boundary(range.start.saturating_sub(BEFORE));
            range.end = text.ceil_char_boundary((range.end + BEHIND).min(text.len()));
        }
        Self { found }
    }

    /// Where so many digits are near each other.
    pub fn with(&self, least: u32) -> impl Iterator<Item = &Range<usize>> {
        self.found.iter().filter(move |(_, digits)| *digits >= least).map(|(range, _)| range)
    }

    /// Where a codice fiscale may be.
    pub fn with_capitals(&self) -> impl Iterator<Item = &Range<usize>> {
        self.found.iter().map(|(range, _)| range)
    }
}

#[cfg(test)]
impl Regions {
    /// All of a text as one region, as if nothing were known of it.
    pub(crate) fn everywhere(text: &str) -> Self {
        Self { found: vec![(0..text.len(), u32::MAX)] }
    }
}
