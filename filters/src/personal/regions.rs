//! Where in a text something with digits may stand: all that is looked for there begins with one look at its bytes.

use std::ops::Range;

/// Bytes that are looked at at once.
const BLOCK: usize = 32;
/// Of what begins with letters or a sign and ends with some, so many bytes before and behind the digits.
const BEFORE: usize = 24;
const BEHIND: usize = 48;
/// Bytes that are no digits and may stand between two digits of one number: a bracket beside a space or a dash of any width.
const BETWEEN: usize = 4;

/// Stretches of a text with digits, and with runs of capitals.
#[derive(Default)]
pub struct Regions {
    /// Where digits are, or eight capitals that follow each other (letters may stand for all digits of a codice fiscale), with
    /// what may belong to them.
    found: Vec<(Range<usize>, Holds)>,
}

/// What a stretch holds, as far as one look at its bytes tells: what is looked for there can have no less.
#[derive(Clone, Copy, Default)]
pub struct Holds {
    /// Digits.
    pub digits: u32,
    /// The most digits that follow each other.
    pub in_a_row: u32,
    /// The most digits with no more than [`BETWEEN`] bytes between any two.
    pub in_a_number: u32,
    /// Three digits that follow each other, and no fourth.
    pub three: bool,
    /// A letter beside a digit.
    pub beside: bool,
    /// A letter before two digits.
    pub before_two: bool,
    /// Eight capitals or digits that follow each other.
    pub capitals: bool,
    /// Full stops between digits.
    pub full_stops: u32,
    /// Colons.
    pub colons: u32,
}

impl Holds {
    fn of(bytes: &[u8]) -> Self {
        let letter = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_alphabetic);
        let mut holds = Self::default();
        // Digits of the number that goes on, and where its last one ends.
        let (mut number, mut end) = (0, 0);
        while let Some(start) = next_digit(bytes, end) {
            number = if start - end > BETWEEN { 0 } else { number };
            end = start + bytes[start..].iter().take_while(|b| b.is_ascii_digit()).count();
            let row = u32::try_from(end - start).unwrap_or(u32::MAX);
            number += row;
            holds.digits += row;
            holds.in_a_row = holds.in_a_row.max(row);
            holds.in_a_number = holds.in_a_number.max(number);
            holds.three |= row == 3;
            let behind_letter = letter(start.checked_sub(1));
            holds.beside |= behind_letter || letter(Some(end));
            holds.before_two |= behind_letter && row > 1;
            holds.full_stops += u32::from(matches!(bytes[end..], [b'.', b'0'..=b'9', ..]));
        }
        holds.colons = u32::try_from(memchr::memchr_iter(b':', bytes).count()).unwrap_or(u32::MAX);
        holds
    }
}

/// Where the next digit is, eight bytes at a time.
fn next_digit(bytes: &[u8], from: usize) -> Option<usize> {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * EACH;
    let mut at = from;
    while let Some(eight) = bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes) {
        let low = eight & !HIGH;
        // The high bit of those that are `0` or more, without those that are more than `9`.
        let found = (low + (0x80 - 0x30) * EACH) & !(low + (0x80 - 0x3a) * EACH) & !eight & HIGH;
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    bytes[at..].iter().position(u8::is_ascii_digit).map(|n| at + n)
}

impl Regions {
    /// Those of a text.
    pub fn of(text: &str) -> Self {
        let mut found: Vec<(Range<usize>, bool)> = Vec::new();
        for (number, block) in text.as_bytes().chunks(BLOCK).enumerate() {
            let digits: u8 = block.iter().map(|b| u8::from(b.is_ascii_digit())).sum();
            let capital = |b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit();
            // Of sixteen in a row, eight are those of one eighth.
            let capitals = block.chunks_exact(8).any(|eight| eight.iter().fold(true, |all, b| all & capital(b)));
            if digits == 0 && !capitals {
                continue;
            }
            let (start, end) = (number * BLOCK, number * BLOCK + block.len());
            match found.last_mut() {
                // What may belong to either would be cut.
                Some((range, any)) if start <= range.end + BEFORE + BEHIND => {
                    range.end = end;
                    *any |= capitals;
                }
                _ => found.push((start..end, capitals)),
            }
        }
        let whole = |(range, capitals): (Range<usize>, bool)| {
            let start = text.floor_char_boundary(range.start.saturating_sub(BEFORE));
            let end = text.ceil_char_boundary((range.end + BEHIND).min(text.len()));
            (start..end, Holds { capitals, ..Holds::of(&text.as_bytes()[start..end]) })
        };
        Self { found: found.into_iter().map(whole).collect() }
    }

    /// Where something may stand that holds this.
    pub fn with(&self, may: impl Fn(&Holds) -> bool) -> impl Iterator<Item = &Range<usize>> {
        self.found.iter().filter(move |(_, holds)| may(holds)).map(|(range, _)| range)
    }
}

#[cfg(test)]
impl Regions {
    /// All of a text as one region, as if nothing were known of it.
    pub(crate) fn everywhere(text: &str) -> Self {
        let most = u32::MAX;
        let holds = Holds {
            digits: most,
            in_a_row: most,
            in_a_number: most,
            three: true,
            beside: true,
            before_two: true,
            capitals: true,
            full_stops: most,
            colons: most,
        };
        Self { found: vec![(0..text.len(), holds)] }
    }
}
